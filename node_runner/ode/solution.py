"""The result of a solve."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .state import Layout, State
from .stats import Stats


@dataclass(frozen=True)
class Solution:
    """The result of a solve. Properties are new tensors at each access and may be changed in place.

    >>> import torch
    >>> from node_runner.ode import Solver
    >>> solution = Solver("dopri5")(lambda t, y: -y, torch.ones(3), [0.0, 0.5, 1.0])
    >>> solution.ys.shape, solution.final.shape, solution.stats.forward.nfe
    (torch.Size([3, 3]), torch.Size([3]), 26)

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
        entries = self.all_times()[: self.layout.num_entries]
        return entries[0] if self.layout.is_tensor else tuple(entries)

    @property
    def final(self) -> State:
        """The state at ts[-1], in y0's shape: ``ys[-1]`` without copying the times before."""
        return self.layout.copies(self.last())

    @property
    def quadratures(self) -> tuple[Tensor, ...]:
        """The quadratures at every time, shape (T, *start) each."""
        return tuple(self.all_times()[self.layout.num_entries :])

    @property
    def final_quadratures(self) -> tuple[Tensor, ...]:
        """The quadratures at ts[-1]."""
        entries = self.layout.entries(self.last())[self.layout.num_entries :]
        return tuple(entry.clone() for entry in entries)

    def all_times(self) -> list[Tensor]:
        """Each entry at every time."""
        if self.layout.one_entry:
            return self.layout.entries(torch.cat([self.start[None], self.outputs]))
        both = self.layout.entries(self.start[None]), self.layout.entries(self.outputs)
        return [torch.cat(pair) for pair in zip(*both, strict=True)]

    def last(self) -> Tensor:
        return self.outputs[-1] if len(self.outputs) else self.start
