"""What a solve returns."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .state import Layout, State
from .stats import Stats


@dataclass(frozen=True)
class Solution:
    """What a solve returns.

    Attributes:
        stats: its cost; the backward part is there once the gradient has been taken.
        layout, start, outputs: the flat solution at ts[0], shape (width,), and at ts[1:], shape (T
            - 1, width).
    """

    stats: Stats
    layout: Layout
    start: Tensor
    outputs: Tensor

    @property
    def ys(self) -> State:
        """The state at every time: shape (T, *y0), or a tuple of such; the first is y0."""
        return self.layout.state(self.all_times())

    @property
    def final(self) -> State:
        """The state at ts[-1], in y0's shape: ``ys[-1]`` without copying the times before."""
        return self.layout.state(self.last())

    @property
    def quadratures(self) -> tuple[Tensor, ...]:
        """The quadratures at every time, shape (T, *start) each."""
        return tuple(self.layout.entries(self.all_times())[self.layout.fed :])

    @property
    def final_quadratures(self) -> tuple[Tensor, ...]:
        """The quadratures at ts[-1]."""
        return tuple(self.layout.entries(self.last())[self.layout.fed :])

    def all_times(self) -> Tensor:
        return torch.cat([self.start[None], self.outputs])

    def last(self) -> Tensor:
        return self.outputs[-1] if len(self.outputs) else self.start
