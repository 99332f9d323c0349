"""A classifier with an ODE in the place of its residual blocks."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn

from .nets import variant
from .ode import Solver, Stats


class Classified(NamedTuple):
    """Logits (B, classes), and the cost of the solve behind them; None where there is no ODE."""

    logits: Tensor
    stats: Stats | None


class ODENet(nn.Module):
    """logits = head(y(T)), y' = f(t, y), y(0) = stem(image) (Chen et al. 2018, section 3).

    Args:
        stem: images (B, 1, H, W) to features (B, C, H', W').
        field: f(t, y) on features.
        head: features to logits (B, classes).
        solver: of the ODE; its gradient strategy makes this an ODE-net (adjoint) or an RK-net
            (direct).
        end_time: T.
    """

    def __init__(
        self,
        stem: nn.Module,
        field: nn.Module,
        head: nn.Module,
        solver: Solver,
        end_time: float = 1.0,
    ) -> None:
        super().__init__()
        if not end_time > 0:
            raise ValueError(f"model.end_time is {end_time!r}, must be positive")
        self.stem, self.field, self.head = stem, field, head
        self.solver, self.end_time = solver, end_time

    def evaluated_with(self, solver: Solver) -> ODENet:
        """The same network (its parts are shared) under another solver."""
        return variant(self, solver=solver)

    def forward(self, x: Tensor) -> Classified:
        solution = self.solver(self.field, self.stem(x), [0.0, self.end_time])
        return Classified(self.head(solution.final), solution.stats)
