"""A continuous normalizing flow."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from ..ode import Quadrature, Solver, Stats
from .divergence import Divergence, pushforward
from .regularizers import Local, Regularizer


@dataclass(frozen=True)
class Transport:
    """Points carried from t0 to t1.

    Attributes:
        z: where they arrive, (B, *event).
        log_det: log |det dz/dx|, (B,).
        costs: integral of each regularizer's density along the path, by name, (B,).
        stats: of the solve.
    """

    z: Tensor
    log_det: Tensor
    costs: dict[str, Tensor]
    stats: Stats


class CNF(nn.Module):
    """dx/dt = f(t, x) carries data at t = 0 to a standard normal at t = T; log |det dz/dx| = int
    div f dt.

    By the instantaneous change of variables (Chen et al. 2018, theorem 1), log p(x) = log N(z; 0,
    I) + int_0^T div f dt. The log-determinant and the regularizers' costs are quadratures of one
    solve. The log-determinant takes part in error control, being a part of the answer; the costs do
    not.

    Args:
        field: f(t, x), a module.
        solver: of the ODE.
        divergence: estimator of div f; its probes are drawn once a solve.
        regularizers: costs to integrate along the way, by name.
        end_time: T.
    """

    def __init__(
        self,
        field: nn.Module,
        solver: Solver,
        divergence: Divergence,
        regularizers: Mapping[str, Regularizer] | None = None,
        end_time: float = 1.0,
    ) -> None:
        super().__init__()
        if not end_time > 0:
            raise ValueError(f"model.end_time is {end_time!r}, must be positive")
        self.field, self.solver, self.divergence = field, solver, divergence
        self.regularizers, self.end_time = dict(regularizers or {}), end_time

    def evaluated_with(self, solver: Solver, divergence: Divergence) -> CNF:
        """The same flow (the field is shared) under another solver and divergence, without
        regularizers.
        """
        return CNF(self.field, solver, divergence, end_time=self.end_time)

    def transport(self, x: Tensor, t0: float, t1: float) -> Transport:
        """Carry x, (B, *event), from t0 to t1 with its log-determinant and costs."""
        probes = self.divergence.probes(x)
        direction = (
            1.0 if t1 > t0 else -1.0
        )  # a cost counts the path's length, whichever way it is walked

        def rates(t: Tensor, x: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
            dx, rows, div = pushforward(self.field, t, x, probes)
            local = Local(t, x, dx, rows)
            return dx, (
                div,
                *(direction * regularizer(local) for regularizer in self.regularizers.values()),
            )

        zero = x.new_zeros(len(x))
        quadratures = [Quadrature(zero), *(Quadrature(zero, weight=0.0) for _ in self.regularizers)]
        solution = self.solver(
            rates, x, [t0, t1], quadratures=quadratures, params=tuple(self.field.parameters())
        )
        log_det, *costs = solution.final_quadratures
        named = dict(zip(self.regularizers, costs, strict=True))
        return Transport(solution.final, log_det, named, solution.stats)

    def log_prob(self, x: Tensor) -> tuple[Tensor, Transport]:
        """log p(x) in nats, (B,), and the transport behind it."""
        transport = self.transport(x, 0.0, self.end_time)
        return log_normal(transport.z) + transport.log_det, transport

    def flow(self, x: Tensor, ts: Sequence[float]) -> Tensor:
        """The paths of x through ts, (len(ts), B, *event), without densities."""
        return self.solver(self.field, x, ts).ys

    def sample(self, z: Tensor) -> Tensor:
        """Carry draws z of the standard normal back to data."""
        return self.solver(self.field, z, [self.end_time, 0.0]).final


def log_normal(z: Tensor) -> Tensor:
    """Log density of the standard normal, (B,) for z of shape (B, *event)."""
    flat = z.flatten(1)
    return -0.5 * (flat.square().sum(1) + flat.shape[1] * math.log(2 * math.pi))
