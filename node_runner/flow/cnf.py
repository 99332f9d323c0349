"""A continuous normalizing flow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ..nets import variant
from ..ode import Quadrature, Solver
from .divergence import Divergence, pushforward
from .flow import Flow, Transport
from .regularizers import Local, Regularizer, acceleration


class CNF(Flow):
    """dx/dt = f(t, x) carries data at t = 0 to noise at t = T; log |det dz/dx| = int div f dt.

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
        steer: b, in training only: T is drawn from [T - b, T + b] once a solve, which keeps the
            dynamics from growing stiff before a fixed end (STEER, Ghosh et al. 2020,
            arXiv:2006.10711).

    Raises:
        ValueError: for a T that is not positive, b not in [0, T), or a field with batch
        normalisation.
    """

    def __init__(
        self,
        field: nn.Module,
        solver: Solver,
        divergence: Divergence,
        regularizers: Mapping[str, Regularizer] | None = None,
        end_time: float = 1.0,
        steer: float = 0.0,
    ) -> None:
        super().__init__()
        if not end_time > 0:
            raise ValueError(f"model.end_time is {end_time!r}, must be positive")
        if not 0 <= steer < end_time:
            raise ValueError(f"model.steer is {steer!r}, must be from 0 to below {end_time}")
        if any(isinstance(module, _BatchNorm) and module.training for module in field.modules()):
            raise ValueError(
                "model.field has batch normalisation, whose statistics couple the samples of a "
                "batch, so that none has a density of its own, and change between evaluations of "
                "the field: use LayerNorm or GroupNorm, or put the field into eval mode first"
            )
        self.field, self.solver, self.divergence = field, solver, divergence
        self.regularizers, self.end_time = dict(regularizers or {}), end_time
        self.steer, self.shape = steer, getattr(field, "shape", None)

    def evaluated_with(self, solver: Solver, divergence: Divergence | None = None) -> CNF:
        changed = {"solver": solver, "divergence": divergence or self.divergence}
        return variant(self, **changed, regularizers={}, steer=0.0)

    def transport(self, x: Tensor, t0: float = 0.0, t1: float | None = None) -> Transport:
        """Carry x, (B, *event), from t0 to t1 (T unless given) with log-determinant and costs."""
        t1 = self.draw_end() if t1 is None else t1
        probes = self.divergence.probes(x)
        # A cost counts the path's length, whichever way it is walked.
        direction = 1.0 if t1 > t0 else -1.0

        def rates(t: Tensor, x: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
            dx, rows, div = pushforward(self.field, t, x, probes)
            local = Local(t, x, dx, rows, partial(acceleration, self.field, t, x, dx))
            costs = (direction * regularizer(local) for regularizer in self.regularizers.values())
            return dx, (div, *costs)

        zero = x.new_zeros(len(x))
        quadratures = [Quadrature(zero), *(Quadrature(zero, weight=0.0) for _ in self.regularizers)]
        solution = self.solver(
            rates, x, [t0, t1], quadratures=quadratures, params=tuple(self.field.parameters())
        )
        log_det, *costs = solution.final_quadratures
        named = dict(zip(self.regularizers, costs, strict=True))
        return Transport(solution.final, log_det, named, (solution.stats,))

    def draw_end(self) -> float:
        """T, or in training a random one near it."""
        if not self.steer or not self.training:
            return self.end_time
        return self.end_time + self.steer * (2 * torch.rand(()).item() - 1)

    def path(self, x: Tensor, ts: Sequence[float]) -> Tensor:
        """Where x is at each of ts, (len(ts), B, *event), having been at x at the first; without
        densities.
        """
        return self.solver(self.field, x, ts).ys

    def inverse(self, z: Tensor) -> Tensor:
        return self.solver(self.field, z, [self.end_time, 0.0]).final
