"""Pictures of trajectories, and of a vector field in the plane."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..data.series import Batch, Series

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CURVE, GRID = 400, 24  # times of a drawn curve, points along a side of a drawn field
SHOWN = 4  # trajectories that are drawn against time
STATES = 6  # of a trajectory that are drawn against time
MARGIN = 0.15  # around what is drawn in the plane, of its size

Field = Callable[[Tensor], Tensor]


def curve_times(batch: Batch) -> Tensor:
    """Times of a curve through all that is observed or asked for, the end of what is observed one
    of them, (CURVE,) in float64.
    """
    known = max(last_time(batch.observed), last_time(batch.target))
    end = known if batch.beyond is None else last_time(batch.beyond)
    count = max(2, round(CURVE * known / end))
    inside = torch.linspace(0, known, count, dtype=torch.float64)
    later = torch.linspace(known, end, CURVE + 1 - count, dtype=torch.float64)[1:]
    return torch.cat((inside, later))


def last_time(series: Series) -> float:
    return float(series.times.max())


def draw_states(
    batch: Batch, times: Tensor, curves: Tensor, states: tuple[str, ...], origin: float
) -> Figure:
    """States against time.

    Args:
        batch: of the test.
        times: (T,); curves: of the model there, (N, T, D).
        origin: of time.
    """
    from matplotlib.figure import Figure

    columns, rows = min(SHOWN, len(curves)), min(STATES, len(states))
    wide = 8 if columns == 1 else 4 * columns
    figure = Figure(figsize=(wide, 1.9 * rows + 0.8), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, sharex=True)
    later = times >= max(last_time(batch.observed), last_time(batch.target))
    for j, row in enumerate(axes):
        for i, axis in enumerate(row):
            for name, series in asked_for(batch):
                t, x = seen(series, i, j)
                axis.plot(t + origin, x, ".", color="0.6", markersize=3, label=name)
            t, x = seen(batch.observed, i, j)
            axis.plot(t + origin, x, "o", color="C1", markersize=3, label="observed")
            draw_model(axis, times + origin, curves[i, :, j], later)
        row[0].set_ylabel(states[j])
    for axis in axes[-1]:
        axis.set_xlabel("t")
    legend(figure, axes[0][0])
    return figure


def draw_field(batch: Batch, times: Tensor, curves: Tensor, fields: dict[str, Field]) -> Figure:
    """Vector fields in the plane by title, each with what is observed, asked for and learned.

    Args:
        batch, times, curves: as for ``draw_states``, with D = 2.
        fields: dx/dt at x, (B, 2) each.
    """
    from matplotlib.figure import Figure

    drawn = [curves.reshape(-1, 2)] + [s.values[s.mask.all(-1)] for s in batch[:3] if s is not None]
    low, high = torch.cat(drawn).aminmax(dim=0)
    size = torch.maximum(high.abs(), low.abs())
    wide = torch.where(high - low > 1e-9 * size, high - low, 1e-3 * size)  # of a constant: any
    pad = MARGIN * torch.where(wide > 0, wide, 1.0)
    ends = zip((low - pad).tolist(), (high + pad).tolist(), strict=True)
    sides = [torch.linspace(*end, GRID, dtype=torch.float64) for end in ends]
    points = torch.stack(torch.meshgrid(*sides, indexing="xy"), dim=2)
    later = times >= max(last_time(batch.observed), last_time(batch.target))
    figure = Figure(figsize=(5.2 * len(fields), 5.4), layout="constrained")
    axes = figure.subplots(1, len(fields), squeeze=False)[0]
    for axis, (title, field) in zip(axes, fields.items(), strict=True):
        dx, dy = field(points.view(-1, 2)).cpu().view(GRID, GRID, 2).unbind(2)
        plane = [each.double().numpy() for each in (*sides, dx, dy)]
        axis.streamplot(*plane, color="0.8", linewidth=0.8, density=1.1, arrowsize=0.8)
        for i in range(len(curves)):
            for name, series in asked_for(batch):
                both = series.mask[i].all(-1)
                axis.plot(*series.values[i][both].T, ".", color="0.6", markersize=3, label=name)
            both = batch.observed.mask[i].all(-1)
            axis.plot(
                *batch.observed.values[i][both].T, "o", color="C1", markersize=3, label="observed"
            )
            draw_model(axis, *curves[i].T, later)
        axis.set(title=title, xlim=plane[0][[0, -1]], ylim=plane[1][[0, -1]])
    legend(figure, axes[0])
    return figure


def asked_for(batch: Batch) -> list[tuple[str, Series]]:
    """What the test asks for, inside and beyond."""
    later = [] if batch.beyond is None else [("", batch.beyond)]
    return [("asked for", batch.target), *later]


def seen(series: Series, i: int, j: int) -> tuple[Tensor, Tensor]:
    """Times and values at which state j of trajectory i is there."""
    mask = series.mask[i, :, j]
    return series.times[i][mask], series.values[i][mask, j]


def draw_model(axis: Axes, x: Tensor, y: Tensor, later: Tensor) -> None:
    """A curve of the model, inside and beyond what is observed; the two meet."""
    axis.plot(x[~later], y[~later], color="C0", linewidth=1.5, label="model")
    if bool(later.any()):
        joined = later | later.roll(-1)
        joined[-1] = True
        axis.plot(x[joined], y[joined], color="C3", linewidth=1.5, label="model, beyond")


def legend(figure: Figure, axis: Axes) -> None:
    """What is drawn, each once, above all axes."""
    handles, labels = axis.get_legend_handles_labels()
    named: dict[str, Any] = {}
    for handle, label in zip(handles, labels, strict=True):
        named.setdefault(label, handle)
    figure.legend(named.values(), named.keys(), loc="outside upper center", ncols=4, frameon=False)
