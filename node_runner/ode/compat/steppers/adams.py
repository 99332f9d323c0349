"""Adams methods: one or a few evaluations a step, the rates of earlier steps reused.

A k-step formula integrates the polynomial through k known rates over the step,

    y1 - y0 = dt sum_i w_i f_i,    w_i = int_0^1 prod_{j != i} (s - x_j) / (x_i - x_j) ds,

where x_i = (t_i - t0) / dt are the times of those rates counted in steps (Hairer, Norsett, Wanner,
Solving ODEs I, III.1 and III.5). Bashforth's takes x = 0, -1, ...; Moulton's adds x = 1, the rate
at the end of the step.
"""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import cos, lcm, pi, prod

import torch
from torch import Tensor

from ... import methods
from ...transforms import values_of
from .explicit import Explicit
from .protocol import Field, Span, Time, increment, number

FEWEST = 3  # rates that a formula takes; before there are as many, and so at the start, rk4 steps
MOST = 12
START = Explicit("rk4", methods.get("rk38").tableau)


@dataclass(frozen=True)
class Adams:
    """Adams-Bashforth, or that as predictor of Adams-Moulton, started with rk4.

    The number of rates in use grows by one a step up to ``max_order - 1``, so that Bashforth's
    formula has order max_order - 1 at most and Moulton's max_order. The first formula takes three:
    whatever the final order, that one step bounds the order of a whole solve, to 4 for Bashforth's
    and to 5 for Moulton's.

    High orders are for small steps: on y' = -lambda y Bashforth's formulas are stable for dt lambda
    below 0.3 at order 4, 0.0034 at order 11.

    Where steps differ in size (outputs unevenly spaced, a last step that is shortened) the weights
    are those of the times the rates belong to. torchdiffeq takes the weights of equal steps there
    too, which leaves order 1.

    Args:
        name: of the method, for messages.
        implicit: correct by Moulton's formula.
        max_order: 1 to 12; below 4 every step is one of rk4.
        max_iters: functional iterations of Moulton's formula in a step, at most.
        rtol, atol: numbers or tensors that broadcast with the state; the iteration ends when
            every entry of y1 - y0 changes by less than atol + rtol |y1 - y0|.

    Raises:
        ValueError: for max_order or max_iters out of range.
    """

    name: str
    implicit: bool
    max_order: int = MOST
    max_iters: int = 4
    rtol: float | Tensor = 1e-7
    atol: float | Tensor = 1e-9

    def __post_init__(self) -> None:
        if not (1 <= self.max_order <= MOST and int(self.max_order) == self.max_order):
            raise ValueError(
                f"max_order is {self.max_order!r}, must be an integer from 1 to {MOST}"
            )
        if not (self.max_iters >= 1 and int(self.max_iters) == self.max_iters):
            raise ValueError(f"max_iters is {self.max_iters!r}, must be a positive integer")
        if self.max_order <= FEWEST:
            warnings.warn(
                f"max_order is {self.max_order}, below {FEWEST + 1}: {self.name} takes steps of "
                "rk4 only",
                stacklevel=2,
            )

    def begin(self) -> History:
        """No rates are known."""
        return History(self)


class History:
    """One solve: the latest rates and their times, newest first."""

    def __init__(self, method: Adams) -> None:
        self.method = method
        self.rates: deque[Tensor] = deque(maxlen=max(1, int(method.max_order) - 1))
        self.times: deque[Time] = deque(maxlen=self.rates.maxlen)

    def __call__(self, f: Field, span: Span, y0: Tensor) -> tuple[Tensor, Tensor]:
        """The increment over the span, and f(t0, y0).

        Warns:
            UserWarning: where Moulton's formula is not solved in max_iters iterations; the step is
            taken as it is, and the next one uses one rate less.
        """
        f0 = f(span.at(0.0), y0)
        self.rates.appendleft(f0)
        self.times.appendleft(span.t0)
        if len(self.rates) < FEWEST:
            return START.increment(f, span, y0, f0), f0
        dy = weighted(self.rates, weights([*self.times], span), span.dt)
        return (self.correct(f, span, y0, dy) if self.method.implicit else dy), f0

    def correct(self, f: Field, span: Span, y0: Tensor, dy: Tensor) -> Tensor:
        """dy = dt (w_0 f(t1, y0 + dy) + sum_i w_i f_i) by functional iteration."""
        method, w = self.method, weights([span.t1, *self.times], span)
        known = weighted(self.rates, w[1:], span.dt)
        for _ in range(int(method.max_iters)):
            before = dy
            dy = known + weighted([f(span.at(1.0), y0 + before)], w[:1], span.dt)
            if self.settled(before.detach(), dy.detach()):
                return dy
        warnings.warn(
            f"{method.name}: the corrector has not converged in max_iters={method.max_iters} "
            f"iterations at t={number(span.t1):.6g}, so this step may be wrong; try a smaller "
            "step_size, a larger max_iters, or an implicit Runge-Kutta method such as radauIIA5",
            stacklevel=2,
        )
        self.rates.pop()
        self.times.pop()
        return dy

    def settled(self, before: Tensor, after: Tensor) -> bool:
        """Whether the iteration moves no entry by its tolerance; one read of the device."""
        allowed = self.method.atol + self.method.rtol * torch.maximum(before.abs(), after.abs())
        return values_of(((after - before).abs() < allowed).all())


