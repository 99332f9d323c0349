"""Implicit Runge-Kutta steps: diagonally implicit ones stage by stage, others block by block."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property, lru_cache, partial
from typing import ClassVar

import torch
from torch import Tensor

from ..error_norm import ErrorNorm
from ..state import Layout
from ..step import combination, combined
from ..stepper import Attempt, Diagnosis, Rates, rates_diagnosed
from ..tableau import Row
from ..transforms import refuse_functorch
from .hermite import Hermite, refined
from .implicit_tableau import ImplicitTableau
from .newton import Jacobian, Newton
from .runge_kutta import RungeKutta

Block = tuple[Row, ...]  # the part of a that couples the stages of a block

ITERATIONS, ITERATIONS_FIXED = 10, 100  # a fixed step has no second try
MAGNIFIED = 6.0  # the sum of a predictor's weights, at most


@dataclass(frozen=True)
class ImplicitRungeKutta(RungeKutta):
    """k_i = f(t + c_i dt, y + dt sum_j a_ij k_j), y_new = y + dt sum_i b_i k_i, solved by Newton's
    iteration.

    The rate of a stage is taken from its equation, k = (z - base) / (a_ii dt), not from f at its
    point z, which would magnify what the iteration leaves by the stiffness of f (Hairer, Wanner,
    Solving ODEs II, IV.8). The gradient is that of the solution of the equations, not of the
    iterations, and cannot be differentiated again.

    Args:
        tableau: its coefficients.
        jacobian: "rows" for a batch whose rows do not see each other, "full" for any f.
        iterations: of Newton's in a stage, at most: 10 with step-size control and 100 without
            unless given.
        fixed: leave the error estimate alone and solve to rounding.

    Example:
        >>> trapezoid = ImplicitTableau(2, (0.0, 1.0), ((0.0, 0.0), (0.5, 0.5)), (0.5, 0.5))
        >>> ImplicitRungeKutta(trapezoid, jacobian="full").order
        2
    """

    tableau: ImplicitTableau
    jacobian: Jacobian = "rows"
    iterations: int | None = None
    fixed: bool = False

    implicit: ClassVar[bool] = True

    @property
    def adaptive(self) -> bool:
        return self.tableau.adaptive and not self.fixed

    def start(
        self, f: Rates, layout: Layout, norm: ErrorNorm, graph: bool, judged: bool = True
    ) -> ImplicitStepper:
        """A solve by this method; see ``stepper.Method``.

        Raises:
            ValueError: for options out of range.
            NotImplementedError: inside a transform of torch.func.
        """
        refuse_functorch("an implicit method", "an explicit method such as dopri5 or rk4")
        iterations = self.iterations
        if iterations is None:
            iterations = ITERATIONS if self.adaptive else ITERATIONS_FIXED
        newton = Newton(f, layout, norm, self.jacobian, iterations, self.adaptive)
        again = partial(self.start, f, layout, norm, graph, judged=False)
        return ImplicitStepper(self, f, layout, newton, graph, judged and self.adaptive, again)


@dataclass(frozen=True)
class Taken:
    """A step that has been computed.

    Attributes:
        k: rates of its stages, each (width,).
        start, end: rates at its ends, as far as they are there.
    """

    t0: float
    t1: float
    y0: Tensor
    y1: Tensor
    k: tuple[Tensor, ...]
    start: Tensor | None
    end: Tensor | None


class ImplicitStepper:
    """One solve: keeps the rate at the end of a step, the Jacobian and the last step taken."""

    taken: Taken  # after the first attempt

    def __init__(
        self,
        method: ImplicitRungeKutta,
        f: Rates,
        layout: Layout,
        newton: Newton,
        graph: bool,
        judged: bool,
        again: Callable[[], ImplicitStepper],
    ) -> None:
        self.method, self.tableau, self.judged = method, method.tableau, judged
        self.f, self.layout, self.newton, self.graph = f, layout, newton, graph
        self.again = again
        self.rate: Tensor | None = None  # f where the next step starts
        self.scales: tuple[float, dict[Block, Tensor]] = (0.0, {})
        self.jacobian_at: float | None = None  # the start of the step that it was made for

    @cached_property
    def shorter(self) -> ImplicitStepper:
        """Takes shorter steps from where a step starts. Its Jacobian is its own, so that the steps
        themselves do not depend on what is asked inside them.
        """
        return self.again()

    def first_rate(self, t: float, y: Tensor) -> Tensor:
        """f(t, y), kept for the step from there."""
        return self._start_rate(t, y).detach()

    def _start_rate(self, t: float, y: Tensor) -> Tensor:
        """f(t, y), shape (width,), evaluated where the step before has not."""
        if self.rate is None:
            self.rate = self._evaluate(0, t, y)
        return self.rate

    def attempt(self, t0: float, t1: float, y: Tensor) -> Attempt:
        """A step from (t0, y) to t1.

        Raises:
            StepFailed: where the iteration finds none.
        """
        # An old Jacobian may let an iteration that ends by the tolerance pass for converged where
        # it is not: van der Pol's oscillator with mu = 1000 then jumps late. It serves the stages
        # of a step, and the next attempt from the same point.
        if self.method.adaptive and t0 != self.jacobian_at:
            self.newton.stale, self.jacobian_at = True, t0
        with torch.set_grad_enabled(self.graph and torch.is_grad_enabled()):
            self.taken = self._take(t0, t1, y)
        error = self._error(t1 - t0, self.taken.k) if self.judged else None
        return Attempt(self.taken.y1, error)

    def accept(self) -> None:
        self.rate = self.taken.end

    def interpolant(self) -> Hermite:
        """Of order 3, or 4 with the tableau's bump; above order 4 without one, through points that
        shorter steps reach. At one or two evaluations where the rates at the ends are not among the
        stages.
        """
        step = self.taken
        start, end = step.start, step.end
        if start is None:
            start = self._evaluate(0, step.t0, step.y0)
        if end is None:
            end = self._evaluate(0, step.t1, step.y1)
        self.taken, self.rate = replace(step, start=start, end=end), end
        bump = combination(step.k, self.tableau.bump, 1.0) if self.tableau.bump else None
        path = Hermite(step.t0, step.t1, step.y0, step.y1, start, end, bump)
        return refined(path, self.tableau.inner, self._reach)

    def _reach(self, t: float) -> tuple[Tensor, Tensor]:
        """The state at t inside the step taken, by a step from its start, and the rate there."""
        step = self.taken
        self.shorter.rate = step.start
        y = self.shorter.attempt(step.t0, t, step.y0).y1
        return y, self._evaluate(None, t, y)

    def restart(self) -> None:
        """The Jacobian is kept: an iteration that it no longer serves asks for another."""
        self.rate = None

    def diagnose(self) -> Diagnosis:
        if hasattr(self, "taken"):
            return rates_diagnosed(torch.stack(self.taken.k))
        return Diagnosis() if self.rate is None else rates_diagnosed(self.rate)

    def _evaluate(self, stage: int | None, t: float, y: Tensor) -> Tensor:
        """f in a tensor that f does not write to again, (width,)."""
        with torch.set_grad_enabled(self.graph and torch.is_grad_enabled()):
            return self.layout.flatten(self.f(stage, t, y)).clone()

    def _take(self, t0: float, t1: float, y: Tensor) -> Taken:
        tableau, dt = self.tableau, t1 - t0
        k: list[Tensor] = []
        z: Tensor | None = None  # the last point
        for first, stop in tableau.blocks:
            if tableau.explicit(first):
                k.append(self._explicit(first, t0, t1, y, k))
                continue
            points, rates = self._block((first, stop), t0, t1, y, k, z)
            k, z = k + rates, points[-1]
        y1 = combined(y, k, tableau.b, dt)
        if tableau.stiffly_accurate and z is not None:  # the last point, to the last bit
            y1 = torch.cat([z, y1[len(z) :]]) if len(z) < len(y1) else z
        start = k[0] if tableau.explicit(0) else self.rate
        end = k[-1] if tableau.stiffly_accurate else None
        return Taken(t0, t1, y, y1, tuple(k), start, end)

    def _explicit(self, stage: int, t0: float, t1: float, y: Tensor, k: list[Tensor]) -> Tensor:
        if stage == 0:
            return self._start_rate(t0, y)
        point = combined(y, k, self.tableau.a[stage], t1 - t0)
        return self._evaluate(stage, self._time(stage, t0, t1), point)

    def _block(
        self,
        block: tuple[int, int],
        t0: float,
        t1: float,
        y: Tensor,
        k: list[Tensor],
        z: Tensor | None,
    ) -> tuple[Tensor, list[Tensor]]:
        """Points (m, state_size) of the stages of a block, and their rates; z is the point before
        them, None for y.
        """
        stages, fed, dt = range(*block), self.layout.state_size, t1 - t0
        known = [rate[:fed] for rate in k]
        base = torch.stack([combined(y[:fed], known, self.tableau.a[i], dt) for i in stages])
        times = [self._time(i, t0, t1) for i in stages]
        coupling = tuple(row[slice(*block)] for row in self.tableau.a[slice(*block)])
        scale = self._scale(dt, coupling)
        guess = self._guess(block[0], base, scale, known, y[:fed] if z is None else z)
        rate = None
        if z is None and not self.method.adaptive:
            rate = self._start_rate(t0, y)[:fed]
        points = self.newton.solve(times, base, scale, guess, rate)
        if self.graph:
            points = self.newton.attached(times, base, scale, points)
        rates = self._coefficients(coupling)[1] @ ((points - base) / dt)
        return points, self._with_quadratures(stages, times, points, rates)

    @torch.no_grad()
    def _guess(self, stage: int, base: Tensor, scale: Tensor, k: list[Tensor], z: Tensor) -> Tensor:
        """Points whose rates follow those of the stages before, shape (m, state_size). With fixed
        steps, which may be too long for that, the point of the last stage.
        """
        if not (self.method.adaptive and k):
            return z.expand_as(base)
        rate = combination(k, predictor(self.tableau.c, stage), 1.0)
        return base + scale.sum(1, keepdim=True) * rate

    def _with_quadratures(
        self, stages: range, times: list[float], points: Tensor, rates: Tensor
    ) -> list[Tensor]:
        """Append the rates of quadratures, f's own, to the rates (m, state_size) of a block."""
        if self.layout.width == self.layout.state_size:
            return list(rates.unbind())
        fed, found = self.layout.state_size, []
        for i, t, point, rate in zip(stages, times, points, rates, strict=True):
            found.append(torch.cat([rate, self._evaluate(i, t, point)[fed:]]))
        return found

    def _time(self, stage: int, t0: float, t1: float) -> float:
        """Of a stage. A node of 1 is t1 itself: t0 + dt may round past the end of the interval."""
        c = self.tableau.c[stage]
        return t1 if c == 1.0 else t0 + c * (t1 - t0)

    def _scale(self, dt: float, coupling: Block) -> Tensor:
        """dt times the block, the same tensor while dt is the same, so that factors are kept."""
        if self.scales[0] != dt:
            self.scales = dt, {}
        scales = self.scales[1]
        if coupling not in scales:
            scales[coupling] = self._coefficients(coupling)[0] * dt
        return scales[coupling]

    def _coefficients(self, coupling: Block) -> tuple[Tensor, Tensor]:
        return coefficients(coupling, self.layout.dtype, self.layout.device)

    @torch.no_grad()
    def _error(self, dt: float, k: Sequence[Tensor]) -> Tensor:
        """sum_i b_error_i k_i, filtered where the tableau asks for it, shape (width,)."""
        error = combination([rate.detach() for rate in k], self.tableau.b_error or (), 1.0)
        if not self.tableau.filter:
            return error
        fed = self.layout.state_size
        return torch.cat([self.newton.damped(error[:fed], self.tableau.filter * dt), error[fed:]])


@cache
def predictor(c: Row, stage: int) -> Row:
    """Weights of the rates before a stage that extrapolate them to it, shape (stage,): exact for
    the highest degree up to 2 at which they do not magnify errors, the shortest of those.
    """
    known = torch.tensor(c[:stage], dtype=torch.float64)
    for degree in range(min(2, len(set(c[:stage])) - 1), 0, -1):
        powers = torch.arange(degree + 1)
        found = torch.linalg.pinv(known ** powers[:, None]) @ c[stage] ** powers.double()
        if found.abs().sum() < MAGNIFIED:
            return tuple(found.tolist())
    return (0.0,) * (stage - 1) + (1.0,)


@lru_cache(maxsize=64)
@torch.inference_mode(False)
def coefficients(
    coupling: Block, dtype: torch.dtype, device: torch.device
) -> tuple[Tensor, Tensor]:
    """A block of a and its inverse, shape (m, m), on the device."""
    block = torch.tensor(coupling, dtype=torch.float64)
    return block.to(device, dtype), torch.linalg.inv(block).to(device, dtype)
