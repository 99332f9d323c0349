"""Adams method of variable order and step size (Shampine and Gordon, 1975).

A step from t0 to t1 = t0 + dt integrates polynomials through rates of earlier steps. With the times
of those rates counted in steps, x_i = (t_i - t0) / dt with x_0 = 0, and in Newton's form

    P_k(s) = sum_{j<k} phi_j N_j(s) / N_j(1),    N_j(s) = prod_{i<j} (s - x_i),
    g_j = int_0^1 N_j(s) / N_j(1) ds,            phi_j = N_j(1) f[x_0, ..., x_j],

a step of order k predicts, evaluates, corrects and evaluates (PECE):

    p  = y0 + dt sum_{j<k} g_j phi_j                 (Adams-Bashforth, k rates)
    d  = f(t1, p) - P_k(1)
    y1 = p + dt g_k d                                (Adams-Moulton, order k + 1)

Its second evaluation, f(t1, y1), is the first of the next step. The step is judged by the error of
the result of order k, dt (g_k - g_{k-1}) d, although the result of order k + 1 is propagated.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate, islice
from math import factorial, prod
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from ..error_norm import ErrorNorm
from ..state import Layout
from ..step import UnaliasedRates
from ..stepper import Attempt, Diagnosis, Interpolant, Rates, Stepper, rates_diagnosed

__all__ = ["Adams", "HistoryPolynomial", "adams_weights", "rate_history", "scaled_times"]

MAX_ORDER = 12
AIM = 0.2  # error ratio that a step aims at; 0.5 costs 7 % less and errs three times as much
GRID = 64.0  # denominators of times that step doubling and halving produce
SPARE_ROWS = 8  # rows of the buffer beyond the history; when they are used up, it is moved back

Nodes = tuple[float, ...]
Row = tuple[float, ...]


@dataclass(frozen=True)
class Adams:
    """Adams predictor-corrector of order 1 to 12, variable order and step size, in PECE mode.

    Two evaluations per step, whatever the order. Coefficients are those of the times of the steps
    taken; order and step size are chosen as in Shampine and Gordon, Computer Solution of Ordinary
    Differential Equations (1975), chapters 5 to 7 (DE/STEP). A solve starts with order 1 and, while
    the estimates permit, raises the order and doubles the step each time.

    Args:
        order: highest order of the predictor, 1 to 12; the corrector is one order higher.

    Raises:
        ValueError: if the order is not an integer from 1 to 12.
    """

    order: int = MAX_ORDER

    adaptive = True
    one_step = False
    implicit = False
    variable = True
    exponent = 2  # of the first step, which has order 1

    def __post_init__(self) -> None:
        if not (1 <= self.order <= MAX_ORDER and int(self.order) == self.order):
            raise ValueError(f"order is {self.order!r}, must be an integer from 1 to {MAX_ORDER}")

    def start(
        self, f: Rates, layout: Layout, norm: ErrorNorm, graph: bool, judged: bool = True
    ) -> Stepper:
        """Return the stepper of one solve."""
        return AdamsStepper(self, f, layout, norm, graph)


class _Trial(NamedTuple):
    """The last attempt."""

    t0: float
    t1: float
    y0: Tensor
    y1: Tensor
    nodes: Nodes
    weights: AdamsWeights
    matrix: Tensor  # of the weights, shape (rows, n)
    rates: Tensor  # of the history, shape (n, width), without graph
    predicted: Tensor  # f(t1, p), shape (width,)
    defect: Tensor  # d, shape (width,), without graph


class AdamsStepper:
    """One solve: the rates of earlier steps, and the order.

    Attributes:
        order: of the predictor in the next step.
        exponent: of dt in the error estimate of the last attempt.
        growth: factor for the next step, chosen with its order.
        trial: the last attempt.
    """

    trial: _Trial

    def __init__(
        self, method: Adams, f: Rates, layout: Layout, norm: ErrorNorm, graph: bool
    ) -> None:
        self.f, self.layout, self.norm, self.max_order = f, layout, norm, int(method.order)
        self.history = rate_history(layout, self.max_order, graph)
        self.matrices: dict[tuple[Nodes, int], Tensor] = {}
        self.restart()

    def restart(self) -> None:
        """Start again at order 1: the history is that of another solution."""
        self.history.clear()
        self.order, self.exponent = 1, 2
        self.growth: float | None = None
        self.starting, self.failures = True, 0
        self.judged = True  # the last attempt has been accepted, or there is none
        self.evaluated = False  # the newest rate of the history is that of the next step's start

    def first_rate(self, t: float, y: Tensor) -> Tensor:
        """f(t, y), shape (width,), without graph."""
        self._evaluate_start(t, y)
        return self.history.newest(1)[0].detach()

    def attempt(self, t0: float, t1: float, y: Tensor) -> Attempt:
        """One PECE step up to its corrector."""
        if not self.judged:
            self._lower_after_rejection()
        self._evaluate_start(t0, y)
        dt, k = t1 - t0, self.order
        nodes = scaled_times(self.history.times, t0, t1, k + 1)
        weights, matrix = adams_weights(nodes, k), self._on_device(nodes, k)
        rates = self.history.newest(len(nodes))
        predictor = torch.addmv(y, rates.T, matrix[0], alpha=dt)
        predicted = self.history.put_ahead(self.f(1, t1, predictor))
        defect = torch.addmv(predicted, rates.T, matrix[1], alpha=-1)
        y1 = torch.add(predictor, defect, alpha=dt * weights.corrector)
        outcome = (rates.detach(), predicted.detach(), defect.detach())
        self.trial = _Trial(t0, t1, y, y1, nodes, weights, matrix, *outcome)
        self.judged, self.exponent = False, k + 1
        return Attempt(y1, self.trial.defect * weights.error)

    def accept(self) -> None:
        """Choose the next order and step size; f(t1, y1) is evaluated by whoever needs it first."""
        errors = self._error_ratios()
        self.growth = self._choose(errors)
        self.judged, self.evaluated, self.failures = True, False, 0

    def interpolant(self) -> Interpolant:
        """The corrector's polynomial: its rates are f(t1, p) and those of the history."""
        trial, k = self.trial, self.exponent - 1
        return HistoryPolynomial(
            trial.t0, trial.t1, trial.y0, self.history.frozen(k), (1.0, *trial.nodes[:k])
        )

    def diagnose(self) -> Diagnosis:
        found = [self.history.newest(len(self.history.times))]
        if not self.judged:
            found.append(self.trial.predicted[None])
        return rates_diagnosed(torch.cat(found))

    def _evaluate_start(self, t: float, y: Tensor) -> None:
        """Make f(t, y) the newest rate of the history."""
        if not self.evaluated:
            self.history.put_ahead(self.f(0, t, y))
            self.history.advance(t)
            self.evaluated = True

    def _on_device(self, nodes: Nodes, order: int) -> Tensor:
        """The rows of ``adams_weights`` as a matrix."""
        matrix = self.matrices.get((nodes, order))
        if matrix is None:
            if len(self.matrices) >= 64:
                self.matrices.clear()
            matrix = torch.tensor(adams_weights(nodes, order).rows, dtype=self.layout.dtype)
            matrix = matrix.to(self.layout.device, non_blocking=True)
            self.matrices[nodes, order] = matrix
        return matrix

    @torch.no_grad()
    def _error_ratios(self) -> dict[int, float]:
        """Error ratios of the last attempt at the orders that have an estimate, by order.

        Those of order k, k - 2, k - 1 and, where the last k + 1 steps are of one size, k + 1, each
        as if all steps had been of this size.
        """
        trial = self.trial
        allowed = self.norm.scale(trial.y0, trial.y1)
        scaled = [trial.defect / allowed]
        if len(trial.matrix) > 2:
            scaled += _defects(trial).div_(allowed).unbind()
        ratios = self.norm.error_ratios(*scaled)  # synchronises
        size, factors = abs(trial.t1 - trial.t0), trial.weights.estimates
        return {j: size * factors[j] * r for j, r in zip(factors, ratios, strict=True)}

    def _choose(self, errors: dict[int, float]) -> float:
        """Set the order of the next step and return the factor for its size."""
        k = self.order
        lower = _favours_lower(errors, k)
        if lower or k == self.max_order:
            self.starting = False
        if self.starting:
            self.order = k + 1
            return 2.0
        self.order = k - 1 if lower else _compare_higher(errors, k, self.max_order)
        return _growth(errors[self.order], self.order)

    def _lower_after_rejection(self) -> None:
        """Lower the order where its estimate is smaller; from the third failure on it is 1."""
        self.judged, self.starting, self.failures = True, False, self.failures + 1
        if self.failures >= 3:
            self.order = 1
        elif _favours_lower(self._error_ratios(), self.order):
            self.order -= 1


