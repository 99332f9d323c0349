"""From rows of measurements to series: duplicates averaged, features scaled, series packed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from .scaling import Scaling
from .series import Ragged


class SparseSeries(NamedTuple):
    """One series: times (n,), increasing; values (n, D), 0 where not observed; mask (n, D)."""

    times: np.ndarray
    values: np.ndarray
    mask: np.ndarray


def average_duplicates(
    times: np.ndarray, features: np.ndarray, values: np.ndarray, dim: int, step: float
) -> SparseSeries:
    """A series of rows (M,): times rounded to multiples of ``step``, what one feature has more than
    once at a time averaged.
    """
    ticks, index = np.unique(np.rint(times / step).astype(np.int64), return_inverse=True)
    cells, shape = index * dim + features, (len(ticks), dim)
    counts = np.bincount(cells, minlength=len(ticks) * dim).reshape(shape)
    sums = np.bincount(cells, values, len(ticks) * dim).reshape(shape)
    return SparseSeries(ticks * step, sums / np.maximum(counts, 1), counts > 0)


def by_range(
    series: Sequence[SparseSeries], train: int, names: Sequence[str], source: str
) -> Scaling:
    """Return (x - min) / (max - min) feature by feature, both from the first ``train`` series; a
    feature that is constant there is only moved to 0.

    Raises:
        ValueError: for a feature that is never observed in them.
    """
    low, high = extremes(series[:train], names, source)
    spread = high - low
    return Scaling(low, np.where(spread > 0, spread, 1.0))


def released_scaling(
    series: Sequence[SparseSeries], train: int, names: Sequence[str], source: str
) -> Scaling:
    """Return (x - min) / max, both from all series, a max of 0 taken for 1: the released code of
    Rubanova et al. 2019. It is no scaling to [0, 1], and the test takes part in it.

    Raises:
        ValueError: as ``by_range``.
    """
    low, high = extremes(series, names, source)
    return Scaling(low, np.where(high == 0, 1.0, high))


def extremes(
    series: Sequence[SparseSeries], names: Sequence[str], source: str
) -> tuple[np.ndarray, np.ndarray]:
    """Smallest and largest value of each feature, (D,)."""
    never = np.flatnonzero(~np.any([s.mask.any(axis=0) for s in series], axis=0))
    if len(never):
        raise ValueError(
            f"{source}: {names[never[0]]} is never observed in the {len(series)} series that it "
            "would be scaled by"
        )
    low = np.min([np.where(s.mask, s.values, np.inf).min(axis=0) for s in series], axis=0)
    return low, np.max([np.where(s.mask, s.values, -np.inf).max(axis=0) for s in series], axis=0)


def scaled(series: Sequence[SparseSeries], scaling: Scaling) -> list[SparseSeries]:
    """The series with scaled values, 0 where nothing was observed."""
    return [s._replace(values=np.where(s.mask, scaling(s.values), 0.0)) for s in series]


def packed(series: Sequence[SparseSeries]) -> Ragged:
    """One after another, in float32."""
    lengths = [len(s.times) for s in series]
    return Ragged(
        times=torch.from_numpy(np.concatenate([s.times for s in series], dtype=np.float32)),
        values=torch.from_numpy(np.concatenate([s.values for s in series], dtype=np.float32)),
        mask=torch.from_numpy(np.concatenate([s.mask for s in series])),
        starts=torch.from_numpy(np.cumsum([0, *lengths])),
    )
