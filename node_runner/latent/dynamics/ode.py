"""Latent states that follow an ODE."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ...nets import variant
from ...ode import Quadrature, Solver
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
        return variant(self, solver=solver)

    def forward(self, z0: Tensor, times: Tensor) -> tuple[Tensor, Solves]:
        union, rows = merge(times)
        solution = self.solver(self.field, z0, union, params=tuple(self.field.parameters()))
        return pick(solution.ys, rows), (solution.stats,)

    def integrate(
        self, z0: Tensor, times: Tensor, rate: nn.Module
    ) -> tuple[Tensor, Tensor, Solves]:
        """The states at ``times`` as of a call, and int_0^t r(z) dt up to each of them, (B, T, S),
        a quadrature of the same solve. It takes part in error control, being a part of the answer.

        Args:
            rate: r, from z (B, S, L) to (B, S).
        """
        union, rows = merge(times)

        def both(t: Tensor, z: Tensor) -> tuple[Tensor, tuple[Tensor]]:
            return self.field(t, z), (rate(z),)

        solution = self.solver(
            both,
            z0,
            union,
            quadratures=[Quadrature(z0.new_zeros(z0.shape[:2]))],
            params=(*self.field.parameters(), *rate.parameters()),
        )
        (integrals,) = solution.quadratures
        return pick(solution.ys, rows), pick(integrals, rows), (solution.stats,)


def merge(times: Tensor) -> tuple[Tensor, Tensor]:
    """0 and all of ``times``, (B, T), in order and each once, (U,); and for each of them the row of
    its series at its time in a solution (U, B, ...) laid out as (U B, ...), (B, T).
    """
    zero, b = times.new_zeros(1), len(times)
    union, index = torch.unique(torch.cat((zero, times.flatten())), return_inverse=True)
    return union, index[1:].view(times.shape) * b + torch.arange(b, device=times.device)[:, None]


def pick(solution: Tensor, rows: Tensor) -> Tensor:
    """Of (U, B, ...) the values of each series at its own times, (B, T, ...)."""
    each = solution.shape[2:]
    chosen = solution.reshape(-1, each.numel()).index_select(0, rows.flatten())
    return chosen.view(*rows.shape, *each)
