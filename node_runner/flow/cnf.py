"""A continuous normalizing flow."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ..ode import Quadrature, Solver
from .divergence import Divergence, divergence_and_vjps
from .flow import Flow, Transport
from .regularizers import PathPoint, Regularizer
from .regularizers.protocol import total_derivative


class CNF(Flow):
    """dx/dt = f(t, x; c) carries data at t = 0 to noise at t = T; log |det dz/dx| = int div f dt.

    By the instantaneous change of variables (Chen et al. 2018, theorem 1), log p(x | c) =
    log N(z; 0, I) + int_0^T div f dt. The log-determinant and the regularizers' costs are
    quadratures of one solve. The log-determinant takes part in error control, since it is part of
    the result; the costs do not.

    The context is one of the solve's ``params``, so that the gradient of every strategy reaches the
    encoder that computed it.

    Args:
        field: f(t, x), a module; f(t, x, context) if its attribute ``context`` is positive.
        solver: ODE solver.
        divergence: Estimator of div f; its probes are drawn once per solve.
        regularizers: Costs to integrate along the path, by name.
        end_time: T.
        steer: b. In training, T is drawn from [T - b, T + b] once per solve, which keeps the
            dynamics from growing stiff before a fixed end (STEER, Ghosh et al. 2020,
            arXiv:2006.10711).

    Raises:
        ValueError: For a T that is not positive, b not in [0, T), or a field with batch
            normalisation.

    Example:
        >>> from node_runner.fields import MLP
        >>> from node_runner.flow import Exact
        >>> flow = CNF(MLP(2, (8,)), Solver("dopri5"), Exact())
        >>> flow.log_prob(torch.zeros(3, 2)).shape
        torch.Size([3])
        >>> flow = CNF(MLP(2, (8,), context=4), Solver("dopri5"), Exact())
        >>> flow.sample(5, context=torch.zeros(3, 4)).shape
        torch.Size([5, 3, 2])
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
            raise ValueError(f"end_time is {end_time!r}, must be positive")
        if not 0 <= steer < end_time:
            raise ValueError(f"steer is {steer!r}, must be from 0 to below {end_time}")
        if any(isinstance(module, _BatchNorm) and module.training for module in field.modules()):
            raise ValueError(
                "field has batch normalisation, whose statistics couple the samples of a batch, so "
                "that no sample has a density independent of the others, and change between "
                "evaluations: use LayerNorm or GroupNorm, or put the field into eval mode first"
            )
        self.field, self.solver, self.divergence = field, solver, divergence
        self.regularizers, self.end_time = dict(regularizers or {}), end_time
        self.steer, self.shape = steer, getattr(field, "shape", None)
        self.context = getattr(field, "context", 0)

    def transport(
        self,
        x: Tensor,
        context: Tensor | None = None,
        t0: float = 0.0,
        t1: float | None = None,
    ) -> Transport:
        """Carry x, (B, *event), from t0 to t1 (default: T) with log-determinant and costs."""
        f, params = self._conditioned(x, context)
        t1 = self.draw_end() if t1 is None else t1
        probes = self.divergence.probes(x)
        direction = 1.0 if t1 > t0 else -1.0  # a cost is positive in both directions of time

        def rates(t: Tensor, x: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
            dx, vjps, div = divergence_and_vjps(f, t, x, probes)
            point = PathPoint(t, x, dx, vjps, partial(total_derivative, f, t, x, dx))
            costs = (direction * regularizer(point) for regularizer in self.regularizers.values())
            return dx, (div, *costs)

        zero = x.new_zeros(len(x))
        quadratures = [Quadrature(zero), *(Quadrature(zero, weight=0.0) for _ in self.regularizers)]
        solution = self.solver(rates, x, [t0, t1], quadratures=quadratures, params=params)
        log_det, *costs = solution.final_quadratures
        named = dict(zip(self.regularizers, costs, strict=True))
        return Transport(cast(Tensor, solution.final), log_det, named, (solution.stats,))

    def velocity(self, t: Tensor, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Return f(t, x; c), (B, *event).

        Args:
            t: Time, () or (B,).
            x: Points, (B, *event).
            context: c, (B, C).

        Raises:
            ValueError: If the context does not have C entries per sample.
        """
        return self._conditioned(x, context)[0](t, x)

    def path(self, x: Tensor, ts: Sequence[float], context: Tensor | None = None) -> Tensor:
        """Return positions at ``ts`` of points that are at x at ts[0], (len(ts), B, *event)."""
        f, params = self._conditioned(x, context)
        return cast(Tensor, self.solver(f, x, ts, params=params).ys)

    def inverse(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        return self.path(z, [self.end_time, 0.0], context)[-1]

    def draw_end(self) -> float:
        """Return T, or in training with ``steer`` a random time near it."""
        if not self.steer or not self.training:
            return self.end_time
        return self.end_time + self.steer * (2 * torch.rand(()).item() - 1)

    def _conditioned(
        self, x: Tensor, context: Tensor | None
    ) -> tuple[Callable[[Tensor, Tensor], Tensor], tuple[Tensor, ...]]:
        """Return f(t, x) for this context and the tensors that its gradient is taken for."""
        self._check_context(x, context)
        params = tuple(self.field.parameters())
        if context is None:
            return self.field, params
        return partial(self.field, context=context), (*params, context)
