"""A two-dimensional flow in time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from .cnf import CNF
from .flow import log_normal
from .picture import bare, density_on, heights, square

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from PIL.Image import Image

FRAMES = 31  # of an animation, noise and data included
HELD = 10  # frames for which the last one stands
FOLLOWED = 300  # particles
STOPS = 65  # at which a path is drawn


def draw_trajectories(flow: CNF, noise: Tensor, extent: float, straight: float) -> Figure:
    """The paths of particles from noise (N, 2), dark, to data, bright."""
    from matplotlib.collections import LineCollection
    from matplotlib.figure import Figure

    ts = [flow.end_time * (1 - i / (STOPS - 1)) for i in range(STOPS)]
    paths = flow.path(noise[:FOLLOWED], ts).transpose(0, 1).cpu()
    pieces = torch.stack((paths[:, :-1], paths[:, 1:]), dim=2)  # (N, STOPS - 1, 2 ends, 2)
    colours = torch.linspace(0.15, 0.9, STOPS - 1).repeat(len(paths))
    figure = Figure(figsize=(6, 6.3), layout="constrained")
    axis = figure.subplots()
    lines = LineCollection(pieces.flatten(0, 1).numpy(), cmap="magma", linewidths=0.7)
    lines.set_array(colours.numpy())
    axis.add_collection(lines)
    axis.set(xlim=(-extent, extent), ylim=(-extent, extent))
    axis.set_title(f"noise (dark) to data; length over distance {straight:.3f}")
    bare(figure)
    return figure


def animate(flow: CNF, noise: Tensor, extent: float, grid: int) -> list[Image]:
    """From noise to data: the density p_t, and particles on their way. The density at t is that of
    the noise at T, carried back: log p_t(x) = log N(x(T)) + int_t^T div f ds.
    """
    ts = [flow.end_time * (1 - i / (FRAMES - 1)) for i in range(FRAMES)]
    paths = flow.path(noise[:FOLLOWED], ts)
    points = square(extent, grid, noise.device)
    frames = []
    for t, particles in zip(ts, paths, strict=True):

        def density(part: Tensor, t: float = t) -> Tensor:
            if t == flow.end_time:
                return log_normal(part).exp()
            there = flow.transport(part, t0=t, t1=flow.end_time)
            return (log_normal(there.z) + there.log_det).exp()

        frames.append(frame(density_on(points, density), particles, extent, f"t = {t:.2f}"))
    return [*frames, *frames[-1:] * HELD]


def frame(density: Tensor, particles: Tensor, extent: float, title: str) -> Image:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from PIL.Image import fromarray

    figure = Figure(figsize=(4, 4.3), layout="constrained", dpi=80)
    axis = figure.subplots()
    heights(axis, density, extent, title)
    x, y = particles.cpu().unbind(1)
    axis.plot(x.numpy(), y.numpy(), ".", color="white", markersize=1.5, alpha=0.7)
    axis.set(xlim=(-extent, extent), ylim=(-extent, extent))
    bare(figure)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return fromarray(np.asarray(canvas.buffer_rgba())).convert("P")
