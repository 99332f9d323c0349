"""Adams methods for fixed steps: Adams-Bashforth, and Adams-Moulton by functional iteration.

With k rates f_i of earlier steps and the Newton form of ``adams``,

    explicit:  y1 = y0 + dt sum_{j<k} g_j phi_j                                    (order k)
    implicit:  y1 = y0 + dt (sum_{j<k} g_j phi_j + g_k (f(t1, y1) - P_k(1)))       (order k + 1)

(Hairer, Norsett, Wanner, Solving ODEs I, III.1 and III.5). Coefficients are those of the times of
the rates, so that a last step that is shortened keeps the order.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import torch
from torch import Tensor

from ..error_norm import ErrorNorm
from ..state import Layout
from ..stepper import Attempt, Diagnosis, Interpolant, Rates, StepFailed, Stepper, rates_diagnosed
from ..transforms import values_of
from .adams import HistoryPolynomial, adams_weights, rate_history, scaled_times
from .hermite import Hermite

__all__ = ["FixedAdams"]

MIN_RATES = 3  # rates that a formula takes; until there are as many, steps are of rk4
MAX_ORDER = 12


@dataclass(frozen=True)
class FixedAdams:
    """Adams-Bashforth, or that as predictor of Adams-Moulton, with steps of one size.

    The first two steps are of rk4 (the 3/8 rule). Then the number of rates in use grows by one per
    step up to ``max_order - 1``, so that the explicit formula has order max_order - 1 at most and
    the implicit one max_order. The first formula takes three rates, and that one step bounds the
    order of a whole solve, ``order``: to 4 for the explicit method, to 5 for the implicit one.
    Inside the first two steps the interpolant is the cubic of Hermite, whose error is O(dt^4).

    High orders are for small steps: on y' = -lambda y the explicit formulas are stable for dt
    lambda below 0.3 at order 4 and 0.0034 at order 11.

    Args:
        corrects: Adams-Moulton.
        max_order: 1 to 12; below 4 every step is one of rk4.
        max_iters: highest number of functional iterations per step.
        rtol, atol: the iteration ends when every entry of y1 - y0 changes by less than atol + rtol
            |y1 - y0|; rtol is 8 units of rounding at least.

    Raises:
        ValueError: for max_order or max_iters out of range.
    """

    corrects: bool
    max_order: int = MAX_ORDER
    max_iters: int = 4
    rtol: float = 1e-7
    atol: float = 1e-9

    adaptive = False
    one_step = False
    implicit = False  # no Newton iteration
    variable = False

    def __post_init__(self) -> None:
        if not (1 <= self.max_order <= MAX_ORDER and int(self.max_order) == self.max_order):
            raise ValueError(
                f"max_order is {self.max_order!r}, must be an integer from 1 to {MAX_ORDER}"
            )
        if not (self.max_iters >= 1 and int(self.max_iters) == self.max_iters):
            raise ValueError(f"max_iters is {self.max_iters!r}, must be a positive integer")
        if self.max_order <= MIN_RATES:
            warnings.warn(
                f"max_order is {self.max_order}, below {MIN_RATES + 1}: {self.name} takes steps of "
                "rk4 only",
                stacklevel=2,
            )

    @property
    def name(self) -> str:
        return "implicit_adams" if self.corrects else "explicit_adams"

    @property
    def order(self) -> int:
        """Order of a whole solve."""
        if self.max_order <= MIN_RATES:
            return 4
        return min(self.max_order, 5) if self.corrects else min(self.max_order - 1, 4)

    @property
    def exponent(self) -> int:
        """As for the other methods without an estimate: the order."""
        return self.order

    def start(
        self, f: Rates, layout: Layout, norm: ErrorNorm, graph: bool, judged: bool = True
    ) -> Stepper:
        """Return the stepper of one solve."""
        return FixedAdamsStepper(self, f, layout, graph)


class FixedAdamsStepper:
    """One solve: the rates of earlier steps."""

    step: tuple[float, float, Tensor, Tensor]  # the last attempt

    def __init__(self, method: FixedAdams, f: Rates, layout: Layout, graph: bool) -> None:
        self.method, self.f, self.layout = method, f, layout
        self.length = max(1, int(method.max_order) - 1)
        self.history = rate_history(layout, self.length, graph)
        self.restart()

    def restart(self) -> None:
        """Start again with rk4: the history is that of another solution."""
        self.history.clear()
        self.used = 0  # rates in the formula of the last step; 0 for one of rk4
        self.evaluated = False  # the newest rate of the history is that of the next step's start
        self.end_rate = False  # the rate ahead is f(t1, y1)

    def first_rate(self, t: float, y: Tensor) -> Tensor:
        """f(t, y), shape (width,), without graph."""
        self._evaluate_start(t, y)
        return self.history.newest(1)[0].detach()

    def attempt(self, t0: float, t1: float, y: Tensor) -> Attempt:
        """One step.

        Raises:
            StepFailed: where the equation of the implicit formula is not solved in max_iters
            iterations.
        """
        self._evaluate_start(t0, y)
        n = len(self.history.times)
        self.used, self.end_rate = (n if n >= MIN_RATES else 0), False
        y1 = self._formula(t0, t1, y) if self.used else self._runge_kutta(t0, t1, y)
        self.step = t0, t1, y, y1
        return Attempt(y1, None)

    def accept(self) -> None:
        """f(t1, y1) is evaluated by whoever needs it first."""
        self.evaluated = False

    def interpolant(self) -> Interpolant:
        """The integrated polynomial; in a step of rk4 the cubic of Hermite."""
        t0, t1, y0, y1 = self.step
        if not self.used:
            self._evaluate_end()
            end, start = self.history.frozen(1)
            return Hermite(t0, t1, y0, y1, start, end)
        nodes = scaled_times(self.history.times, t0, t1, self.used)
        rates = self.history.frozen(self.used)  # after that of the iterate before y1
        if not self.method.corrects:
            return HistoryPolynomial(t0, t1, y0, rates[1:], nodes)
        return HistoryPolynomial(t0, t1, y0, rates, (1.0, *nodes))

    def diagnose(self) -> Diagnosis:
        return rates_diagnosed(self.history.newest(len(self.history.times)))

    def _evaluate_start(self, t: float, y: Tensor) -> None:
        """Make f(t, y) the newest rate of the history."""
        if not self.evaluated:
            if not self.end_rate:
                self.history.put_ahead(self.f(0, t, y))
            self.history.advance(t)
            self.evaluated, self.end_rate = True, False

    def _evaluate_end(self) -> None:
        """Make f(t1, y1) the rate ahead, which the next step takes over."""
        if not self.end_rate:
            _, t1, _, y1 = self.step
            self.history.put_ahead(self.f(0, t1, y1))
            self.end_rate = True

    def _runge_kutta(self, t0: float, t1: float, y: Tensor) -> Tensor:
        """The 3/8 rule (Hairer, Norsett, Wanner, II.1, table 1.2)."""
        dt, k0 = t1 - t0, self.history.newest(1)[0]
        k1 = self._rate(1, t0 + dt / 3, torch.add(y, k0, alpha=dt / 3))
        k2 = self._rate(2, t0 + 2 * dt / 3, y + dt * (k1 - k0 / 3))
        k3 = self._rate(3, t1, y + dt * (k0 - k1 + k2))
        return torch.add(y, k0 + 3 * (k1 + k2) + k3, alpha=dt / 8)

    def _rate(self, stage: int, t: float, y: Tensor) -> Tensor:
        """f(t, y) in a tensor that f does not write to again."""
        return self.layout.flatten(self.f(stage, t, y)).clone()

    def _formula(self, t0: float, t1: float, y: Tensor) -> Tensor:
        """Bashforth's step; Moulton's by functional iteration from there."""
        dt, k = t1 - t0, self.used
        weights = adams_weights(scaled_times(self.history.times, t0, t1, k), k)
        predict, extrapolate = weights.rows[0], weights.rows[1]
        rates = self.history.newest(k).T
        if not self.method.corrects:
            return torch.addmv(y, rates, self._vector(predict), alpha=dt)
        g = weights.corrector
        fixed = [p - g * e for p, e in zip(predict, extrapolate, strict=True)]
        change = torch.mv(rates, self._vector(predict)) * dt
        return self._correct(t1, y, change, torch.mv(rates, self._vector(fixed)) * dt, dt * g)

    def _correct(self, t1: float, y: Tensor, change: Tensor, fixed: Tensor, scale: float) -> Tensor:
        """Iterate y1 - y = fixed + scale f(t1, y1) from the predicted change."""
        method = self.method
        for _ in range(int(method.max_iters)):
            before, rate = change, self.history.put_ahead(self.f(1, t1, y + change))
            change = torch.add(fixed, rate, alpha=scale)
            if self._settled(before.detach(), change.detach()):
                return y + change
        if not bool(values_of(torch.isfinite(change).all())):
            return y + change  # the end of the solve tells
        raise StepFailed(
            f"the corrector has not converged in {method.max_iters} iterations: take a smaller "
            "step_size, or an implicit Runge-Kutta method such as radau_iia3"
        )

    def _settled(self, before: Tensor, after: Tensor) -> bool:
        """Whether the iteration moves no entry by its tolerance."""
        rtol = max(self.method.rtol, 8 * torch.finfo(after.dtype).eps)
        allowed = self.method.atol + rtol * torch.maximum(before.abs(), after.abs())
        return bool(values_of(((after - before).abs() < allowed).all()))  # synchronises

    def _vector(self, weights: list[float] | tuple[float, ...]) -> Tensor:
        vector = torch.tensor(weights, dtype=self.layout.dtype)
        return vector.to(self.layout.device, non_blocking=True)
