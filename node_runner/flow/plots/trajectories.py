"""Plots of a two-dimensional flow in time: particle trajectories and an animation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from ...plotting import add_colour_bar
from ..cnf import CNF
from ..flow import log_normal
from .density import COLOUR_LABEL, evaluate_density, grid_points, show_density

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from PIL.Image import Image

__all__ = ["animate_flow", "draw_trajectories", "straightness"]

FRAMES = 31  # of an animation, noise and data included
LAST_FRAME_REPEATS = 10
PARTICLES = 300
PATH_POINTS = 65  # of a drawn path, and of one whose length is measured


def straightness(flow: CNF, x: Tensor) -> float:
    """Return the mean ratio of path length to end-to-end distance over the paths of samples (N, 2)
    from data to noise: 1 for straight paths, as in optimal transport (Finlay et al. 2020).
    """
    path = flow.path(x, [flow.end_time * i / (PATH_POINTS - 1) for i in range(PATH_POINTS)])
    length = (path[1:] - path[:-1]).norm(dim=2).sum(0)
    return (length / (path[-1] - path[0]).norm(dim=1).clamp_min(1e-6)).mean().item()


def draw_trajectories(flow: CNF, noise: Tensor, extent: float, straight: float) -> Figure:
    """Draw the paths of particles from noise (N, 2) to data, coloured by the flow's time.

    Args:
        extent: Half the side of the square shown.
        straight: ``straightness`` of the flow, for the title.
    """
    from matplotlib.collections import LineCollection
    from matplotlib.figure import Figure

    ts = [flow.end_time * (1 - i / (PATH_POINTS - 1)) for i in range(PATH_POINTS)]
    paths = flow.path(noise[:PARTICLES], ts).transpose(0, 1).cpu()
    segments = torch.stack((paths[:, :-1], paths[:, 1:]), dim=2)  # (N, PATH_POINTS - 1, 2 ends, 2)
    figure = Figure(figsize=(6.6, 5.8), layout="constrained")
    axis = figure.subplots()
    lines = LineCollection(list(segments.flatten(0, 1).numpy()), cmap="viridis", linewidths=0.7)
    lines.set_array(np.tile(ts[:-1], len(paths)))
    axis.add_collection(lines)
    axis.set(xlim=(-extent, extent), ylim=(-extent, extent), aspect="equal")
    axis.set(xlabel="$x_1$", ylabel="$x_2$")
    axis.set_title(f"particle paths; path length / distance = {straight:.3f}")
    add_colour_bar(lines, axis, f"flow time t, from noise (t = {ts[0]:g}) to data (t = 0)")
    return figure


def animate_flow(flow: CNF, noise: Tensor, extent: float, grid: int) -> list[Image]:
    """Return the frames of an animation from noise (N, 2) to data: particles over the density p_t,
    the noise density at T carried back to t: log p_t(x) = log N(x(T)) + int_t^T div f ds.
    """
    ts = [flow.end_time * (1 - i / (FRAMES - 1)) for i in range(FRAMES)]
    paths = flow.path(noise[:PARTICLES], ts)
    points = grid_points(extent, grid, noise.device)
    densities = []
    for t in ts:

        def density(part: Tensor, t: float = t) -> Tensor:
            if t == flow.end_time:
                return log_normal(part).exp()
            there = flow.transport(part, t0=t, t1=flow.end_time)
            return (log_normal(there.z) + there.log_det).exp()

        densities.append(evaluate_density(points, density))
    highest = max(float(density.max()) for density in densities)
    frames = [
        _draw_frame(density, particles, extent, f"t = {t:.2f}", highest)
        for t, density, particles in zip(ts, densities, paths, strict=True)
    ]
    return [*frames, *frames[-1:] * LAST_FRAME_REPEATS]


def _draw_frame(
    density: Tensor, particles: Tensor, extent: float, title: str, highest: float
) -> Image:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from PIL.Image import fromarray

    figure = Figure(figsize=(5, 4.3), layout="constrained", dpi=80)
    axis = figure.subplots()
    image = show_density(axis, density, extent, highest)
    x, y = particles.cpu().unbind(1)
    axis.plot(x.numpy(), y.numpy(), ".", color="white", markersize=1.5, alpha=0.7)
    axis.set(xlim=(-extent, extent), ylim=(-extent, extent), title=title)
    add_colour_bar(image, axis, COLOUR_LABEL)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return fromarray(np.asarray(canvas.buffer_rgba())).convert("P")