def _defects(trial: _Trial) -> Tensor:
    """f(t1, p) - P_j(1) for the orders other than k, shape (orders, width)."""
    matrix, rates, predicted = trial.matrix[2:], trial.rates, trial.predicted
    if rates.dtype == torch.float64 or torch.get_float32_matmul_precision() == "highest":
        return torch.addmm(predicted, matrix, rates, alpha=-1)
    # A product of matrices may round to TF32 or bfloat16, which differences do not bear.
    return torch.stack([torch.addmv(predicted, rates.T, row, alpha=-1) for row in matrix])


def _favours_lower(errors: dict[int, float], k: int) -> bool:
    """Whether the terms of the Taylor series, (j + 1) e_j, do not fall up to order k."""
    if k == 1:
        return False
    if k == 2:
        return 2 * errors[1] <= 0.5 * 3 * errors[2]
    return max(k * errors[k - 1], (k - 1) * errors[k - 2]) <= (k + 1) * errors[k]


def _compare_higher(errors: dict[int, float], k: int, max_order: int) -> int:
    """Order k + 1 if its estimate is smaller, k - 1 if that is smaller still, else k."""
    if k + 1 not in errors or k == max_order:
        return k
    term, higher = (k + 1) * errors[k], (k + 2) * errors[k + 1]
    if k == 1:
        return 2 if higher < 0.5 * term else 1
    if k * errors[k - 1] <= min(term, higher):
        return k - 1
    return k + 1 if higher < term else k


