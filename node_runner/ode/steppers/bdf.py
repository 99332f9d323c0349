"""Backward differentiation formulas (BDF) with variable coefficients, for stiff problems."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import frexp, isfinite, ldexp
from typing import ClassVar, Literal, NamedTuple

import torch
from torch import Tensor

from ..error_norm import ErrorNorm
from ..state import Layout
from ..stepper import Attempt, Diagnosis, Rates, rates_diagnosed
from .newton import Newton

MAX_ORDER = 5  # the formula of order 6 is unstable in a part of the left half-plane
# Errors count six times in the choice of a step, as in CVODE (Hindmarsh et al., ACM TOMS 31, 2005):
# a step that is a little short costs less than one that is rejected.
BIAS = 6.0
LEAST_GROWTH = 1.2  # a smaller gain is not worth a new Newton matrix
MAX_GROWTH = 10.0
PATIENCE = 2  # attempts from one point before the order is lowered
MAX_AGE, MAX_CHANGE = 50, 2.0  # steps that a Jacobian serves, and change of c meanwhile
# Newton's contraction that the next step may count on. With less, errors of the iteration show in
# the high differences, and Robertson's problem takes a quarter more steps.
LEAST_ETA = 0.03
CLOSE = 100.0  # steps are at most this many times the distance of the points they start from
SAME = 1e-12  # a relative change of c that is rounding of the times


@dataclass(frozen=True)
class BDF:
    """BDF of variable order and step size, the formula of the step's true times.

    With C the polynomial of degree k through (t1, y1) and the k last points (t0, y0), (t_-1, y_-1),
    ..., the step of order k solves

        C'(t1) = f(t1, y1),    that is    y1 = psi + c f(t1, y1),  1 / c = sum_j 1 / (t1 - t_-j),

    for j = 0 ... k - 1 (Hairer, Norsett, Wanner, Solving ODEs I, III.5). The points are
    kept as divided differences, from which a polynomial P of degree k predicts y1. The local error
    is

        c prod_j (t1 - t_-j) y[t1, t0, ..., t_-k] = (y1 - P(t1)) c / (t1 - t_-k)

    to leading order, and those at orders k - 1 and k + 1 come from the differences one lower and
    one higher. After k + 1 steps at one order, the order with the largest next step is taken
    (Shampine, Reichelt, The MATLAB ODE suite, SISC 18, 1997, section 2; their formulas are those of
    equal steps, with a further term).

    A first step and one after a restart are of order 1; its predictor uses f(t0, y0).

    Args:
        order: The highest to take, 1 to 5.
        jacobian: "rows" where every entry of the state has the batch first and no row sees
            another; "full" for any f.
        iterations: Newton iterations of a step, at most.

    Raises:
        ValueError: for an order out of range.

    >>> import torch
    >>> from node_runner.ode.state import Layout
    >>> from node_runner.ode.error_norm import ErrorNorm
    >>> y = torch.ones(1, dtype=torch.float64)
    >>> layout = Layout(y)
    >>> norm = ErrorNorm(layout, 1e-6, 1e-6, [1.0])
    >>> stepper = BDF().start(lambda stage, t, y: [-y], layout, norm, graph=False)
    >>> stepper.attempt(0.0, 0.25, y).y1
    tensor([0.8000], dtype=torch.float64)
    """

    order: int = MAX_ORDER
    jacobian: Literal["rows", "full"] = "rows"
    iterations: int = 4
    adaptive: ClassVar[bool] = True
    one_step: ClassVar[bool] = False
    implicit: ClassVar[bool] = True
    variable: ClassVar[bool] = True
    exponent: ClassVar[int] = 2  # of the first step

    def __post_init__(self) -> None:
        if self.order not in range(1, MAX_ORDER + 1):
            raise ValueError(f"order is {self.order!r}, must be an integer from 1 to {MAX_ORDER}")

    def start(
        self, f: Rates, layout: Layout, norm: ErrorNorm, graph: bool, judged: bool = True
    ) -> BDFStepper:
        """A solve by this method; its arguments are those of ``Method.start``."""
        newton = Newton(f, layout, norm, self.jacobian, self.iterations)
        return BDFStepper(f, layout, norm, newton, self.order, graph)


Point = tuple[float, Tensor]


class Basis(NamedTuple):
    """Newton's basis at a time t, with x_j = (t - node_j) / unit.

    Attributes:
        factors: x_0, x_1, ...
        values: 1, x_0, x_0 x_1, ...
        slopes: their derivatives in t / unit.
    """

    factors: list[float]
    values: list[float]
    slopes: list[float]


class Differences(NamedTuple):
    """A polynomial in Newton's form, sum_m terms_m prod_{j<m} (t - node_j) / unit.

    Attributes:
        nodes: times, the newest first; two that are equal stand for a point and its rate.
        terms: unit^m y[node_0, ..., node_m], each of shape (width,).
        unit: of time, a power of two, so that changing it rounds nothing; near the step size, so
            that no term leaves the range of float32.
    """

    nodes: list[float]
    terms: list[Tensor]
    unit: float

    @staticmethod
    def through(points: Sequence[Point], unit: float) -> Differences:
        """Those of points at distinct times."""
        nodes, column = [t for t, _ in points], [y for _, y in points]
        terms = column[:1]
        for m in range(1, len(points)):
            gaps = [(a - b) / unit for a, b in zip(nodes, nodes[m:], strict=False)]
            column = [(a - b) / gap for (a, b), gap in zip(pairwise(column), gaps, strict=True)]
            terms.append(column[0])
        return Differences(nodes, terms, unit)

    def basis(self, t: float, degree: int) -> Basis:
        """Newton's basis at t, of that degree."""
        factors = [(t - node) / self.unit for node in self.nodes[:degree]]
        values, slopes = [1.0], [0.0]
        for x in factors:
            slopes.append(slopes[-1] * x + values[-1])
            values.append(values[-1] * x)
        return Basis(factors, values, slopes)

    def in_unit_of(self, dt: float) -> Differences:
        """The same polynomial in a unit within a factor of 4 of dt."""
        unit = unit_of(dt)
        ratio = unit / self.unit
        if 0.25 <= ratio <= 4:
            return self
        terms = [self.terms[0], *(v * ratio**m for m, v in enumerate(self.terms[1:], start=1))]
        return Differences(self.nodes, terms, unit)

    def extended(self, t: float, y: Tensor, excess: Tensor, basis: Basis) -> Differences:
        """The differences with the point (t, y) before the others, up to two orders above k.

        The highest comes from ``excess``, y less the polynomial of degree k at t, and the others
        from it downwards: differences of y itself would lose its digits to cancellation.
        """
        k = len(basis.factors) - 1
        raised = [excess / basis.values[k + 1]]
        for m in range(k, 0, -1):
            raised.append(torch.add(self.terms[m], raised[-1], alpha=basis.factors[m]))
        terms = [y, *reversed(raised)]
        if k + 1 < len(self.terms):
            beyond = (t - self.nodes[k + 1]) / self.unit
            terms.append((terms[k + 1] - self.terms[k + 1]) / beyond)
        return Differences([t, *self.nodes][: len(terms)], terms, self.unit)


