"""Interface of recurrent cells, and functions that the cells share."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from ...data.series import Series
from ...ode import Stats

SolveStats = tuple[Stats, ...]


class Reading(NamedTuple):
    """A series as a cell has read it.

    Attributes:
        states: States before the first and after each observation, (B, T + 1, H); undefined after
            the end of a series.
        solves: Cost of each ODE solve.
    """

    states: Tensor
    solves: SolveStats = ()

    def at(self, counts: Tensor) -> Tensor:
        """Return the states after ``counts`` (B, n) observations, (B, n, H)."""
        wide = counts[:, :, None].expand(-1, -1, self.states.shape[2])
        return self.states.gather(1, wide)


class Cell(Protocol):
    """A recurrent net on irregular times: an nn.Module with a hidden state of H entries."""

    hidden_size: int

    def read(self, series: Series) -> Reading:
        """Read all observations of a batch."""

    def evolve(self, h: Tensor, gap: Tensor) -> tuple[Tensor, SolveStats]:
        """Return the states (..., H) after gaps (...) without observations."""

    def update(self, h: Tensor, x: Tensor, gap: Tensor) -> Tensor:
        """Return evolved states h (B, H) updated by complete observations x, (B, D), at a time gap
        (B,) after the previous ones.
        """


def features(values: Tensor, mask: Tensor | None = None, gap: Tensor | None = None) -> Tensor:
    """Return the inputs of a cell, (..., 2 D) or (..., 2 D + 1).

    Args:
        values: Observed values, (..., D), replaced by 0 where not observed.
        mask: Which entries are observed, (..., D) (default: all).
        gap: Time since the previous observation, (...) (default: no input).
    """
    if mask is None:
        parts = [values, torch.ones_like(values)]
    else:
        parts = [torch.where(mask, values, 0.0), mask.to(values.dtype)]
    return torch.cat(parts if gap is None else [*parts, gap[..., None]], dim=-1)


def scan(
    inputs: Tensor,
    hidden_size: int,
    evolve: Callable[[Tensor, int], tuple[Tensor, SolveStats]],
    update: Callable[[Tensor, Tensor], Tensor],
) -> Reading:
    """Return the reading of a batch, one step per observation.

    The k-th step of a series is at its k-th time, so that the number of steps is that of the
    longest series, not of distinct times in the batch.

    Args:
        inputs: Inputs of ``update``, (B, T, n).
        hidden_size: H.
        evolve: (h, k) -> the state just before the k-th observations.
        update: (inputs of an observation, h) -> h.
    """
    h, solves = inputs.new_zeros(len(inputs), hidden_size), ()
    states = [h]
    for k in range(inputs.shape[1]):
        evolved, spent = evolve(h, k)
        h = update(inputs[:, k], evolved)  # unused after the end of a series
        states.append(h)
        solves += spent
    return Reading(torch.stack(states, dim=1), solves)