def _growth(error: float, order: int) -> float:
    """2 where the error ratio permits, 0.5 to 0.9 where it must fall, else 1.

    Steps of one size need no new coefficients, and only those can raise the order.
    """
    if error * 2 ** (order + 1) <= AIM:
        return 2.0
    if error <= AIM:
        return 1.0
    return max(0.5, min(0.9, (AIM / error) ** (1 / (order + 1))))


class AdamsWeights(NamedTuple):
    """Coefficients of one step of order k.

    Attributes:
        rows: weights of the rates, newest first: of the predictor's increment over dt, and of
            P_j(1) for each j of ``estimates``.
        corrector: g_k.
        error: g_k - g_{k-1}.
        estimates: by order j, k first, the factor of |dt (f(t1, p) - P_j(1))| in its error
            estimate.
    """

    rows: tuple[Row, ...]
    corrector: float
    error: float
    estimates: dict[int, float]


@lru_cache(maxsize=1024)
def adams_weights(nodes: Nodes, order: int) -> AdamsWeights:
    """Coefficients for rates at ``nodes`` (in steps from t0; the first is 0): ``order`` of them,
    or one more for the estimate of the next order.

    With a_i = 1 / (1 - x_i) and g_{0,q} = 1 / q, integration by parts gives g_{j+1,q} = g_{j,q} -
    a_j g_{j,q+1} and g_j = g_{j,1} (Shampine and Gordon, 5.3).
    """
    ratios = [1 / (1 - x) for x in nodes]
    g = _integrals(ratios[:order])
    differences = _newton_weights(nodes)
    sums = list(accumulate(differences, _add))  # sums[j - 1] are the weights of P_j(1)
    columns = zip(*differences[:order], strict=True)
    predictor = [sum(map(float.__mul__, g, column)) for column in columns]
    estimates = _estimate_factors(nodes, ratios, order)
    rows = [predictor, *(sums[j - 1] for j in estimates)]
    return AdamsWeights(tuple(map(tuple, rows)), g[order], g[order] - g[order - 1], estimates)


def _integrals(ratios: Sequence[float]) -> list[float]:
    """g_0, ..., g_k for the k values of a_i."""
    row = [1 / q for q in range(1, len(ratios) + 2)]
    g = [row[0]]
    for a in ratios:
        row = [here - a * after for here, after in zip(row, row[1:], strict=False)]
        g.append(row[0])
    return g


