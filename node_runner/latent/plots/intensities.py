"""Plots of events with true and learned intensities."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ...data.events import Events
from ...plotting import add_legend
from .series import BAND

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["draw_intensities"]

COLUMNS = 3


def draw_intensities(batch: Events, rates: Tensor) -> Figure:
    """Draw the events of each series as ticks, the true intensity, and mean and band of the
    model's.

    Args:
        rates: Samples of the intensity at the times of the batch's grid, (B, G, S), in events per
            unit of time.
    """
    from matplotlib.figure import Figure  # imported late: takes half a second

    rows = -(-len(rates) // COLUMNS)
    figure = Figure(figsize=(4 * COLUMNS, 2.5 * rows + 0.8), layout="constrained")
    axes = figure.subplots(rows, COLUMNS, squeeze=False).flatten()
    grid, curve, rates = batch.grid.cpu(), batch.curve.cpu(), rates.cpu()
    times, happened = batch.observed.times.cpu(), batch.arrivals.cpu()
    low, high = torch.quantile(rates, torch.tensor(BAND, dtype=rates.dtype), dim=2)
    band = {"color": "C0", "alpha": 0.25, "linewidth": 0}
    band["label"] = f"model: {BAND[0]:.0%} to {BAND[1]:.0%} of samples"
    for i, axis in enumerate(axes[: len(rates)]):
        axis.fill_between(grid[i], low[i], high[i], **band)
        axis.plot(grid[i], rates[i].mean(1), color="C0", linewidth=2, label="model: mean")
        axis.plot(grid[i], curve[i], color="0.2", linestyle="--", linewidth=1.5, label="true")
        top = 1.1 * max(float(curve[i].max()), float(high[i].max()))
        events = times[i][happened[i]]
        axis.vlines(events, -0.12 * top, -0.03 * top, color="C1", linewidth=0.8, label="events")
        axis.set(xlim=(0, float(grid[i, -1])), ylim=(-0.15 * top, top))
        if i % COLUMNS == 0:
            axis.set_ylabel("events per unit of time")
        if i >= len(rates) - COLUMNS:
            axis.set_xlabel("t")
    for axis in axes[len(rates) :]:
        axis.set_axis_off()
    add_legend(figure)
    return figure
