"""Butcher tableaus that check themselves.

An explicit Runge-Kutta method with s stages advances y' = f(t, y) by

    k_i = f(t + c_i dt, y + dt sum_{j<i} a_ij k_j),    y_new = y + dt sum_i b_i k_i.

It has order p exactly when sum_i b_i Phi_i(tree) = 1 / gamma(tree) for every rooted tree of at most
p vertices (Butcher, Numerical Methods for Ordinary Differential Equations, theorem 315A). A
mistyped coefficient breaks one of these equations, so a tableau that exists is a tableau of the
order it claims.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from functools import cache, cached_property
from itertools import combinations_with_replacement
from math import fsum, prod
from typing import Any

Row = tuple[float, ...]
Tree = tuple["Tree", ...]  # a rooted tree is the sorted tuple of the subtrees at its root

TOLERANCE = 1e-12  # published coefficients carry 15 to 17 digits


@dataclass(frozen=True)
class Tableau:
    """Coefficients of one explicit Runge-Kutta method.

    Args:
        order: order p of the propagated solution.
        c: nodes, shape (s,), with c[0] = 0.
        a: strictly lower triangular rows; row i has i entries.
        b: weights of the solution, shape (s,).
        b_error: b minus the weights of the embedded solution, shape (s,), or None for a method
            without an estimate of its error, which then runs on a fixed step.
        error_order: order of the embedded solution; p - 1 unless given.
        interpolant: row i holds the coefficients of theta, theta^2, ... of b_i(theta), so that
            y(t + theta dt) = y + dt sum_i b_i(theta) k_i over the stages, then, without FSAL, f at
            the new point, then the extra stages. None selects the cubic Hermite interpolant up to
            order 4, and beyond one through ``inner`` more points, each at the cost of a step.
        interpolant_order: order of that interpolant.
        extra: node and row (c, a) of each stage that serves the interpolant alone; the row weighs
            all rates before it. Evaluated where an output lies inside the step, so c in [0, 1].

    Raises:
        ValueError: naming the condition that the coefficients miss, and by how much.

    >>> from node_runner.ode import Solver, Tableau
    >>> ssp3 = Tableau(3, c=(0, 1, 0.5), a=((), (1,), (0.25, 0.25)), b=(1 / 6, 1 / 6, 2 / 3))
    >>> ssp3.stages, ssp3.adaptive, Solver(ssp3, step_size=0.1).method
    (3, False, 'Tableau of order 3')
    """

    order: int
    c: Row
    a: tuple[Row, ...]
    b: Row
    b_error: Row | None = None
    error_order: int | None = None
    interpolant: tuple[Row, ...] | None = None
    interpolant_order: int = 4
    extra: tuple[tuple[float, Row], ...] = ()

    def __post_init__(self) -> None:
        to_tuples(self)
        s = self.stages
        if [len(row) for row in self.a] != list(range(s)) or len(self.c) != s:
            raise ValueError(
                f"a tableau of {s} weights needs {s} nodes and rows of 0 to {s - 1} entries"
            )
        for i, row in enumerate(self.a):
            check(f"sum of row {i} of a", fsum(row), self.c[i])
        check_order("b", self.a, self.b, self.order)
        if self.b_error is not None:
            check("sum of b_error", fsum(self.b_error), 0.0)
            embedded = [b - e for b, e in zip(self.b, self.b_error, strict=True)]
            check_order("b - b_error", self.a, embedded, self.exponent - 1)
        if self.extra:
            self.check_extra()
        if self.interpolant is not None:
            self.check_interpolant()

    @property
    def stages(self) -> int:
        return len(self.b)

    @property
    def adaptive(self) -> bool:
        """Whether an error estimate, and so step-size control, exists."""
        return self.b_error is not None

    @property
    def exponent(self) -> int:
        """Of dt in the error estimate: the order of the embedded solution + 1."""
        return (self.error_order or self.order - 1) + 1

    @property
    def fsal(self) -> bool:
        """First same as last: the last stage is f at the new point, hence the next step's first
        stage.
        """
        return self.stages > 1 and self.a[-1] == self.b[:-1] and self.b[-1] == 0.0

    @property
    def inner(self) -> int:
        """Number of points inside a step that its Hermite interpolant needs besides the ends to be
        of the method's accuracy.
        """
        return 0 if self.interpolant is not None else inner_points(self.order)

    @property
    def rates(self) -> int:
        """Number of rates f that interpolation needs: the stages and, without FSAL, f at the new
        point, and the extra stages.
        """
        return self.end + 1 if self.interpolant is None else len(self.interpolant)

    @cached_property
    def rows(self) -> tuple[Row, ...]:
        """Row i weighs the rates before rate i, shape (rates,) of rows."""
        end = () if self.fsal else (self.b,)
        return (*self.a, *end, *(row for _, row in self.extra))[: self.rates]

    @property
    def end(self) -> int:
        """The number of the rate that is f at the end of the step, where it is there."""
        return self.stages - self.fsal

    def interpolation_weights(self, theta: float) -> list[float]:
        """Weights w, shape (rates,), of y(t + theta dt) = y + dt sum_i w_i k_i, for theta in [0,
        1].

        The Hermite cubic through y, y', y_new, y'_new is of this form too, since y_new - y = dt
        sum_i b_i k_i (Hairer, Norsett, Wanner, Solving ODEs I, II.6).
        """
        if self.interpolant is not None:
            return [theta * polynomial(row, theta) for row in self.interpolant]
        weights = [theta * theta * (3 - 2 * theta) * b for b in self.b] + [0.0] * (
            self.rates - self.stages
        )
        weights[0] += theta * (1 - theta) ** 2
        weights[-1] += theta * theta * (theta - 1)
        return weights

    def interpolation_coefficients(self) -> tuple[Row, ...]:
        """The same weights as polynomials: row i holds the coefficients of theta, theta^2, ... of
        w_i, shape (rates, degree).
        """
        if self.interpolant is not None:
            return self.interpolant
        ends = [*self.b, *[0.0] * (self.rates - self.stages)]
        return tuple(
            hermite_row(b, float(i == 0), float(i == self.end)) for i, b in enumerate(ends)
        )

    def check_extra(self) -> None:
        """Extra stages are used, lie inside the step and come one after another."""
        first = self.end + 1
        if self.interpolant is None or self.rates != first + len(self.extra):
            raise ValueError(
                f"a tableau of {self.stages} weights with {len(self.extra)} extra stages needs an "
                f"interpolant of {first + len(self.extra)} rows"
            )
        for i, (c, row) in enumerate(self.extra, first):
            if len(row) != i or not 0.0 <= c <= 1.0:
                raise ValueError(f"extra stage {i} needs {i} weights and a node in [0, 1]")
            check(f"sum of row {i} of a", fsum(row), c)

    def check_interpolant(self) -> None:
        """The interpolant ends in y_new and is of its order at several points inside the step."""
        ends = [*self.b, *[0.0] * (self.rates - self.stages)]
        for value, b in zip(self.interpolation_weights(1.0), ends, strict=True):
            check("interpolant at 1", value, b)
        for theta in (0.25, 0.5, 0.8):
            check_order(
                f"interpolant at {theta}",
                self.rows,
                self.interpolation_weights(theta),
                self.interpolant_order,
                theta,
            )


def to_tuples(tableau: Any) -> None:
    """Replace the lists of a tableau, such as those of a yaml file, by tuples of floats."""
    for field in fields(tableau):
        value = getattr(tableau, field.name)
        if isinstance(value, Sequence):
            object.__setattr__(tableau, field.name, _as_row(value))


def _as_row(value: Any) -> Any:
    return tuple(map(_as_row, value)) if isinstance(value, Sequence) else float(value)


def check_order(
    name: str, a: tuple[Row, ...], weights: Sequence[float], order: int, theta: float = 1.0
) -> None:
    """Check sum_i w_i Phi_i(tree) = theta^|tree| / gamma(tree) for all rooted trees up to
    ``order``.
    """
    for n in range(1, order + 1):
        for tree in rooted_trees(n):
            expected = theta**n / density(tree)
            check(
                f"order condition of {name} for the tree {tree}",
                weighted(weights, a, tree),
                expected,
            )


def weighted(weights: Sequence[float], a: tuple[Row, ...], tree: Tree) -> float:
    """sum_i w_i Phi_i(tree)."""
    return fsum(w * p for w, p in zip(weights, elementary_weights(a, tree), strict=True))


def check(what: str, value: float, expected: float) -> None:
    if not abs(value - expected) < TOLERANCE:
        raise ValueError(f"{what} is {value!r}, must be {expected!r}")


def polynomial(coefficients: Row, x: Any) -> Any:
    """Evaluate a polynomial, coefficients in rising powers, at a number or tensor (Horner)."""
    value = 0.0
    for coefficient in reversed(coefficients):
        value = value * x + coefficient
    return value


def inner_points(order: int) -> int:
    """The fewest points n inside a step with which the error of Hermite's interpolant, dt^(4 + 2
    n), is no larger than that of a solve, dt^order.
    """
    return max(0, (order - 3) // 2)


def hermite_row(b: float, first: float, last: float, bump: Row = ()) -> Row:
    """Coefficients of theta, theta^2, ... of the Hermite cubic's weight, and a term that leaves
    both ends as they are,

        theta^2 (3 - 2 theta) b + theta (1 - theta)^2 first + theta^2 (theta - 1) last
        + theta^2 (1 - theta)^2 (bump_0 + bump_1 theta + ...).
    """
    row = [first, 3 * b - 2 * first - last, -2 * b + first + last, *[0.0] * len(bump)]
    for i, value in enumerate(bump, 1):
        for j, factor in enumerate((1.0, -2.0, 1.0), i):
            row[j] += factor * value
    return tuple(row)


@cache
def rooted_trees(n: int) -> tuple[Tree, ...]:
    """All rooted trees with n vertices: 1, 1, 2, 4, 9, 20, 48, 115 of them for n = 1 to 8."""
    return tuple(sorted(set(forests(n - 1, n - 1))))


def forests(n: int, largest: int) -> Iterator[Tree]:
    """All multisets of rooted trees with n vertices in total and at most ``largest`` in each."""
    if n == 0:
        yield ()
        return
    for size in range(min(n, largest), 0, -1):
        for count in range(1, n // size + 1):
            for chosen in combinations_with_replacement(rooted_trees(size), count):
                for rest in forests(n - size * count, size - 1):
                    yield tuple(sorted(chosen + rest))


def vertices(tree: Tree) -> int:
    return 1 + sum(vertices(branch) for branch in tree)


def density(tree: Tree) -> int:
    """gamma(tree): the product over the vertices of the size of the subtree hanging there."""
    return vertices(tree) * prod(density(branch) for branch in tree)


@cache
def elementary_weights(a: tuple[Row, ...], tree: Tree) -> Row:
    """Phi_i(tree) = prod over branches of sum_j a_ij Phi_j(branch), for each stage i."""
    branches = [elementary_weights(a, branch) for branch in tree]
    return tuple(prod(fsum(map(float.__mul__, row, phi)) for phi in branches) for row in a)
