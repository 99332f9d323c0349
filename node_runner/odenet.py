"""ODE-net: a classifier with an ODE instead of residual blocks."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn

from .ode import Solver, Stats


class Classified(NamedTuple):
    """Logits (B, classes) and the cost of the ODE solve; None without an ODE."""

    logits: Tensor
    stats: Stats | None


class ODENet(nn.Module):
    """logits = head(y(T)), y' = f(t, y), y(0) = stem(image) (Chen et al. 2018, section 3).

    Args:
        stem: Net from images (B, 1, H, W) to features (B, C, H', W').
        field: f(t, y) on features.
        head: Net from features to logits (B, classes).
        solver: ODE solver; its gradient strategy makes this an ODE-net (adjoint) or an RK-net
            (direct).
        end_time: T.

    Raises:
        ValueError: For a T that is not positive.

    Example:
        >>> import torch
        >>> from node_runner.fields import MLP
        >>> net = ODENet(nn.Identity(), MLP(2), nn.Linear(2, 3), Solver("dopri5"))
        >>> net(torch.zeros(4, 2)).logits.shape
        torch.Size([4, 3])
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
            raise ValueError(f"end_time is {end_time!r}, must be positive")
        self.stem, self.field, self.head = stem, field, head
        self.solver, self.end_time = solver, end_time

    def forward(self, x: Tensor) -> Classified:
        solution = self.solver(self.field, self.stem(x), [0.0, self.end_time])
        return Classified(self.head(solution.final), solution.stats)
