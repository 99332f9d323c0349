"""Hermite interpolation inside a step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy

import torch
from torch import Tensor

from ..step import combination
from ..tableau import Row, hermite_row, polynomial

# Weights of (y1 - y0) / dt, k0 and k1 in the cubic, and of the bump: coefficients of theta, ...
CUBIC = hermite_row(1.0, 0.0, 0.0), hermite_row(0.0, 1.0, 0.0), hermite_row(0.0, 0.0, 1.0)
BUMP = hermite_row(0.0, 0.0, 0.0, (1.0,))


class Hermite:
    """The cubic with the values y0, y1 and slopes k0, k1 at the ends of a step, plus dt theta^2 (1
    - theta)^2 bump, which leaves them as they are (Hairer, Norsett, Wanner, Solving ODEs I, II.6).

    Args:
        t0, t1: ends of the step.
        y0, y1, k0, k1: states and rates there, shape (width,).
        bump: shape (width,), an estimate of dt^3 y'''' / 24; None for the cubic.
    """

    def __init__(
        self,
        t0: float,
        t1: float,
        y0: Tensor,
        y1: Tensor,
        k0: Tensor,
        k1: Tensor,
        bump: Tensor | None = None,
    ) -> None:
        self.t0, self.dt, self.y0 = t0, t1 - t0, y0
        self.nodes: tuple[float, ...] = (0.0, 1.0)
        self.rows: tuple[Row, ...] = CUBIC if bump is None else (*CUBIC, BUMP)
        self.terms = torch.stack([(y1 - y0) / self.dt, k0, k1, *([] if bump is None else [bump])])

    def through(self, t: float, y: Tensor, rate: Tensor) -> Hermite:
        """The polynomial of two degrees more that has the value y and the slope ``rate`` at t too,
        by Newton's form: two more terms, of which the nodes so far know nothing.
        """
        x, dt = (t - self.t0) / self.dt, self.dt
        square = squared(self.nodes)
        size, steepness = x * polynomial(square, x), derivative(square, x)
        first = (y - self.at([t])[0]) / (dt * size)
        second = (rate - self._slope(x) - steepness * first) / size
        longer = copy(self)
        longer.nodes = (*self.nodes, x)
        longer.rows = (*self.rows, square, multiplied(square, x))
        longer.terms = torch.cat([self.terms, torch.stack([first, second])])
        return longer

    def frozen(self) -> Hermite:
        return self

    def at(self, times: list[float]) -> Tensor:
        """The values at times in [t0, t1], shape (len(times), width), with their graph."""
        theta = [(t - self.t0) / self.dt for t in times]
        return self._combined([[x * polynomial(row, x) for row in self.rows] for x in theta])

    def at_tensor(self, t: Tensor) -> Tensor:
        """The same at t, shape (T,), differentiable in t too."""
        x = ((t - self.t0) / self.dt).to(self.y0.dtype)
        weights = torch.stack([x * polynomial(row, x) for row in self.rows], dim=-1)
        return torch.addmm(self.y0, weights, self.terms, alpha=self.dt)

    @torch.no_grad()
    def slope(self, t: float) -> Tensor:
        """The derivative at t, shape (width,), without graph."""
        return self._slope((t - self.t0) / self.dt)

    def _slope(self, x: float) -> Tensor:
        weights = tuple(derivative(row, x) for row in self.rows)
        return combination(self.terms.unbind(), weights, 1.0)

    def _combined(self, weights: list[list[float]]) -> Tensor:
        matrix = torch.tensor(weights, dtype=self.y0.dtype, device=self.y0.device)
        return torch.addmm(self.y0, matrix, self.terms, alpha=self.dt)


def refined(path: Hermite, inner: int, reach: Callable[[float], tuple[Tensor, Tensor]]) -> Hermite:
    """The interpolant through ``inner`` more points, evenly inside the step, with an error of
    dt^(4 + 2 inner).

    Args:
        path: the cubic.
        reach: t -> the state there, shape (width,), by a shorter step from the start, and f.
    """
    for j in range(1, inner + 1):
        t = path.t0 + path.dt * (j / (inner + 1))
        path = path.through(t, *reach(t))
    return path


def derivative(row: Row, x: float) -> float:
    """Of the polynomial with the coefficients ``row`` of x, x^2, ..."""
    return polynomial(tuple(n * c for n, c in enumerate(row, 1)), x)


def multiplied(row: Row, root: float) -> Row:
    """The coefficients of x, x^2, ... of that polynomial times (x - root)."""
    return tuple(a - root * b for a, b in zip((0.0, *row), (*row, 0.0), strict=True))


def squared(nodes: Sequence[float]) -> Row:
    """The coefficients of x, x^2, ... of the product of (x - node)^2, the first node being 0."""
    row: Row = (0.0, 1.0)
    for node in nodes[1:]:
        row = multiplied(multiplied(row, node), node)
    return row
