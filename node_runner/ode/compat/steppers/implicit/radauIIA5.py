"""Radau IIA of three stages: order 5, L-stable (Hairer, Wanner, Solving ODEs II, table IV.5.6)."""

from math import sqrt

from ..tableau import ImplicitTableau

R = sqrt(6)
LAST = ((16 - R) / 36, (16 + R) / 36, 1 / 9)
TABLEAU = ImplicitTableau(
    order=5,
    c=((4 - R) / 10, (4 + R) / 10, 1.0),
    a=(
        ((88 - 7 * R) / 360, (296 - 169 * R) / 1800, (-2 + 3 * R) / 225),
        ((296 + 169 * R) / 1800, (88 + 7 * R) / 360, (-2 - 3 * R) / 225),
        LAST,
    ),
    b=LAST,
)
