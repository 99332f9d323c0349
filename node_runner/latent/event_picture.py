"""Pictures of events and of the intensities that a model finds behind them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from ..data.events import Events

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLUMNS = 3


def draw_intensities(batch: Events, rates: Tensor) -> Figure:
    """Of each series the events as ticks, the true intensity, and what the model has for it: each
    of S samples, and their mean.

    Args:
        rates: at the times of the batch's grid, (B, G, S).
    """
    from matplotlib.figure import Figure

    rows = -(-len(rates) // COLUMNS)
    figure = Figure(figsize=(4 * COLUMNS, 2.4 * rows + 0.6), layout="constrained")
    axes = figure.subplots(rows, COLUMNS, squeeze=False).flatten()
    grid, curve, rates = batch.grid.cpu(), batch.curve.cpu(), rates.cpu()
    times, happened = batch.observed.times.cpu(), batch.arrivals.cpu()
    for i, axis in enumerate(axes[: len(rates)]):
        axis.plot(grid[i], rates[i, :, 0], color="C0", alpha=0.2, linewidth=1, label="samples")
        axis.plot(grid[i], rates[i, :, 1:], color="C0", alpha=0.2, linewidth=1)
        axis.plot(grid[i], rates[i].mean(1), color="C0", linewidth=2, label="mean")
        axis.plot(grid[i], curve[i], color="0.2", linestyle="--", linewidth=1.5, label="true")
        top = 1.1 * max(float(curve[i].max()), float(rates[i].max()))
        events = times[i][happened[i]]
        axis.vlines(events, -0.12 * top, -0.03 * top, color="C1", linewidth=0.8, label="events")
        axis.set(xlim=(0, float(grid[i, -1])), ylim=(-0.15 * top, top))
        if i % COLUMNS == 0:
            axis.set_ylabel("events a unit of time")
    for axis in axes[len(rates) :]:
        axis.set_axis_off()
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=4, frameon=False)
    return figure
