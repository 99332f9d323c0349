"""Irregularly observed series: how a batch of them is laid out, and how a set lies on a device."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor


class Series(NamedTuple):
    """A batch of series, each with times of its own, padded behind its end.

    Attributes:
        times: (B, T), from 0 on, strictly increasing while a series lasts; behind its end its last
            time is repeated.
        values: (B, T, D), 0 where nothing was observed.
        mask: (B, T, D), bool: what was observed; at least one feature at each time, none behind the
            end.
    """

    times: Tensor
    values: Tensor
    mask: Tensor

    @property
    def present(self) -> Tensor:
        """Which times are observations, not padding, (B, T)."""
        return self.mask.any(-1)

    @property
    def lengths(self) -> Tensor:
        """Observations of each series, (B,)."""
        return self.present.sum(1)

    @property
    def gaps(self) -> Tensor:
        """Time since the observation before, at the first since 0, (B, T)."""
        return self.times.diff(dim=1, prepend=torch.zeros_like(self.times[:, :1]))

    def to(self, dtype: torch.dtype) -> Series:
        """The same with times and values of another dtype."""
        return Series(self.times.to(dtype), self.values.to(dtype), self.mask)

    def backward(self) -> Series:
        """The observations in reverse; times as distances from the last one, so that they increase
        again.
        """
        steps = torch.arange(self.times.shape[1], device=self.times.device)
        lengths = self.lengths
        order = (lengths[:, None] - 1 - steps).clamp(min=0)  # behind the end: the first, repeated
        wide = order[:, :, None].expand_as(self.values)
        mask = self.mask.gather(1, wide) & (steps < lengths[:, None])[:, :, None]
        times = self.times[:, -1:] - self.times.gather(1, order)
        return Series(times, self.values.gather(1, wide) * mask, mask)


class Batch(NamedTuple):
    """What a model of series is trained and judged on.

    Attributes:
        observed: what the model is told.
        target: what it is asked for within that range of time; in training what it learns from.
        beyond: what lies later than all that it is told, for tests of extrapolation.
        labels: of each series, (B,), or of each of its observed times, (B, T).
    """

    observed: Series
    target: Series
    beyond: Series | None = None
    labels: Tensor | None = None

    def to(self, dtype: torch.dtype) -> Batch:
        """The same with series of another dtype."""
        beyond = None if self.beyond is None else self.beyond.to(dtype)
        return Batch(self.observed.to(dtype), self.target.to(dtype), beyond, self.labels)


@dataclass(frozen=True)
class Ragged:
    """Series of different lengths one after another.

    Attributes:
        times: (M,) of all series.
        values, mask: (M, D).
        starts: where each series begins, and M, (N + 1,).
    """

    times: Tensor
    values: Tensor
    mask: Tensor
    starts: Tensor

    def __len__(self) -> int:
        return len(self.starts) - 1

    def to(self, device: torch.device) -> Ragged:
        return Ragged(*(part.to(device) for part in vars(self).values()))

    def rows(self, chosen: Tensor) -> tuple[Tensor, Tensor]:
        """Rows of the chosen series, and which of them are behind the end, (B, T) each."""
        first, end = self.starts[chosen, None], self.starts[chosen + 1, None]
        steps = torch.arange(int((end - first).max()), device=first.device)  # synchronises
        return torch.minimum(first + steps, end - 1), first + steps >= end

    def batch(self, chosen: Tensor) -> Series:
        """The series of these indices, padded to the longest of them."""
        rows, ended = self.rows(chosen)
        mask = self.mask[rows] & ~ended[:, :, None]
        return Series(self.times[rows], self.values[rows] * mask, mask)


def window(series: Series, start: float, end: float) -> Series:
    """The observations in [start, end), moved to the front.

    Raises:
        ValueError: if a series has none there.
    """
    inside = series.present & (series.times >= start) & (series.times < end)
    lengths = inside.sum(1)
    if not bool((lengths > 0).all()):
        empty = int((lengths == 0).nonzero()[0])
        raise ValueError(f"series {empty} has no observation from {start:g} to {end:g}")
    order = (~inside).to(torch.int8).argsort(dim=1, stable=True)[:, : int(lengths.max())]
    steps = torch.arange(order.shape[1], device=order.device)
    ended = steps >= lengths[:, None]
    last = order.gather(1, lengths[:, None] - 1)
    order = torch.where(ended, last, order)
    wide = order[:, :, None].expand(-1, -1, series.values.shape[2])
    mask = series.mask.gather(1, wide) & ~ended[:, :, None]
    return Series(series.times.gather(1, order), series.values.gather(1, wide) * mask, mask)


def full(times: Tensor, values: Tensor) -> Series:
    """Series observed in every feature at times, (T,) or (B, T)."""
    times = times.expand(values.shape[:2])
    return Series(times, values, torch.ones_like(values, dtype=torch.bool))


def take(series: Series, indices: Tensor) -> Series:
    """Return the observations of these indices, (B, n) in increasing order."""
    wide = indices[:, :, None].expand(-1, -1, series.values.shape[2])
    return Series(
        series.times.gather(1, indices), series.values.gather(1, wide), series.mask.gather(1, wide)
    )


def draw_subset(size: int, n: int, count: int, generator: torch.Generator) -> Tensor:
    """n of ``size`` indices without replacement, in order, for each of ``count`` series."""
    keys = torch.rand(count, size, generator=generator, device=generator.device)
    return keys.argsort(dim=1)[:, :n].sort(dim=1).values
