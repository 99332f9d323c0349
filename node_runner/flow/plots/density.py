"""Plots of two-dimensional densities and samples."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ...plotting import add_colour_bar
from ..cnf import CNF
from ..flow import Flow

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

__all__ = ["draw_densities", "draw_flow", "evaluate_density", "grid_points", "integrate_density"]

CHUNK = 10_000  # points per evaluation of a density
SNAPSHOTS = 6  # of the samples on their way from noise to data
COLOUR_LABEL = "probability density"


def grid_points(extent: float, grid: int, device: torch.device) -> Tensor:
    """Return the cell centres of a grid on [-extent, extent]^2, (grid, grid, 2), rows from below.

    >>> grid_points(1.0, 2, torch.device("cpu"))[0]
    tensor([[-0.5000, -0.5000],
            [ 0.5000, -0.5000]])
    """
    side = torch.linspace(-extent, extent, 2 * grid + 1, device=device)[1::2]
    return torch.stack(torch.meshgrid(side, side, indexing="xy"), dim=2)


def evaluate_density(points: Tensor, density: Callable[[Tensor], Tensor]) -> Tensor:
    """Evaluate a density of points (N, 2) on a grid (H, W, 2) in chunks; return (H, W)."""
    parts = points.view(-1, 2).split(CHUNK)
    return torch.cat([density(part) for part in parts]).view(points.shape[:2])


def integrate_density(
    flow: Flow, extent: float, grid: int, device: torch.device
) -> tuple[Tensor, float]:
    """Evaluate p on a grid of [-extent, extent]^2, (grid, grid); return it and its integral.

    The integral is one up to the mass outside the square, the grid's coarseness and the solver's
    error (Grathwohl et al. 2018, figure 8).
    """
    points = grid_points(extent, grid, device)
    density = evaluate_density(points, lambda part: flow.log_prob(part).exp())
    return density, density.double().sum().item() * (2 * extent / grid) ** 2


def draw_flow(flow: Flow, samples: Tensor, density: Tensor, extent: float) -> Figure:
    """Draw data, learned density and model samples on one colour scale; below, for a flow with a
    time, the samples on their way from noise to data.

    Args:
        samples: Data, (N, 2).
        density: Learned density on the cells of [-extent, extent]^2, (H, W), rows from below.
    """
    from matplotlib.figure import Figure  # imported late: takes half a second

    generator = torch.Generator(samples.device).manual_seed(0)
    noise = torch.randn(len(samples), 2, generator=generator, device=samples.device)
    if not isinstance(flow, CNF):
        return draw_densities({"learned density": density}, flow.inverse(noise), extent, samples)
    ts = [flow.end_time * (1 - i / (SNAPSHOTS - 1)) for i in range(SNAPSHOTS)]
    paths = flow.path(noise, ts)
    figure = Figure(figsize=(13.2, 7.2), layout="constrained")
    rows = figure.subfigures(2, 1, squeeze=False, height_ratios=(1.75, 1))
    above, below = rows[:, 0]
    _draw_row(
        above.subplots(1, 3, sharey=True),
        {
            "data": _histogram(samples, extent),
            "learned density": density,
            "model samples": _histogram(paths[-1], extent),
        },
        extent,
    )
    titles = [f"t = {t:.2g}" for t in ts]
    titles[0] += " (noise)"
    titles[-1] += " (data)"
    snapshots = {title: _histogram(x, extent) for title, x in zip(titles, paths, strict=True)}
    _draw_row(below.subplots(1, len(ts), sharey=True), snapshots, extent)
    return figure


def draw_densities(
    densities: dict[str, Tensor], drawn: Tensor, extent: float, data: Tensor | None = None
) -> Figure:
    """Draw data (if given), densities and model samples side by side, on one colour scale.

    Args:
        densities: Title to density on the cells of [-extent, extent]^2, (H, W), rows from below.
        drawn: Model samples, (N, 2).
        data: Samples of the data set, (M, 2).
    """
    from matplotlib.figure import Figure

    panels = {} if data is None else {"data": _histogram(data, extent)}
    panels |= densities | {"model samples": _histogram(drawn, extent)}
    figure = Figure(figsize=(4.1 * len(panels) + 0.9, 4.4), layout="constrained")
    _draw_row(figure.subplots(1, len(panels), sharey=True), panels, extent)
    return figure


def show_density(axis: Axes, density: Tensor, extent: float, highest: float) -> AxesImage:
    """Draw a density on the cells of [-extent, extent]^2, (H, W), rows from below; label the axes.
    The colour scale goes from 0 to ``highest``.
    """
    box = (-extent, extent, -extent, extent)
    shown = density.cpu().numpy()
    image = axis.imshow(shown, extent=box, origin="lower", cmap="magma", vmin=0.0, vmax=highest)
    axis.set(xlabel="$x_1$", ylabel="$x_2$", aspect="equal")
    return image


def _draw_row(axes: Sequence[Axes], panels: dict[str, Tensor], extent: float) -> None:
    """Draw densities (H, W) by title, with one colour bar for all."""
    highest = max(float(density.max()) for density in panels.values())
    for axis, (title, density) in zip(axes, panels.items(), strict=True):
        image = show_density(axis, density, extent, highest)
        axis.set_title(title)
        axis.label_outer()
    add_colour_bar(image, list(axes), COLOUR_LABEL)


def _histogram(points: Tensor, extent: float) -> Tensor:
    """Estimate the density of points (N, 2) on square cells, as fine as their number allows."""
    bins = min(200, max(40, int(math.sqrt(len(points)))))
    cells = ((points.cpu() + extent) / (2 * extent) * bins).floor()
    x, y = cells[((cells >= 0) & (cells < bins)).all(1)].long().unbind(1)
    counts = torch.bincount(y * bins + x, minlength=bins**2).view(bins, bins)
    return counts / (max(1, len(points)) * (2 * extent / bins) ** 2)