@dataclass(frozen=True)
class PolynomialInterpolant:
    """The polynomial C through the points of a step's formula, of the step's order."""

    differences: Differences

    def frozen(self) -> PolynomialInterpolant:
        """Itself: nothing here is written to."""
        return self

    def at(self, times: list[float]) -> Tensor:
        """The solution at times in the step, shape (len(times), width)."""
        nodes, terms, unit = self.differences
        rows = [[(t - node) / unit for node in nodes] for t in times]
        return self.sum(torch.tensor(rows, dtype=terms[0].dtype, device=terms[0].device))

    def at_tensor(self, t: Tensor) -> Tensor:
        """The same at t, shape (T,), differentiable in t too."""
        nodes, terms, unit = self.differences
        # In float64: a float32 time less a node has lost its digits.
        columns = [(t.double() - node) / unit for node in nodes]
        return self.sum(torch.stack(columns, 1).to(terms[0].dtype))

    def sum(self, factors: Tensor) -> Tensor:
        """sum_m terms_m prod_{j<m} x_j for each row of factors, (T, k), by Horner's rule."""
        terms = self.differences.terms
        total = terms[-1]
        for m in range(len(terms) - 2, -1, -1):
            total = torch.addcmul(terms[m], total, factors[:, m, None])
        return total

    @torch.no_grad()
    def slope(self, t: float) -> Tensor:
        """Its derivative at t, shape (width,), without graph."""
        _, terms, unit = self.differences
        return combine(terms, self.differences.basis(t, len(terms) - 1).slopes) / unit


