"""Convolutions that know the time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch.nn.functional as F
from torch import Tensor, nn


class ConcatConv(nn.Module):
    """Convolution of [t, x], time as one more constant channel.

    [t, x] is never made: its convolution is the sum of those of t and of x, and one time for all
    samples is one image, which carries the bias as well.

    Args:
        n_in, n_out: channels.
        resize: same: 3x3; half: 3x3 with stride 2, half as many pixels a side; double: 4x4
            transposed with stride 2, twice as many.
    """

    def __init__(
        self, n_in: int, n_out: int, resize: Literal["same", "half", "double"] = "same"
    ) -> None:
        super().__init__()
        stride: dict[str, Any] = {} if resize == "same" else {"stride": 2}
        self.how = {"padding": 1, **stride}
        double = resize == "double"
        kind: Callable[..., nn.ConvTranspose2d | nn.Conv2d]
        kind = nn.ConvTranspose2d if double else nn.Conv2d
        self.convolve: Callable[..., Tensor] = F.conv_transpose2d if double else F.conv2d
        self.conv = kind(n_in + 1, n_out, 4 if double else 3, **self.how)
        self.dim = 0 if double else 1  # of the weight that runs over n_in

    def forward(self, t: Tensor, x: Tensor) -> Tensor:
        """t: () or (B,); x: (B, n_in, H, W). Returns (B, n_out, H', W')."""
        of_time, of_x = self.conv.weight.split((1, x.shape[1]), dim=self.dim)
        time = t.view(-1, 1, 1, 1).expand(-1, 1, *x.shape[2:])
        shift = self.convolve(time, of_time, self.conv.bias, **self.how)
        return self.convolve(x, of_x, **self.how).add_(shift)
