"""A multi-layer perceptron whose every layer may know the time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from .layers import ACTIVATIONS, LAYERS


class MLP(nn.Module):
    """f(t, x) on vectors: linear layers that may depend on the time, an activation between them,
    none after the last.

    Args:
        dim: D, of x and of f.
        hidden: widths of the hidden layers.
        activation: between layers; smooth ones keep the solver's steps large.
        layer: how a layer sees the time; with "none" f is autonomous.
        context: C, entries of a context vector that is concatenated to x in the first layer.

    FFJORD's toy density has dim 2, hidden (64, 64, 64), tanh, concat_squash: 9,224 parameters.
    """

    def __init__(
        self,
        dim: int,
        hidden: Sequence[int] = (64, 64, 64),
        activation: Literal["tanh", "softplus", "elu", "relu", "swish"] = "tanh",
        layer: Literal["concat_squash", "concat", "none"] = "concat_squash",
        context: int = 0,
    ) -> None:
        super().__init__()
        self.shape, self.context = (dim,), context
        widths = [dim + context, *hidden, dim]
        kind = LAYERS[layer]
        self.layers = nn.ModuleList(kind(a, b) for a, b in zip(widths, widths[1:], strict=False))
        self.activation = ACTIVATIONS[activation]

    def forward(self, t: Tensor, x: Tensor, context: Tensor | None = None) -> Tensor:
        """t: () or (B,); x: (B, dim); context: (B, C). Returns dx/dt, (B, dim)."""
        x = x if context is None else torch.cat((x, context), dim=1)
        *hidden, last = self.layers
        for layer in hidden:
            x = self.activation(layer(t, x))
        return last(t, x)
