"""Interface of latent dynamics."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from ..cells.protocol import SolveStats


class Dynamics(Protocol):
    """Evolution of latent states in time: an nn.Module."""

    def __call__(self, z0: Tensor, times: Tensor) -> tuple[Tensor, SolveStats]:
        """Return states (B, T, S, L) and the cost of each ODE solve.

        Args:
            z0: S samples of the state at time 0, (B, S, L).
            times: Times of each series, (B, T).
        """
