"""Plots of time series with the samples of a model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ...data.scaling import Scaling
from ...data.series import Batch, Series
from ...plotting import add_legend
from ..inference import SeriesModel
from ..model import LatentModel

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["SeriesAxes", "draw_interpolation", "draw_series", "plot_times"]

CURVE_POINTS = 100
MAX_FEATURES = 4  # drawn against time
CODES = 5  # on the line between two encodings, its ends included
BAND = (0.1, 0.9)  # quantiles of samples


@dataclass(frozen=True)
class SeriesAxes:
    """Labels of the axes of series, and the way back from model values to the data's units.

    Attributes:
        features: Label of each feature, with its unit.
        time: Label of the time axis, with its unit.
        time_scale: That unit's number per unit of the model's time.
        scaling: Scaling of the values, if the model sees scaled ones.

    >>> class Tides:
    ...     shape, features, time_axis = (1,), ("level (m)",), ("time (h)", 24.0)
    >>> SeriesAxes.of(Tides()).time
    'time (h)'
    """

    features: tuple[str, ...]
    time: str = "t"
    time_scale: float = 1.0
    scaling: Scaling | None = None

    @classmethod
    def of(cls, data: Any) -> SeriesAxes:
        """Read ``features``, ``time_axis`` and ``scaling`` of a data set, all of them optional."""
        default = tuple(f"$x_{{{i + 1}}}$" for i in range(data.shape[0]))
        time = getattr(data, "time_axis", ("t", 1.0))
        return cls(getattr(data, "features", default), *time, getattr(data, "scaling", None))

    def values(self, x: Tensor) -> Tensor:
        """Return values (..., D) in the data's units, on the CPU."""
        return x.cpu() if self.scaling is None else self.scaling.undo(x.cpu())

    def series(self, series: Series | None) -> Series | None:
        """Return a series in the data's units, on the CPU."""
        if series is None:
            return None
        times = series.times.cpu() * self.time_scale
        return Series(times, self.values(series.values), series.mask.cpu())


def draw_series(model: SeriesModel, batch: Batch, samples: int, labels: SeriesAxes) -> Figure:
    """Draw observations, targets and predictions inside the targets' range and beyond it: in the
    plane for two features, each sample a curve; else against time, as mean and band of the samples.

    Args:
        samples: Number of samples of a latent model.
    """
    from matplotlib.figure import Figure  # imported late: takes half a second

    inside, beyond = plot_times(batch)
    count, dim = batch.target.values.shape[0], batch.target.values.shape[2]
    wide = (inside.expand(count, -1), None if beyond is None else beyond.expand(count, -1))
    predictions = labels.values(model.infer(batch.observed, *wide, samples).predictions)
    times = torch.cat((inside,) if beyond is None else (inside, beyond)).cpu()
    later = times > _last_time(batch.target)
    times = times * labels.time_scale
    rows = [None] if dim == 2 else _most_observed(batch.target)
    batch = Batch(*(labels.series(part) for part in batch[:3]))
    size = (3 * count + 0.4, 3.6) if dim == 2 else (3.2 * count + 0.4, 1.9 * len(rows) + 1.0)
    figure = Figure(figsize=size, layout="constrained")
    share = {} if dim == 2 else {"sharex": True, "sharey": "row"}
    axes = figure.subplots(len(rows), count, squeeze=False, **share)
    for row, feature in zip(axes, rows, strict=True):
        for i, axis in enumerate(row):
            _draw_model(axis, times, predictions[i], feature, later)
            _draw_points(axis, batch, i, feature)
            if feature is None:
                axis.set_aspect("equal", "datalim")
                axis.set_xlabel(labels.features[0])
        row[0].set_ylabel(labels.features[1 if feature is None else feature])
    if dim != 2:
        axes[0][0].set_xlim(0, float(times[-1]))
        for axis in axes[-1]:
            axis.set_xlabel(labels.time)
    add_legend(figure)
    return figure


def plot_times(batch: Batch) -> tuple[Tensor, Tensor | None]:
    """Return even times inside the range of the target, (CURVE_POINTS,), and beyond it, if the
    batch goes there.
    """
    last = _last_time(batch.target)
    end = last if batch.beyond is None else _last_time(batch.beyond)
    inside = torch.linspace(0, last, CURVE_POINTS, device=batch.target.times.device)
    beyond = torch.linspace(last, end, CURVE_POINTS + 1, device=inside.device)[1:]
    return inside, beyond if end > last else None


