"""Butcher tableaus of implicit methods, checked by the same equations as explicit ones."""

from __future__ import annotations

from dataclasses import dataclass
from math import fsum

from ..tableau import (
    Row,
    check,
    check_order,
    density,
    inner_points,
    rooted_trees,
    to_tuples,
    vertices,
    weighted,
)


@dataclass(frozen=True)
class ImplicitTableau:
    """Coefficients of one implicit Runge-Kutta method,

        k_i = f(t + c_i dt, y + dt sum_j a_ij k_j),    y_new = y + dt sum_i b_i k_i.

    The order conditions are those of explicit methods, sum_i b_i Phi_i(tree) = 1 / gamma(tree) for
    all rooted trees of at most p vertices (Butcher, Numerical Methods for Ordinary Differential
    Equations, theorem 315A): a is any matrix there.

    Args:
        order: order p of the method.
        c: nodes, shape (s,).
        a: rows of s entries.
        b: weights, shape (s,).
        b_error: b minus the weights of the embedded solution, shape (s,), or None for a method
            without an estimate of its error.
        error_order: order of the embedded solution; p - 1 unless given.
        filter: g, for an estimate that is to be multiplied by (I - g dt J)^-1, without which it
            grows with the stiffness of f; 0 for none.
        bump: weights v, shape (s,), that make the cubic Hermite interpolant one of order 4 by the
            term dt theta^2 (1 - theta)^2 sum_i v_i k_i.

    Raises:
        ValueError: naming the condition that the coefficients miss, and by how much.
    """

    order: int
    c: Row
    a: tuple[Row, ...]
    b: Row
    b_error: Row | None = None
    error_order: int | None = None
    filter: float = 0.0
    bump: Row | None = None

    def __post_init__(self) -> None:
        to_tuples(self)
        s = len(self.b)
        if len(self.c) != s or [len(row) for row in self.a] != [s] * s:
            raise ValueError(
                f"a tableau of {s} weights needs {s} nodes and {s} rows of {s} entries"
            )
        for i, row in enumerate(self.a):
            check(f"sum of row {i} of a", fsum(row), self.c[i])
        check_order("b", self.a, self.b, self.order)
        if self.b_error is not None:
            embedded = [b - e for b, e in zip(self.b, self.b_error, strict=True)]
            check_order("b - b_error", self.a, embedded, self.error_order or self.order - 1)
        if self.bump is not None:
            self.check_bump(self.bump)

    def check_bump(self, bump: Row) -> None:
        """The term in theta^4 of an interpolant of order 4 is all that the trees of 4 vertices
        leave; the Hermite cubic has the other powers right by the order of y_new.
        """
        if not (self.explicit(0) and self.stiffly_accurate and self.order in (4, 5)):
            raise ValueError("bump needs the rates at both ends among the stages, and order 4 or 5")
        for tree in (tree for n in range(1, 5) for tree in rooted_trees(n)):
            value = weighted(bump, self.a, tree)
            expected = 1 / density(tree) if vertices(tree) == 4 else 0.0
            check(f"order condition of bump for the tree {tree}", value, expected)

    @property
    def adaptive(self) -> bool:
        """Whether an error estimate, and so step-size control, exists."""
        return self.b_error is not None

    @property
    def exponent(self) -> int:
        """Of dt in the error estimate: the lower of the two orders + 1."""
        return min(self.order, self.error_order or self.order - 1) + 1

    @property
    def inner(self) -> int:
        """Number of points inside a step that its Hermite interpolant needs besides the ends to be
        of the method's accuracy; a bump is enough for order 5.
        """
        return 0 if self.bump is not None else inner_points(self.order)

    @property
    def stiffly_accurate(self) -> bool:
        """Whether y_new is the point of the last stage, whose rate is that at the end."""
        return self.a[-1] == self.b and self.c[-1] == 1.0

    @property
    def blocks(self) -> tuple[tuple[int, int], ...]:
        """Stages [start, stop) that have to be solved for together: the finest blocks of which a is
        lower triangular. Single ones for a diagonally implicit method.
        """
        s = len(self.b)
        cuts = [
            i
            for i in range(1, s + 1)
            if not any(self.a[row][j] for row in range(i) for j in range(i, s))
        ]
        return tuple(zip([0, *cuts], cuts, strict=False))

    def explicit(self, stage: int) -> bool:
        """Whether a stage follows from those before it."""
        return not any(self.a[stage][stage:])
