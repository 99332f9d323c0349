"""What a latent model asks of its dynamics."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from ...ode import Solver
from ..cells.protocol import Solves


class Dynamics(Protocol):
    """Carries latent states forward: an nn.Module."""

    def __call__(self, z0: Tensor, times: Tensor) -> tuple[Tensor, Solves]:
        """The states at times (B, T), each series its own, of S samples of a state at time 0, (B,
        S, L): (B, T, S, L), and the cost of each solve.
        """

    def evaluated_with(self, solver: Solver) -> Dynamics:
        """The same dynamics (its parameters are shared) under another solver, where it has one."""
