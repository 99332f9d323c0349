"""Pictures of series and of what a model makes of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..data.series import Batch, Series
from .inference import SeriesModel
from .model import LatentModel

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

GRID = 100  # times of a drawn curve
FEATURES = 4  # that are drawn against time
BETWEEN = 5  # steps of the line between two encodings


def draw_series(model: SeriesModel, batch: Batch, samples: int) -> Figure:
    """What was observed, what was true, and what the model samples, inside the range of the target
    and beyond it: in the plane if there are two features, else against time.
    """
    from matplotlib.figure import Figure

    known, (inside, beyond) = last_time(batch.target), curve_times(batch)
    count, dim = batch.target.values.shape[0], batch.target.values.shape[2]
    wide = (inside.expand(count, -1), None if beyond is None else beyond.expand(count, -1))
    predictions = model.infer(batch.observed, *wide, samples).predictions.cpu()
    times = torch.cat((inside,) if beyond is None else (inside, beyond)).cpu()
    batch = Batch(*(part and Series(*(each.cpu() for each in part)) for part in batch[:3]))
    rows = [None] if dim == 2 else varied(batch.target)
    size = (3 * count, 3.2) if dim == 2 else (3.2 * count, 1.8 * len(rows) + 0.8)
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(len(rows), count, squeeze=False)
    for row, feature in zip(axes, rows, strict=True):
        for i, axis in enumerate(row):
            draw_one(axis, batch, i, feature, times, predictions[i], known)
    handles, labels = axes[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=4, frameon=False)
    return figure


def curve_times(batch: Batch) -> tuple[Tensor, Tensor | None]:
    """Even times inside the range of the target, and beyond it where the batch goes there."""
    known = last_time(batch.target)
    end = known if batch.beyond is None else last_time(batch.beyond)
    inside = torch.linspace(0, known, GRID, device=batch.target.times.device)
    beyond = torch.linspace(known, end, GRID + 1, device=inside.device)[1:]
    return inside, beyond if end > known else None


def last_time(series: Series) -> float:
    return float(series.times.max())


def varied(series: Series) -> list[int]:
    """The features observed most often, at most ``FEATURES``, in order."""
    return sorted(
        series.mask.sum((0, 1)).topk(min(FEATURES, series.mask.shape[2])).indices.tolist()
    )


def draw_one(
    axis: Axes,
    batch: Batch,
    i: int,
    feature: int | None,
    times: Tensor,
    predictions: Tensor,
    known: float,
) -> None:
    """One series: ``feature`` against time, or both features in the plane if it is None."""

    def place(t: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        return (x[..., 0], x[..., 1]) if feature is None else (t, x[..., feature])

    def seen(series: Series) -> tuple[Tensor, Tensor]:
        mask = series.present[i] if feature is None else series.mask[i, :, feature]
        return place(series.times[i][mask], series.values[i][mask])

    later = times > known
    for s in range(predictions.shape[1]):
        for part, colour, label in ((~later, "C0", "model"), (later, "C3", "model, beyond")):
            if bool(part.any()):
                named = {"label": label} if s == 0 else {}
                curve = place(times[part], predictions[part, s])
                axis.plot(*curve, color=colour, alpha=0.35, linewidth=1, **named)
    for series in (batch.target, batch.beyond):
        if series is not None:
            named = {"label": "asked for"} if series is batch.target else {}
            axis.plot(*seen(series), ".", color="0.6", markersize=2, **named)
    axis.plot(*seen(batch.observed), "o", color="C1", markersize=3, label="observed")
    if feature is None:
        axis.set_aspect("equal", "datalim")
    else:
        axis.set_xlim(0, float(times[-1]))
        axis.set_ylabel(f"feature {feature}" if i == 0 else "")


def draw_between(model: LatentModel, batch: Batch) -> Figure:
    """Curves decoded from points of the line between the encodings of two series (Chen et al. 2018,
    figure 9 b).
    """
    from matplotlib.figure import Figure

    mean = model.encoder(batch.observed).mean
    one, two = mean[0], mean[-1]
    parts = torch.linspace(0, 1, BETWEEN, device=mean.device)
    z0 = torch.lerp(one, two, parts[:, None])[:, None]
    times = torch.linspace(0, last_time(batch.target), GRID, device=mean.device)
    curves = model.decode(z0, times.expand(BETWEEN, -1))[:, :, 0].cpu()
    figure = Figure(figsize=(2.4 * BETWEEN, 2.6), layout="constrained")
    figure.suptitle("Decoded along the line from one series' encoding to another's")
    plane = curves.shape[2] == 2
    axes = figure.subplots(1, BETWEEN, sharey=not plane)
    for axis, curve, part in zip(axes, curves, parts.tolist(), strict=True):
        axis.set_title(f"{part:.2f}", fontsize=9)
        if plane:
            axis.plot(curve[:, 0], curve[:, 1])
            axis.set_aspect("equal", "datalim")
        else:
            for feature in varied(batch.target):
                axis.plot(times.cpu(), curve[:, feature], label=f"feature {feature}")
    if not plane:
        figure.legend(*axes[0].get_legend_handles_labels(), loc="outside right center")
    return figure
