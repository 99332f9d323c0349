"""Segments of trajectories, from which training need not solve from end to end."""

from __future__ import annotations

from math import ceil

import torch
from torch import Tensor

from ..data.series import Series


def segments(series: Series, length: float, end: float) -> tuple[Tensor, Series]:
    """Cut trajectories into W = ceil(end / length) evenly spaced segments of one length, the first
    starting at 0, the last ending at ``end``.

    Args:
        series: N trajectories.
        length, end: Length of a segment and end of the last one, in units of time.

    Returns:
        Starts of the segments, (W,), and the observations in each of the N W segments, trajectory
        by trajectory, with times relative to the start of the segment.
    """
    count = max(1, ceil(end / length - 1e-6))
    starts = torch.linspace(0, max(0.0, end - length), count, device=series.times.device)
    times = series.times[:, None] - starts[:, None]  # (N, W, T)
    slack = 1e-6 * end  # rounding, where one segment is the whole trajectory
    inside = (times >= -slack) & (times <= length + slack)
    mask = series.mask[:, None] & inside[..., None]
    values = series.values[:, None] * mask
    parts = (times.clamp(0, length), values, mask)
    return starts, Series(*(part.flatten(0, 1) for part in parts))


def interpolate(series: Series, at: Tensor) -> Tensor:
    """Interpolate each state linearly between its observations at times ``at`` (W,), (N, W, D).

    It is constant before the first and after the last observation, and 0 if there is none.
    """
    times = series.times[:, None, :, None].expand(-1, len(at), -1, series.mask.shape[2])
    mask = series.mask[:, None].expand_as(times)
    at = at[:, None, None]
    index = torch.arange(times.shape[2], device=at.device)[:, None]
    before = torch.where(mask & (times <= at), index, -1).amax(2)  # (N, W, D)
    after = torch.where(mask & (times >= at), index, times.shape[2]).amin(2)
    first, last = before < 0, after == times.shape[2]
    low = torch.where(first, after, before).clamp(0, times.shape[2] - 1)
    high = torch.where(last, before, after).clamp(0, times.shape[2] - 1)
    values = series.values[:, None].expand_as(times)
    t0, t1, x0, x1 = (
        part.gather(2, i[:, :, None])[:, :, 0] for part in (times, values) for i in (low, high)
    )
    share = torch.where(t1 > t0, (at[:, :, 0] - t0) / (t1 - t0), 0.0)
    return torch.where(first & last, 0.0, torch.lerp(x0, x1, share.clamp(0, 1)))
