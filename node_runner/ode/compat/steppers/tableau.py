"""Butcher tableaus of implicit methods, checked by the same equations as explicit ones."""

from __future__ import annotations

from dataclasses import dataclass
from math import fsum

from ...tableau import Row, check, density, elementary_weights, rooted_trees


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

    Raises:
        ValueError: naming the condition that the coefficients miss, and by how much.
    """

    order: int
    c: Row
    a: tuple[Row, ...]
    b: Row

    def __post_init__(self) -> None:
        s = len(self.b)
        if len(self.c) != s or [len(row) for row in self.a] != [s] * s:
            raise ValueError(
                f"a tableau of {s} weights needs {s} nodes and {s} rows of {s} entries"
            )
        for i, row in enumerate(self.a):
            check(f"sum of row {i} of a", fsum(row), self.c[i])
        for n in range(1, self.order + 1):
            for tree in rooted_trees(n):
                phi = elementary_weights(self.a, tree)
                value = fsum(w * p for w, p in zip(self.b, phi, strict=True))
                check(f"order condition of b for the tree {tree}", value, 1 / density(tree))

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
