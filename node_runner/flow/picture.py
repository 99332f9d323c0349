"""What a two-dimensional flow looks like."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .cnf import CNF

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

STRETCHES = 5  # of the flow, between the pictures of its particles


def integrate_density(
    flow: CNF, extent: float, grid: int, device: torch.device
) -> tuple[Tensor, float]:
    """p on a grid of cell centres of [-extent, extent]^2, (grid, grid), and its sum times the cell.

    A proper density sums to one up to the mass outside, the grid's coarseness and the solver's
    error (Grathwohl et al. 2018, figure 8).
    """
    side = torch.linspace(-extent, extent, 2 * grid + 1, device=device)[1::2]
    points = torch.cartesian_prod(side, side)
    density = torch.cat([flow.log_prob(part)[0].exp() for part in points.split(10_000)])
    cell = (2 * extent / grid) ** 2
    return density.view(grid, grid).T, density.double().sum().item() * cell


def draw_flow(flow: CNF, samples: Tensor, density: Tensor, extent: float) -> Figure:
    """Data, learned density and model samples above; below, the samples on their way from noise."""
    from matplotlib.figure import Figure  # half a second that only a picture should cost

    generator = torch.Generator(samples.device).manual_seed(0)
    noise = torch.randn(len(samples), 2, generator=generator, device=samples.device)
    ts = [flow.end_time * (1 - i / STRETCHES) for i in range(STRETCHES + 1)]
    paths = flow.flow(noise, ts)
    figure = Figure(figsize=(12, 6.4), layout="constrained")
    above, below = figure.subfigures(2, 1, height_ratios=(1.75, 1))
    axes = above.subplots(1, 3)
    particles(axes[0], samples, extent, "data")
    box = (-extent, extent, -extent, extent)
    axes[1].imshow(density.cpu().numpy(), origin="lower", extent=box, cmap="magma", vmin=0.0)
    axes[1].set_title("learned density")
    particles(axes[2], paths[-1], extent, "model samples")
    for axis, t, points in zip(below.subplots(1, len(ts)), ts, paths, strict=True):
        particles(axis, points, extent, f"t = {t:.2g}")
    for axis in figure.axes:
        axis.set(xticks=[], yticks=[], aspect="equal")
    return figure


def particles(axis: Axes, points: Tensor, extent: float, title: str) -> None:
    """A histogram of points (N, 2), fine enough for their number, on the colours of the density."""
    bins = min(200, max(40, int(math.sqrt(len(points)))))
    x, y = points.cpu().unbind(1)
    side = (-extent, extent)
    axis.hist2d(x.numpy(), y.numpy(), bins=bins, range=(side, side), cmap="magma")
    axis.set_title(title)
