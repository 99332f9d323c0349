"""What a two-dimensional flow looks like."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .cnf import CNF
from .flow import Flow

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LEGS = 64  # of a path whose length is measured
STRETCHES = 5  # of the flow, between the pictures of its particles


def square(extent: float, grid: int, device: torch.device) -> Tensor:
    """The cell centres of [-extent, extent]^2, (grid, grid, 2), rows from below."""
    side = torch.linspace(-extent, extent, 2 * grid + 1, device=device)[1::2]
    return torch.stack(torch.meshgrid(side, side, indexing="xy"), dim=2)


def density_on(points: Tensor, density: Callable[[Tensor], Tensor]) -> Tensor:
    """A density of points (N, 2) on a grid (H, W, 2), in parts that fit."""
    parts = points.view(-1, 2).split(10_000)
    return torch.cat([density(part) for part in parts]).view(points.shape[:2])


def integrate_density(
    flow: Flow, extent: float, grid: int, device: torch.device
) -> tuple[Tensor, float]:
    """p on a grid of cell centres of [-extent, extent]^2, (grid, grid), and its sum times the cell.

    A proper density sums to one up to the mass outside, the grid's coarseness and the solver's
    error (Grathwohl et al. 2018, figure 8).
    """
    points = square(extent, grid, device)
    density = density_on(points, lambda part: flow.log_prob(part).exp())
    return density, density.double().sum().item() * (2 * extent / grid) ** 2


def straightness(flow: CNF, x: Tensor) -> float:
    """Mean over samples of the length of the path from data to noise over the distance between its
    ends: 1 where paths are straight, as optimal transport makes them (Finlay et al. 2020).
    """
    path = flow.path(x, [flow.end_time * i / LEGS for i in range(LEGS + 1)])
    length = (path[1:] - path[:-1]).norm(dim=2).sum(0)
    return (length / (path[-1] - path[0]).norm(dim=1).clamp_min(1e-6)).mean().item()


def draw_flow(flow: Flow, samples: Tensor, density: Tensor, extent: float) -> Figure:
    """Data, learned density and model samples above; below, if the flow has a time, the samples on
    their way from noise.
    """
    from matplotlib.figure import Figure  # half a second that only a picture should cost

    generator = torch.Generator(samples.device).manual_seed(0)
    noise = torch.randn(len(samples), 2, generator=generator, device=samples.device)
    if not isinstance(flow, CNF):
        return draw_densities({"learned density": density}, flow.inverse(noise), extent, samples)
    ts = [flow.end_time * (1 - i / STRETCHES) for i in range(STRETCHES + 1)]
    paths = flow.path(noise, ts)
    figure = Figure(figsize=(12, 6.4), layout="constrained")
    above, below = figure.subfigures(2, 1, height_ratios=(1.75, 1))
    axes = above.subplots(1, 3)
    particles(axes[0], samples, extent, "data")
    heights(axes[1], density, extent, "learned density")
    particles(axes[2], paths[-1], extent, "model samples")
    for axis, t, points in zip(below.subplots(1, len(ts)), ts, paths, strict=True):
        particles(axis, points, extent, f"t = {t:.2g}")
    bare(figure)
    return figure


def draw_densities(
    densities: dict[str, Tensor], drawn: Tensor, extent: float, data: Tensor | None = None
) -> Figure:
    """Data if there are any, densities on a grid by title, model samples: side by side."""
    from matplotlib.figure import Figure

    count = len(densities) + 1 + (data is not None)
    figure = Figure(figsize=(4 * count, 4.2), layout="constrained")
    axes = iter(figure.subplots(1, count))
    if data is not None:
        particles(next(axes), data, extent, "data")
    for title, density in densities.items():
        heights(next(axes), density, extent, title)
    particles(next(axes), drawn, extent, "model samples")
    bare(figure)
    return figure


def bare(figure: Figure) -> None:
    for axis in figure.axes:
        axis.set(xticks=[], yticks=[], aspect="equal")


def heights(axis: Axes, density: Tensor, extent: float, title: str) -> None:
    """A density on a grid."""
    box = (-extent, extent, -extent, extent)
    axis.imshow(density.cpu().numpy(), origin="lower", extent=box, cmap="magma", vmin=0.0)
    axis.set_title(title)


def particles(axis: Axes, points: Tensor, extent: float, title: str) -> None:
    """A histogram of points (N, 2), fine enough for their number, on the colours of the density."""
    bins = min(200, max(40, int(math.sqrt(len(points)))))
    x, y = points.cpu().unbind(1)
    side = (-extent, extent)
    axis.hist2d(x.numpy(), y.numpy(), bins=bins, range=(side, side), cmap="magma")
    axis.set_title(title)
