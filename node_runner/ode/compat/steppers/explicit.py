"""Explicit Runge-Kutta methods of the core, one step at a time and differentiable in the times."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ...tableau import Tableau
from .protocol import Advance, Field, Span, increment


@dataclass(frozen=True)
class Explicit:
    """k_i = f(t0 + c_i dt, y0 + dt sum_{j<i} a_ij k_j), y1 - y0 = dt sum_i b_i k_i.

    Args:
        name: of the method, for messages.
        tableau: coefficients of the method; an estimate of its error is left alone.
    """

    name: str
    tableau: Tableau

    def begin(self) -> Advance:
        """Nothing is remembered from step to step."""
        return self.advance

    def advance(self, f: Field, span: Span, y0: Tensor) -> tuple[Tensor, Tensor]:
        """The increment over the span, and f(t0, y0)."""
        f0 = f(span.at(0.0), y0)
        return self.increment(f, span, y0, f0), f0

    def increment(self, f: Field, span: Span, y0: Tensor, f0: Tensor) -> Tensor:
        """The increment over the span, given f(t0, y0)."""
        tableau, rates = self.tableau, [f0]
        for c, row in zip(tableau.c[1:], tableau.a[1:], strict=True):
            rates.append(f(span.at(c), y0 + increment(rates, row, span.dt)))
        return increment(rates, tableau.b, span.dt)
