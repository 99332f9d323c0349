"""Latent states that follow an ODE."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ...ode import Solver
from ..cells.protocol import Solves


class ODE(nn.Module):
    """dz/dt = f(t, z) (Chen et al. 2018, section 5).

    All series of a batch are one solve over the union of their times: outputs inside a step are
    interpolated, so that their number costs no evaluations. To rescale the time of each series
    between its own observations instead would need fewer outputs, but a step at each, as f then
    jumps there (both are timed by ``benchmarks/latent_step.py``).

    Args:
        field: f(t, z), a module.
        solver: of the ODE.
    """

    def __init__(self, field: nn.Module, solver: Solver) -> None:
        super().__init__()
        self.field, self.solver = field, solver

    def evaluated_with(self, solver: Solver) -> ODE:
        return ODE(self.field, solver)

    def forward(self, z0: Tensor, times: Tensor) -> tuple[Tensor, Solves]:
        (b, t), (s, size) = times.shape, z0.shape[1:]
        zero = times.new_zeros(1)
        union, index = torch.unique(torch.cat((zero, times.flatten())), return_inverse=True)
        solution = self.solver(self.field, z0, union, params=tuple(self.field.parameters()))
        rows = index[1:].view(b, t) * b + torch.arange(b, device=times.device)[:, None]
        states = solution.ys.reshape(-1, s * size).index_select(0, rows.flatten())
        return states.view(b, t, s, size), (solution.stats,)
