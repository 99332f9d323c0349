"""Plots of flows: densities, trajectories and images."""

from .density import draw_densities, draw_flow, evaluate_density, grid_points, integrate_density
from .images import draw_images
from .trajectories import animate_flow, draw_trajectories, straightness

__all__ = [
    "animate_flow",
    "draw_densities",
    "draw_flow",
    "draw_images",
    "draw_trajectories",
    "evaluate_density",
    "grid_points",
    "integrate_density",
    "straightness",
]
