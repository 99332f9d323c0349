"""What a model asks of a recurrent cell, and what the cells share."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from ...data.series import Series
from ...ode import Stats

Solves = tuple[Stats, ...]


class Reading(NamedTuple):
    """A series as a cell has read it.

    Attributes:
        states: before the first and after each observation, (B, T + 1, H); behind a series' end
            they mean nothing.
        solves: the cost of each solve on the way.
    """

    states: Tensor
    solves: Solves = ()

    def at(self, counts: Tensor) -> Tensor:
        """The states after as many observations, (B, n, H) for counts of (B, n)."""
        wide = counts[:, :, None].expand(-1, -1, self.states.shape[2])
        return self.states.gather(1, wide)


class Cell(Protocol):
    """A recurrent net on irregular times: an nn.Module with a hidden state of ``size`` H."""

    size: int

    def read(self, series: Series) -> Reading:
        """Take in all observations of a batch."""

    def evolve(self, h: Tensor, gap: Tensor) -> tuple[Tensor, Solves]:
        """The states (..., H) after times (...) in which nothing is observed."""

    def update(self, h: Tensor, x: Tensor, gap: Tensor) -> Tensor:
        """The states (B, H), evolved, after x, (B, D), is seen whole, a time (B,) after the last
        observation.
        """


def features(values: Tensor, mask: Tensor | None = None, gap: Tensor | None = None) -> Tensor:
    """What a cell is told of observations: values, 0 where there are none, which of them were
    observed, all unless told, and the time since the last ones, (..., 2 D) or (..., 2 D + 1).
    """
    if mask is None:
        parts = [values, torch.ones_like(values)]
    else:
        parts = [torch.where(mask, values, 0.0), mask.to(values.dtype)]
    return torch.cat(parts if gap is None else [*parts, gap[..., None]], dim=-1)


def walk(
    inputs: Tensor,
    size: int,
    evolve: Callable[[Tensor, int], tuple[Tensor, Solves]],
    take_in: Callable[[Tensor, Tensor], Tensor],
) -> Reading:
    """Read from observation to observation. Each series has its own k-th time, so that there are as
    many steps as the longest series has observations, not as the batch has times.

    Args:
        inputs: (B, T, n) for ``take_in``.
        size: H.
        evolve: (h, k) -> the state just before the k-th observations.
        take_in: (inputs of an observation, h) -> h.
    """
    h, solves = inputs.new_zeros(len(inputs), size), ()
    states = [h]
    for k in range(inputs.shape[1]):
        evolved, spent = evolve(h, k)
        h = take_in(inputs[:, k], evolved)  # behind a series' end, too: nobody looks there
        states.append(h)
        solves += spent
    return Reading(torch.stack(states, dim=1), solves)