def _newton_weights(nodes: Nodes) -> list[list[float]]:
    """Weights of the rates in phi_j, one row for each j, shape (n, n)."""
    row, rows = [1.0], []
    for j, x in enumerate(nodes):
        if j:
            above = 1 - nodes[j - 1]
            row = [w * above / (other - x) for w, other in zip(row, nodes, strict=False)]
            row.append(prod((1 - other) / (x - other) for other in nodes[:j]))
        rows.append(row + [0.0] * (len(nodes) - 1 - j))
    return rows


def _add(a: list[float], b: list[float]) -> list[float]:
    return [x + y for x, y in zip(a, b, strict=True)]


def _estimate_factors(nodes: Nodes, ratios: Sequence[float], order: int) -> dict[int, float]:
    """sigma_{j+1} |gamma*_j| by order j, with sigma_{j+1} = j! a_0 ... a_{j-1}: what the modified
    differences would be, had all steps been of this size (Shampine and Gordon, 7.1).
    """
    constant = _constant_integrals()
    highest = order + 1 if _even(nodes, order + 1) else order
    orders = [order, *range(max(1, order - 2), order), *range(order + 1, highest + 1)]
    return {j: factorial(j) * prod(ratios[:j]) * (constant[j - 1] - constant[j]) for j in orders}


@lru_cache(maxsize=1)
def _constant_integrals() -> list[float]:
    """g_j of steps of one size."""
    return _integrals([1 / (1 + i) for i in range(MAX_ORDER + 1)])


def _even(nodes: Nodes, n: int) -> bool:
    """Whether there are n nodes, and at 0, -1, -2, ..."""
    return len(nodes) >= n and all(x == -i for i, x in enumerate(nodes[:n]))


def scaled_times(times: Sequence[float], t0: float, t1: float, n: int) -> Nodes:
    """(t - t0) / (t1 - t0) of the first n times, or of all if there are fewer.

    Those within rounding of a multiple of 1/64 become that, so that steps of one size, doubled and
    halved ones have coefficients that are computed once.
    """
    dt = t1 - t0
    scaled = [(t - t0) / dt for t in islice(times, n)]
    rounding = 2.0**-49 * max(abs(t0), abs(t1), abs(times[len(scaled) - 1])) / abs(dt)
    near = [round(x * GRID) / GRID for x in scaled]
    return tuple(
        [m if abs(x - m) <= rounding * (1 - x) else x for x, m in zip(scaled, near, strict=True)]
    )


class RateHistory(Protocol):
    """The latest rates and their times, newest first, and one rate ahead of them: f at the end of a
    step that is being tried.
    """

    times: deque[float]

    def put_ahead(self, rates: list[Tensor]) -> Tensor:
        """Set the rate ahead and return it, shape (width,)."""

    def advance(self, t: float) -> None:
        """The rate ahead becomes the newest, that of time t."""

    def newest(self, n: int) -> Tensor:
        """The newest n rates, shape (n, width), until the next ``advance``."""

    def frozen(self, n: int) -> Tensor:
        """The rate ahead and the newest n, shape (n + 1, width), which nothing changes later."""

    def clear(self) -> None:
        """Forget all."""


def rate_history(layout: Layout, length: int, graph: bool) -> RateHistory:
    """Return an empty history of ``length`` rates at most, with or without their graph."""
    return _GraphHistory(layout, length) if graph else _BufferHistory(layout, length)


class _GraphHistory:
    """Rates with their graph, as a list."""

    def __init__(self, layout: Layout, length: int) -> None:
        self.layout, self.own = layout, UnaliasedRates()
        self.rates: deque[Tensor] = deque(maxlen=length)
        self.times: deque[float] = deque(maxlen=length)
        self.ahead = torch.empty(0)

    def put_ahead(self, rates: list[Tensor]) -> Tensor:
        self.ahead = self.own(self.layout.flatten(rates))
        return self.ahead

    def advance(self, t: float) -> None:
        self.rates.appendleft(self.ahead)
        self.times.appendleft(t)

    def newest(self, n: int) -> Tensor:
        return torch.stack([*self.rates][:n])

    def frozen(self, n: int) -> Tensor:
        return torch.stack([self.ahead, *self.rates][: n + 1])

    def clear(self) -> None:
        self.rates.clear()
        self.times.clear()


