"""Density matching: a flow learns a density that is known up to a constant."""

from __future__ import annotations

import torch
from torch import Tensor

from ..data import energies
from ..flow import Divergence, Flow, log_normal
from ..flow.plots import draw_densities, evaluate_density, grid_points
from ..ode import Solver
from ..training import Artifacts, Data
from .density import Density
from .objectives import ReverseKLDivergence


def reverse_kl(
    flow: Flow,
    eval_solver: Solver,
    eval_divergence: Divergence | None = None,
    energy: energies.Name = "u1",
    grid: int = 200,
) -> Density:
    """Return the task that minimises KL(q | p) = E_q[log q(x) + U(x)] + log Z for p = e^-U / Z,
    where q is the density of x = F(z) for noise z (Chen et al. 2018, section 4.1).

    Args:
        flow: Flow to train, in two dimensions.
        eval_solver: ODE solver of evaluation and pictures.
        eval_divergence: Divergence of the test (default: exact).
        energy: Name of U.
        grid: Points along each side of the pictures.

    Raises:
        ValueError: For a grid below 2.
    """
    views = EnergyViews(energies.EDGE, grid)
    metric = ReverseKLDivergence(energy)
    return Density(flow, eval_solver, eval_divergence, energies.EDGE, grid, None, metric, views)


ReverseKL = reverse_kl  # its name in the configurations of older runs


class EnergyViews:
    """Target, learned density and samples on the square [-extent, extent]^2."""

    def __init__(self, extent: float, grid: int) -> None:
        self.extent, self.grid = extent, grid

    def visualize(self, task: Density, data: Data) -> Artifacts:
        """Return target, learned density and samples, and the two densities as arrays. The learned
        mass inside the picture is below 1 where the target extends beyond it as well.
        """
        noise, flow = torch.cat(list(data.batches("test"))), task.evaluated_flow()

        def learned(points: Tensor) -> Tensor:
            z = flow.inverse(points)
            return (log_normal(z) - flow.transport(z).log_det).exp()

        def target(points: Tensor) -> Tensor:
            return task.metric.log_target(points).exp()

        points = grid_points(self.extent, self.grid, noise.device)
        densities = {
            "target": evaluate_density(points, target),
            "learned": evaluate_density(points, learned),
        }
        samples = torch.cat([flow.transport(part).z for part in noise.split(2000)])
        figure = draw_densities(densities, samples, self.extent)
        inside = (2 * self.extent / self.grid) ** 2
        total = densities["learned"].double().sum().item() * inside
        arrays = {f"density_{name}": values for name, values in densities.items()}
        return Artifacts({"density": figure}, {"density/inside": total}, arrays)

    def sample(self, task: Density, data: Data) -> Artifacts:
        """Return ``visualize`` and samples as an array."""
        found = self.visualize(task, data)
        noise = torch.randn_like(torch.cat(list(data.batches("test"))))
        found.arrays["samples"] = task.evaluated_flow().transport(noise).z
        return found
