"""Latent states that follow an ODE."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ...ode import Quadrature, Solver
from ..cells.protocol import SolveStats


class ODE(nn.Module):
    """dz/dt = f(t, z) (Chen et al. 2018, section 5).

    All series of a batch are one solve over the union of their times: outputs inside a step are
    interpolated and need no evaluations of f. Rescaling the time of each series between its
    observations instead would need fewer outputs, but a step at each, where f then jumps (both are
    timed by ``benchmarks/latent_step.py``).

    Args:
        field: f(t, z), a module.
        solver: ODE solver.

    Example:
        >>> from node_runner.fields import MLP
        >>> dynamics = ODE(MLP(3, (8,)), Solver("dopri5"))
        >>> dynamics(torch.zeros(4, 2, 3), torch.rand(4, 7))[0].shape
        torch.Size([4, 7, 2, 3])
    """

    def __init__(self, field: nn.Module, solver: Solver) -> None:
        super().__init__()
        self.field, self.solver = field, solver

    def forward(self, z0: Tensor, times: Tensor) -> tuple[Tensor, SolveStats]:
        union, rows = _union(times)
        solution = self.solver(self.field, z0, union, params=tuple(self.field.parameters()))
        return _select(solution.ys, rows), (solution.stats,)

    def integrate(
        self, z0: Tensor, times: Tensor, rate: nn.Module
    ) -> tuple[Tensor, Tensor, SolveStats]:
        """Return the states, int_0^t r(z) dt at each time, (B, T, S), and the cost of each solve.

        The integral is a quadrature of the same solve. It takes part in error control, since it is
        part of the result.

        Args:
            z0, times: As in a call.
            rate: r, from z (B, S, L) to (B, S).
        """
        union, rows = _union(times)

        def rates(t: Tensor, z: Tensor) -> tuple[Tensor, tuple[Tensor]]:
            return self.field(t, z), (rate(z),)

        solution = self.solver(
            rates,
            z0,
            union,
            quadratures=[Quadrature(z0.new_zeros(z0.shape[:2]))],
            params=(*self.field.parameters(), *rate.parameters()),
        )
        (integrals,) = solution.quadratures
        return _select(solution.ys, rows), _select(integrals, rows), (solution.stats,)


def _union(times: Tensor) -> tuple[Tensor, Tensor]:
    """Return 0 and all distinct ``times`` (B, T) in order, (U,), and the row of each series and
    time in a solution (U, B, ...) flattened to (U B, ...), (B, T).
    """
    zero, b = times.new_zeros(1), len(times)
    union, index = torch.unique(torch.cat((zero, times.flatten())), return_inverse=True)
    return union, index[1:].view(times.shape) * b + torch.arange(b, device=times.device)[:, None]


def _select(solution: Tensor, rows: Tensor) -> Tensor:
    """Return the values of each series at its times, (B, T, ...), of a solution (U, B, ...)."""
    entry = solution.shape[2:]
    selected = solution.reshape(-1, entry.numel()).index_select(0, rows.flatten())
    return selected.view(*rows.shape, *entry)