class Formula:
    """Coefficients of the step of order k from the differences at t0 to t1.

    Attributes:
        k: order.
        basis: at t1, one degree above k.
        lags: c / unit at orders 1 to k + 1, after a 0.
        psi: weights of the first k terms in P - c P', where that of the next is zero.
    """

    def __init__(self, differences: Differences, t1: float, k: int) -> None:
        self.k, self.basis = k, differences.basis(t1, k + 1)
        pairs = list(zip(self.basis.values, self.basis.slopes, strict=True))
        self.lags = [value / slope if slope else 0.0 for value, slope in pairs]
        self.psi = [value - self.lags[k] * slope for value, slope in pairs[:k]]

    def error(self, m: int) -> float:
        """Factor of unit^(m+1) y[t1, ..., t_-m] in the local error at order m: c prod_{j<m} x_j
        over unit.
        """
        return self.lags[m] * self.basis.values[m]

    def exponent(self) -> int:
        """Of dt in the error of a step from the same points: k + 1 were they to move with it, but
        about 2 to 3, since those before t0 stay. d log error / d log dt, rounded.
        """
        inverse = [1 / x for x in self.basis.factors[: self.k]]
        total = sum(inverse)
        return round(self.basis.factors[0] * (total + sum(x * x for x in inverse) / total))


class Tried(NamedTuple):
    """The last attempt: its formula, and the differences at t0 and at t1."""

    formula: Formula
    before: Differences
    after: Differences