class _BufferHistory:
    """Rates without graph, as consecutive rows of one matrix: a sum is one matrix-vector product.

    A new rate goes in the row above the newest; at the top the history moves down.
    """

    def __init__(self, layout: Layout, length: int) -> None:
        rows = length + SPARE_ROWS
        self.k = torch.zeros(rows, layout.width, dtype=layout.dtype, device=layout.device)
        self.rows = self.k.unbind()
        self.shaped = [row.view(layout.shapes[0]) for row in self.rows] if layout.one_entry else []
        self.times: deque[float] = deque(maxlen=length)
        self.first = rows  # row of the newest

    def put_ahead(self, rates: list[Tensor]) -> Tensor:
        row = self.rows[self.first - 1]
        if self.shaped:
            self.shaped[self.first - 1].copy_(rates[0])
        else:
            torch.cat([rate.reshape(-1) for rate in rates], out=row)
        return row

    def advance(self, t: float) -> None:
        self.first -= 1
        self.times.appendleft(t)
        if self.first == 0:
            n = len(self.times)
            self.k[-n:] = self.k[:n].clone()
            self.first = len(self.rows) - n

    def newest(self, n: int) -> Tensor:
        return self.k[self.first : self.first + n]

    def frozen(self, n: int) -> Tensor:
        return self.k[self.first - 1 : self.first + n].clone()

    def clear(self) -> None:
        self.times.clear()
        self.first = len(self.rows)


class HistoryPolynomial:
    """y0 + the integral of the polynomial through the rates,

        y(t0 + theta dt) = y0 + dt sum_i w_i(theta) f_i,   w_i(theta) = int_0^theta l_i(s) ds,

    with Lagrange's l_i for the nodes. A step of the same formula ends on it, so that it joins that
    of the next step continuously.

    Args:
        t0, t1: of the step.
        y0: shape (width,).
        rates: shape (n, width), with their graph if they have one.
        nodes: times of the rates, in steps from t0.
    """

    def __init__(self, t0: float, t1: float, y0: Tensor, rates: Tensor, nodes: Nodes) -> None:
        self.t0, self.dt, self.y0, self.rates, self.nodes = t0, t1 - t0, y0, rates, nodes

    def frozen(self) -> HistoryPolynomial:
        return self

    def at(self, times: list[float]) -> Tensor:
        theta = torch.tensor([(t - self.t0) / self.dt for t in times], dtype=torch.float64)
        return self._weighted(self._integral_weights(theta))

    def at_tensor(self, t: Tensor) -> Tensor:
        return self._weighted(self._integral_weights((t.double() - self.t0) / self.dt))

    def slope(self, t: float) -> Tensor:
        theta = (t - self.t0) / self.dt
        numbers = [_horner(row, theta) for row in lagrange_coefficients(self.nodes)]
        weights = torch.tensor(numbers, dtype=self.y0.dtype).to(self.y0.device)
        return torch.mv(self.rates.detach().T, weights)

    def _integral_weights(self, theta: Tensor) -> Tensor:
        """w_i(theta), shape (T, n), float64."""
        rows = [
            [c / (power + 1) for power, c in enumerate(row)]
            for row in lagrange_coefficients(self.nodes)
        ]
        powers = torch.arange(1, len(rows) + 1, device=theta.device)
        coefficients = torch.tensor(rows, dtype=torch.float64, device=theta.device)
        return (theta[:, None] ** powers) @ coefficients.T

    def _weighted(self, weights: Tensor) -> Tensor:
        """y0 + dt sum_i w_i f_i, shape (T, width)."""
        return torch.addmm(self.y0, weights.to(self.rates), self.rates, alpha=self.dt)


@lru_cache(maxsize=256)
def lagrange_coefficients(nodes: Nodes) -> tuple[Row, ...]:
    """Coefficients of 1, s, s^2, ... in Lagrange's polynomials of the nodes, one row for each."""
    return tuple(tuple(_lagrange(nodes, i)) for i in range(len(nodes)))


def _lagrange(nodes: Nodes, i: int) -> list[float]:
    product = [1.0]
    for j, x in enumerate(nodes):
        if j != i:
            gap = nodes[i] - x
            shifted, scaled = [0.0, *product], [*(-x * c for c in product), 0.0]
            product = [(a + b) / gap for a, b in zip(shifted, scaled, strict=True)]
    return product


def _horner(coefficients: Row, s: float) -> float:
    value = 0.0
    for c in reversed(coefficients):
        value = value * s + c
    return value
