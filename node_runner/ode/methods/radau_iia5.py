"""Radau IIA of three stages: order 5, L-stable (Hairer, Wanner, Solving ODEs II, table IV.5.6).

The rate at the start, which the step before has, is a stage of its own: the embedded solution, of
order 3, and the interpolant use it. The error estimate and its filter are theirs (IV.8, eqs. (8.17)
to (8.19)), with 1 / FILTER the real eigenvalue of the inverse of a.
"""

from math import sqrt

from ..steppers.implicit import ImplicitRungeKutta
from ..steppers.implicit_tableau import ImplicitTableau
from ..tableau import Row

R = sqrt(6)
C = ((4 - R) / 10, (4 + R) / 10, 1.0)
LAST = (0.0, (16 - R) / 36, (16 + R) / 36, 1 / 9)
FILTER = 1 / (3 - 3 ** (1 / 3) + 3 ** (2 / 3))


def quadrature(moments: Row) -> Row:
    """The weights w of the nodes C with sum_i w_i C_i^n = moments[n], n = 0, 1, 2."""
    m0, m1, m2 = moments
    weights = []
    for i, c in enumerate(C):
        p, q = (x for j, x in enumerate(C) if j != i)
        weights.append((m2 - (p + q) * m1 + p * q * m0) / ((c - p) * (c - q)))
    return tuple(weights)


def highest() -> Row:
    """The weights of 0 and C whose moments are 0, 0, 0 and 1 / 4."""
    nodes = (0.0, *C)
    weights = []
    for i, c in enumerate(nodes):
        product = 1.0
        for x in (x for j, x in enumerate(nodes) if j != i):
            product *= c - x
        weights.append(1 / (4 * product))
    return tuple(weights)


METHOD = ImplicitRungeKutta(
    ImplicitTableau(
        order=5,
        c=(0.0, *C),
        a=(
            (0.0, 0.0, 0.0, 0.0),
            (0.0, (88 - 7 * R) / 360, (296 - 169 * R) / 1800, (-2 + 3 * R) / 225),
            (0.0, (296 + 169 * R) / 1800, (88 + 7 * R) / 360, (-2 - 3 * R) / 225),
            LAST,
        ),
        b=LAST,
        b_error=(-FILTER, *quadrature((FILTER, 0.0, 0.0))),
        error_order=3,
        filter=FILTER,
        bump=highest(),
    )
)
