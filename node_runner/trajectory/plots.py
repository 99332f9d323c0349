"""Plots of trajectories, and of a vector field in the plane."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..data.series import Batch, Series
from ..plotting import add_colour_bar, add_legend

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["curve_times", "draw_field", "draw_states"]

CURVE_POINTS, FIELD_POINTS = 400, 24  # of a curve, and along a side of a field
MAX_TRAJECTORIES, MAX_STATES = 4, 6  # drawn against time
MARGIN = 0.15  # around what is drawn in the plane, relative to its size

Field = Callable[[Tensor], Tensor]


def curve_times(batch: Batch) -> Tensor:
    """Return times from 0 to the last observation or target, (CURVE_POINTS,) in float64, one of
    them the end of what is observed.
    """
    last = _end_of_observations(batch)
    end = last if batch.beyond is None else _last_time(batch.beyond)
    count = max(2, round(CURVE_POINTS * last / end))
    inside = torch.linspace(0, last, count, dtype=torch.float64)
    later = torch.linspace(last, end, CURVE_POINTS + 1 - count, dtype=torch.float64)[1:]
    return torch.cat((inside, later))


def draw_states(
    batch: Batch, times: Tensor, curves: Tensor, states: tuple[str, ...], origin: float
) -> Figure:
    """Draw states against time: a row for each state, a column for each trajectory.

    Args:
        batch: Observations and targets of the test.
        times: (T,).
        curves: Predictions at ``times``, (N, T, D).
        states: Names of the states, with their units where there are any.
        origin: Time of the data at time 0 of the batch.
    """
    from matplotlib.figure import Figure  # imported late: takes half a second

    columns, rows = min(MAX_TRAJECTORIES, len(curves)), min(MAX_STATES, len(states))
    wide = 8 if columns == 1 else 4 * columns
    figure = Figure(figsize=(wide, 1.9 * rows + 1.0), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey="row")
    later = times >= _end_of_observations(batch)
    for j, row in enumerate(axes):
        for i, axis in enumerate(row):
            _draw_model(axis, times + origin, curves[i, :, j], later)
            for marker, style, series in _points(batch):
                mask = series.mask[i, :, j]
                t, x = series.times[i][mask] + origin, series.values[i][mask, j]
                axis.plot(t, x, marker, **style)
        row[0].set_ylabel(states[j])
    for i, axis in enumerate(axes[-1]):
        axis.set_xlabel("t")
        if columns > 1:
            axes[0][i].set_title(f"trajectory {i + 1}", fontsize=10)
    add_legend(figure)
    return figure


def draw_field(
    batch: Batch,
    times: Tensor,
    curves: Tensor,
    fields: dict[str, Field],
    states: tuple[str, ...] = ("$x_1$", "$x_2$"),
) -> Figure:
    """Draw vector fields in the plane, coloured by speed, with observations and predictions.

    Args:
        batch, times, curves: As for ``draw_states``, with D = 2.
        fields: Title to dx/dt at x, both (B, 2).
        states: Names of the two states.
    """
    from matplotlib.colors import LinearSegmentedColormap, Normalize
    from matplotlib.figure import Figure

    sides = _sides(batch, curves)
    points = torch.stack(torch.meshgrid(*sides, indexing="xy"), dim=2)
    rates = {
        title: field(points.view(-1, 2)).cpu().double().view(*points.shape).numpy()
        for title, field in fields.items()
    }
    speeds = {title: (rate**2).sum(-1) ** 0.5 for title, rate in rates.items()}
    lines = {"cmap": LinearSegmentedColormap.from_list("speed", ["0.88", "0.3"]), "linewidth": 0.8}
    lines["norm"] = Normalize(0, max(float(speed.max()) for speed in speeds.values()) or 1.0)
    figure = Figure(figsize=(5.2 * len(fields) + 1.0, 5.4), layout="constrained")
    axes = figure.subplots(1, len(fields), squeeze=False, sharey=True)[0]
    later = times >= _end_of_observations(batch)
    x, y = (side.numpy() for side in sides)
    for axis, (title, rate) in zip(axes, rates.items(), strict=True):
        style = {**lines, "density": 1.1, "arrowsize": 0.8, "color": speeds[title]}
        stream = axis.streamplot(x, y, rate[..., 0], rate[..., 1], **style)
        for i in range(len(curves)):
            _draw_model(axis, *curves[i].T, later)
            for marker, points_style, series in _points(batch):
                mask = series.mask[i].all(-1)
                axis.plot(*series.values[i][mask].T, marker, **points_style)
        axis.set(title=title, xlim=x[[0, -1]], ylim=y[[0, -1]], xlabel=states[0])
    axes[0].set_ylabel(states[1])
    add_colour_bar(stream.lines, list(axes), "speed |dx/dt|")
    add_legend(figure)
    return figure


def _sides(batch: Batch, curves: Tensor) -> list[Tensor]:
    """Return the coordinates of a grid around all points and curves, (FIELD_POINTS,) each."""
    drawn = [curves.reshape(-1, 2)] + [s.values[s.mask.all(-1)] for s in batch[:3] if s is not None]
    low, high = torch.cat(drawn).aminmax(dim=0)
    size = torch.maximum(high.abs(), low.abs())
    wide = torch.where(high - low > 1e-9 * size, high - low, 1e-3 * size)  # a constant state: any
    pad = MARGIN * torch.where(wide > 0, wide, 1.0)
    ends = zip((low - pad).tolist(), (high + pad).tolist(), strict=True)
    return [torch.linspace(*end, FIELD_POINTS, dtype=torch.float64) for end in ends]


def _last_time(series: Series) -> float:
    return float(series.times.max())


def _end_of_observations(batch: Batch) -> float:
    return max(_last_time(batch.observed), _last_time(batch.target))


def _points(batch: Batch) -> list[tuple[str, dict[str, object], Series]]:
    """Return marker, style and series of targets, inside and beyond, and of observations."""
    target = {"color": "0.6", "markersize": 3, "label": "target"}
    parts = [(".", target, batch.target)]
    if batch.beyond is not None:
        parts.append((".", target, batch.beyond))
    return [*parts, ("o", {"color": "C1", "markersize": 3, "label": "observed"}, batch.observed)]


def _draw_model(axis: Axes, x: Tensor, y: Tensor, later: Tensor) -> None:
    """Draw a curve of the model, inside and beyond the observed time; the two meet."""
    axis.plot(x[~later], y[~later], color="C0", linewidth=1.5, label="model")
    if bool(later.any()):
        joined = later | later.roll(-1)
        joined[-1] = True
        axis.plot(x[joined], y[joined], color="C3", linewidth=1.5, label="model, beyond")