def weighted(rates: Sequence[Tensor], w: Sequence[float] | Tensor, dt: Time) -> Tensor:
    """dt sum_i w_i f_i."""
    if isinstance(w, Tensor):
        return torch.tensordot((w * dt).to(rates[0].dtype), torch.stack([*rates]), 1)
    return increment(rates, w, dt)


def weights(times: list[Time], span: Span) -> Sequence[float] | Tensor:
    """Weights of the rates at ``times`` for the integral over the span: floats, or, where the times
    carry a graph, a float64 tensor of shape (k,).
    """
    if isinstance(span.dt, Tensor):
        return quadrature_weights((torch.stack(times).double() - span.t0) / span.dt)
    nearest = [round((t - span.t0) / span.dt) for t in times]
    # Times that differ from equal steps by their rounding only, which is a few units of the last
    # place, are at equal steps: exact weights cost nothing, being computed once.
    rounding = 8 * torch.finfo(span.dtype).eps * max(map(abs, [span.t1, *times]))
    even = nearest == [*range(nearest[0], nearest[0] - len(times), -1)]
    gaps = zip(times, nearest, strict=True)
    if even and all(abs(span.t0 + n * span.dt - t) <= rounding * (1 + abs(n)) for t, n in gaps):
        return exact_weights(tuple(nearest))
    nodes = torch.tensor([(t - span.t0) / span.dt for t in times], dtype=torch.float64)
    return quadrature_weights(nodes).tolist()


@lru_cache(maxsize=64)
def exact_weights(nodes: tuple[int, ...]) -> tuple[float, ...]:
    """The weights for nodes in whole steps, in integers up to one correctly rounded division."""
    scale, found = lcm(*range(1, len(nodes) + 1)), []
    for x in nodes:
        others = [other for other in nodes if other != x]
        product = [1]  # coefficients of prod (s - x_j) in rising powers
        for other in others:
            shifted, scaled = [0, *product], [*(-other * c for c in product), 0]
            product = [a + b for a, b in zip(shifted, scaled, strict=True)]
        integral = sum(c * (scale // (power + 1)) for power, c in enumerate(product))
        found.append(integral / (scale * prod(x - other for other in others)))
    return tuple(found)


def quadrature_weights(nodes: Tensor) -> Tensor:
    """The weights for any nodes, shape (k,), differentiably: Gauss' rule with k / 2 points, rounded
    up, integrates polynomials of degree k - 1 exactly.
    """
    k = len(nodes)
    points, masses = (
        torch.tensor(row, dtype=torch.float64, device=nodes.device) for row in gauss((k + 1) // 2)
    )
    own = torch.eye(k, dtype=torch.bool, device=nodes.device)
    above = (points[:, None, None] - nodes).expand(-1, k, k).masked_fill(own, 1.0).prod(-1)
    below = (nodes[:, None] - nodes).masked_fill(own, 1.0).prod(-1)
    return masses @ above / below


@lru_cache(maxsize=16)
def gauss(n: int) -> tuple[list[float], list[float]]:
    """Points and weights of Gauss' rule on [0, 1]: the roots x of Legendre's P_n and
    2 / ((1 - x^2) P_n'(x)^2), moved there from [-1, 1].
    """
    points, masses = [], []
    for i in range(n):
        x = cos(pi * (i + 0.75) / (n + 0.5))
        for _ in range(10):  # Newton's, quadratic from this start
            before, p = 1.0, x
            for m in range(2, n + 1):
                before, p = p, ((2 * m - 1) * x * p - (m - 1) * before) / m
            slope = n * (x * p - before) / (x * x - 1)
            x -= p / slope
        points.append((1 + x) / 2)
        masses.append(1 / ((1 - x * x) * slope * slope))
    return points, masses