def draw_interpolation(model: LatentModel, batch: Batch, labels: SeriesAxes) -> Figure:
    """Draw the curves decoded along the line between the encodings of the first and last series
    (Chen et al. 2018, figure 9 b).
    """
    from matplotlib.figure import Figure

    mean = model.encoder(batch.observed).mean
    parts = torch.linspace(0, 1, CODES, device=mean.device)
    z0 = torch.lerp(mean[0], mean[-1], parts[:, None])[:, None]
    times = torch.linspace(0, _last_time(batch.target), CURVE_POINTS, device=mean.device)
    curves = labels.values(model.decode(z0, times.expand(CODES, -1))[:, :, 0])
    times = times.cpu() * labels.time_scale
    plane = curves.shape[2] == 2
    rows = [None] if plane else _most_observed(batch.target)
    size = (2.6 * CODES + 0.4, 3.2) if plane else (2.6 * CODES + 0.4, 1.7 * len(rows) + 1.0)
    figure = Figure(figsize=size, layout="constrained")
    figure.suptitle("Decoded along the line between the encodings of two series")
    share = {} if plane else {"sharex": True, "sharey": "row"}
    axes = figure.subplots(len(rows), CODES, squeeze=False, **share)
    for row, feature in zip(axes, rows, strict=True):
        for axis, curve in zip(row, curves, strict=True):
            axis.plot(*_coordinates(times, curve, feature))
            if plane:
                axis.set_aspect("equal", "datalim")
        row[0].set_ylabel(labels.features[1 if plane else feature])
    for axis, part in zip(axes[0], parts.tolist(), strict=True):
        ends = {0.0: "first series", 1.0: "last series"}
        axis.set_title(ends.get(part, f"{part:.0%} of the way"))
    for axis in axes[-1]:
        axis.set_xlabel(labels.features[0] if plane else labels.time)
    return figure


def _last_time(series: Series) -> float:
    return float(series.times.max())


def _most_observed(series: Series) -> list[int]:
    """Return the features observed most often, at most ``MAX_FEATURES``, in their order."""
    counts = series.mask.sum((0, 1))
    return sorted(counts.topk(min(MAX_FEATURES, len(counts))).indices.tolist())


def _coordinates(t: Tensor, x: Tensor, feature: int | None) -> tuple[Tensor, Tensor]:
    """Return what is drawn of values (..., D): one feature over time, or both in the plane."""
    return (x[..., 0], x[..., 1]) if feature is None else (t, x[..., feature])


def _draw_points(axis: Axes, batch: Batch, i: int, feature: int | None) -> None:
    """Draw the targets and the observations of series i."""
    target = {"color": "0.6", "markersize": 3, "label": "target"}
    observed = {"color": "C1", "markersize": 3.5, "label": "observed"}
    for series, marker, style in (
        (batch.target, ".", target),
        (batch.beyond, ".", target),
        (batch.observed, "o", observed),
    ):
        if series is not None:
            mask = series.present[i] if feature is None else series.mask[i, :, feature]
            points = _coordinates(series.times[i][mask], series.values[i][mask], feature)
            axis.plot(*points, marker, **style)


def _draw_model(
    axis: Axes, times: Tensor, samples: Tensor, feature: int | None, later: Tensor
) -> None:
    """Draw samples (T, S, D): curves in the plane; over time their mean and band."""
    joined = later | later.roll(-1)  # both curves have the last point inside
    joined[-1] = True
    parts = [(~later, "C0", "model")]
    if bool(later.any()):
        parts.append((joined, "C3", "model, beyond"))
    for part, colour, name in parts:
        t, x = times[part], samples[part]
        if feature is None:
            name = name if x.shape[1] == 1 else f"{name}: samples"
            for s in range(x.shape[1]):
                curve = _coordinates(t, x[:, s], None)
                axis.plot(*curve, color=colour, alpha=0.4, linewidth=1, label=name)
            continue
        x = x[..., feature]
        many = x.shape[1] > 1
        axis.plot(t, x.mean(1), color=colour, label=f"{name}: mean" if many else name)
        if many:
            low, high = torch.quantile(x, torch.tensor(BAND, dtype=x.dtype), dim=1)
            label = f"{name}: {BAND[0]:.0%} to {BAND[1]:.0%} of samples"
            axis.fill_between(t, low, high, color=colour, alpha=0.25, linewidth=0, label=label)
