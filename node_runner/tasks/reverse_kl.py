"""Density matching: a flow learns a density that is known up to a constant."""

from __future__ import annotations

import torch
from torch import Tensor

from ..data import energies
from ..flow import Divergence, Flow, Transport, log_normal
from ..flow.plots import draw_densities, evaluate_density, grid_points
from ..ode import Solver
from ..training import Data, Exhibit, Headline
from .density import Density


class ReverseKL(Density):
    """Minimise KL(q | p) = E_q[log q(x) + U(x)] + log Z for p = e^-U / Z, where q is what the flow
    makes of noise: x = F(z), log q(x) = log N(z; 0, I) - log |det dF/dz| (Chen et al. 2018, section
    4.1). So here a flow's ``transport`` leads from noise to x, as the paper's does.

    log Z is summed on a grid, so that the figure is a divergence, at least 0, and 0 at best.

    Args:
        flow: to train, in two dimensions.
        eval_solver: of evaluation and pictures.
        eval_divergence: of the test; exact unless given.
        energy: U.
        grid: points along each side of the pictures.
    """

    headline = Headline("kl", "nats")

    def __init__(
        self,
        flow: Flow,
        eval_solver: Solver,
        eval_divergence: Divergence | None = None,
        energy: energies.Name = "u1",
        grid: int = 200,
    ) -> None:
        super().__init__(flow, eval_solver, eval_divergence, energies.EDGE, grid)
        self.energy, self.log_z = energy, energies.log_normaliser(energy)

    def check(self, data: Data) -> None:
        """The flow starts from noise, in two dimensions."""
        if (data.name, data.shape) != ("noise", (2,)):
            raise ValueError(
                f"density matching starts from noise in two dimensions, not from {data.name} of "
                f"shape {list(data.shape)}: leave out data= and data.dim="
            )
        super().check(data)

    def score(self, flow: Flow, batch: Tensor) -> tuple[Tensor, Transport]:
        """log q(x) - log p(x) at x = F(z) for noise z, (B, 2)."""
        transport = flow.transport(batch)
        log_q = log_normal(batch) - transport.log_det
        return log_q + energies.energy(self.energy, transport.z) + self.log_z, transport

    def show(self, data: Data) -> Exhibit:
        """Target, learned density and samples, and the two densities as arrays. The learned mass
        inside the picture is below 1 where the target, too, goes on beyond it.
        """
        noise, flow = torch.cat(list(data.batches("test"))), self.evaluated_flow()

        def learned(points: Tensor) -> Tensor:
            z = flow.inverse(points)
            return (log_normal(z) - flow.transport(z).log_det).exp()

        def target(points: Tensor) -> Tensor:
            return (-energies.energy(self.energy, points) - self.log_z).exp()

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
        return Exhibit({"density": figure}, {"density/inside": total}, arrays)

    def sample(self, data: Data) -> Exhibit:
        """What ``show`` gives, and its samples."""
        found = self.show(data)
        noise = torch.randn_like(torch.cat(list(data.batches("test"))))
        found.arrays["samples"] = self.evaluated_flow().transport(noise).z
        return found
