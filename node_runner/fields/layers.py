"""Linear layers that know the time or do not, and the activations between them."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "tanh": torch.tanh,
    "softplus": F.softplus,
    "elu": F.elu,
    "relu": F.relu,
    "swish": F.silu,
}


class ConcatLinear(nn.Module):
    """W [t, x] + b: time as one more input (Grathwohl et al. 2018, the layer that the text of
    FFJORD names).
    """

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__()
        self.linear = nn.Linear(n_in + 1, n_out)

    def forward(self, t: Tensor, x: Tensor) -> Tensor:
        """t: () or (B,); x: (B, n_in). Returns (B, n_out)."""
        of_time, of_x = self.linear.weight[:, 0], self.linear.weight[:, 1:]
        if (
            t.dim() == 0
        ):  # one time for all: it joins the bias, so nothing of the batch's size is concatenated
            return F.linear(x, of_x, self.linear.bias + of_time * t)
        return F.linear(x, of_x, self.linear.bias) + t[:, None] * of_time


class ConcatSquashLinear(nn.Module):
    """(W x + b) * sigmoid(w_g t + b_g) + w_b t: time gates and shifts each output (the layer that
    FFJORD's code runs).
    """

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__()
        self.linear = nn.Linear(n_in, n_out)
        self.gate = nn.Linear(1, n_out)
        self.shift = nn.Linear(1, n_out, bias=False)

    def forward(self, t: Tensor, x: Tensor) -> Tensor:
        """t: () or (B,); x: (B, n_in). Returns (B, n_out)."""
        gate = torch.sigmoid(self.gate(t[..., None]))
        shift = self.shift(t[..., None])
        if t.dim() == 0:  # one time for all: gate the weights once, not every sample's output
            return F.linear(x, gate[:, None] * self.linear.weight, gate * self.linear.bias + shift)
        return self.linear(x) * gate + shift


class Autonomous(nn.Module):
    """W x + b, whatever the time."""

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__()
        self.linear = nn.Linear(n_in, n_out)

    def forward(self, t: Tensor, x: Tensor) -> Tensor:
        return self.linear(x)


LAYERS = {"concat": ConcatLinear, "concat_squash": ConcatSquashLinear, "none": Autonomous}