class BDFStepper:
    """One solve by BDF.

    Attributes:
        order: Of the next step.
        exponent: Of dt in the error estimate of the last attempt, the points before it held: what
            the size after a rejection follows from.
        growth: The size of the next step over that of the last, set by ``accept``. It is held at 1
            until there is a reason, since the error estimates and Newton's matrix are best for
            equal steps; below 1 where the error comes near its tolerance.
    """

    tried: Tried  # the last attempt

    def __init__(
        self, f: Rates, layout: Layout, norm: ErrorNorm, newton: Newton, max_order: int, graph: bool
    ) -> None:
        self.f, self.layout, self.norm, self.newton = f, layout, norm, newton
        self.max_order, self.graph = max_order, graph
        self.exponent = 2
        self.growth: float | None = None
        self.scale: Tensor | None = None  # (1, 1), of Newton's equation, which is c
        self.c = self.jacobian_c = 1.0  # the last c, and that with the last Jacobian
        self.age, self.evaluated = 0, 0  # steps with this Jacobian, and how many there were
        self.restart()

    def restart(self) -> None:
        """Forget the points before; the next step is of order 1."""
        self.rate: Tensor | None = None
        self.differences: Differences | None = None
        self.past: list[Point] = []  # accepted, the newest first
        self.newton.stale = True
        self.order = 1
        self.steps = 0  # in a row, at this order and not after a rejection
        self.attempts = 0  # from one point

    @torch.no_grad()
    def first_rate(self, t: float, y: Tensor) -> Tensor:
        """f(t, y), shape (width,), without graph."""
        # A copy: f may write to the tensor that it returned.
        self.rate = self.layout.flatten(self.f(0, t, y)).clone()
        return self.rate

    def attempt(self, t0: float, t1: float, y: Tensor) -> Attempt:
        """A step from (t0, y) to t1.

        Raises:
            StepFailed: where Newton's iteration finds no solution.
        """
        self.count()
        with torch.set_grad_enabled(self.graph):
            before = self.points(t0, t1, y)
            formula = Formula(before, t1, self.order)
            k, self.exponent = formula.k, formula.exponent()
            predicted = combine(before.terms[: k + 1], formula.basis.values)
            psi = combine(before.terms[:k], formula.psi)
            y1 = self.solve(t1, psi, formula.lags[k] * before.unit, predicted)
            after = before.extended(t1, y1, y1 - predicted, formula.basis)
        self.tried = Tried(formula, before, after)
        return Attempt(y1, after.terms[k + 1].detach() * (formula.error(k) / abs(t1 - t0)))

    def diagnose(self) -> Diagnosis:
        if self.rate is not None and not hasattr(self, "tried"):
            return rates_diagnosed(self.rate)
        return Diagnosis()

    def count(self) -> None:
        """Count an attempt, and lower the order after two from one point: points that are far apart
        say nothing of a solution that turns sharply.
        """
        if self.attempts:
            self.steps = 0
        if self.attempts >= PATIENCE:
            self.order = max(1, self.order - 1)
        self.attempts += 1

    def points(self, t0: float, t1: float, y: Tensor) -> Differences:
        """The differences at t0; at a start those of the point and its rate.

        That rate needs no graph: a formula of order k uses k points, and there are as many.
        """
        if not self.past:
            self.past = [(t0, y)]
        elif len(self.past) > 1 and abs(t1 - t0) > CLOSE * abs(t0 - self.past[1][0]):
            self.thin(t1 - t0)
        if self.differences is None:
            rate = self.first_rate(t0, y) if self.rate is None else self.rate
            self.differences = Differences([t0, t0], [y, rate], 1.0)
        self.differences = self.differences.in_unit_of(t1 - t0)
        return self.differences

    def thin(self, dt: float) -> None:
        """Drop points that are too close for a step of dt, as after one that was clipped to a
        sliver: their rounding is all that their differences would tell so far ahead.
        """
        points = self.past[:1]
        for point in self.past[1:]:
            if CLOSE * abs(point[0] - points[-1][0]) >= abs(dt):
                points.append(point)
        self.past, self.steps = points, 0
        self.order = min(self.order, max(1, len(points) - 1))
        several = len(points) > 1
        self.differences = Differences.through(points, unit_of(dt)) if several else None

    def solve(self, t1: float, psi: Tensor, c: float, guess: Tensor) -> Tensor:
        """y1 = psi + c f(t1, y1), shape (width,)."""
        n = self.layout.state_size
        base, scale = psi[None, :n], self.prepare(c, psi)
        z = self.newton.solve([t1], base.detach(), scale, guess[None, :n].detach())
        z = self.newton.attached([t1], base, scale, z)
        if n == self.layout.width:
            return z[0]
        # The last f of the iteration is at the iterate before its solution.
        rates = self.layout.flatten(self.f(1, t1, z[0]))
        return torch.cat([z[0], torch.add(psi[n:], rates[n:], alpha=self.c)])

    def prepare(self, c: float, like: Tensor) -> Tensor:
        """The scale of Newton's equation, shape (1, 1), the last one where c has not changed.

        A Jacobian from before a long growth of steps, from the fast phase of a relaxation
        oscillation say, can be so far off that corrections are small and pass for converged.
        """
        newton = self.newton
        if newton.evaluated != self.evaluated:
            self.age, self.evaluated, self.jacobian_c = 0, newton.evaluated, self.c
        if self.scale is None or abs(c - self.c) > SAME * abs(c):
            self.c, self.scale = c, torch.full((1, 1), c, dtype=like.dtype, device=like.device)
        self.age += 1
        if self.age > MAX_AGE or not 1 / MAX_CHANGE <= c / self.jacobian_c <= MAX_CHANGE:
            newton.stale, newton.eta = True, 1.0
        newton.eta = max(newton.eta, LEAST_ETA)
        return self.scale

    def accept(self) -> None:
        """The last attempt stands; choose order and growth of the next step."""
        after = self.differences = self.tried.after
        self.past = [(after.nodes[0], after.terms[0]), *self.past][: MAX_ORDER + 1]
        self.rate, self.attempts = None, 0
        self.steps += 1
        factors = self.factors()
        if self.steps > self.order:
            self.choose(factors)
        else:
            self.growth = min(1.0, factors[self.order])

    def choose(self, factors: dict[int, float]) -> None:
        """Take the order with the largest next step, where that is worth a change."""
        best = max(factors, key=factors.__getitem__)
        if 1 <= factors[best] < LEAST_GROWTH:
            self.growth = 1.0
        else:
            self.order, self.steps, self.growth = best, 0, min(factors[best], MAX_GROWTH)

    @torch.no_grad()
    def factors(self) -> dict[int, float]:
        """The next step size over the last one, at each order that could be next."""
        formula, before, after = self.tried
        most = min(self.max_order, formula.k + 1, len(after.terms) - 2)
        orders = range(max(1, formula.k - 1), most + 1)
        allowed = self.norm.scale(before.terms[0], after.terms[0])
        errors = [after.terms[m + 1] * formula.error(m) / allowed for m in orders]
        ratios = self.norm.error_ratios(*errors)  # synchronises
        return {
            m: (BIAS * max(ratio, 1e-10)) ** (-1 / (m + 1)) if isfinite(ratio) else 0.0
            for m, ratio in zip(orders, ratios, strict=True)
        }

    def interpolant(self) -> PolynomialInterpolant:
        """Of the step just accepted."""
        nodes, terms, unit = self.tried.after
        k = self.tried.formula.k
        return PolynomialInterpolant(Differences(nodes[:k], terms[: k + 1], unit))


def unit_of(dt: float) -> float:
    """The power of two above |dt|."""
    return ldexp(1.0, frexp(dt)[1])


def combine(terms: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
    """sum_m weights_m terms_m over the terms there are."""
    total = terms[0] * weights[0]
    for term, weight in zip(terms[1:], weights[1:], strict=False):
        total = torch.add(total, term, alpha=weight)
    return total
