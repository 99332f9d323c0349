"""Gauss' method of three stages: order 6, A-stable, symplectic (Hairer, Wanner, Solving ODEs II,
table IV.5.2).
"""

from math import sqrt

from ..steppers.implicit import ImplicitRungeKutta
from ..steppers.implicit_tableau import ImplicitTableau

R = sqrt(15)
METHOD = ImplicitRungeKutta(
    ImplicitTableau(
        order=6,
        c=(1 / 2 - R / 10, 1 / 2, 1 / 2 + R / 10),
        a=(
            (5 / 36, 2 / 9 - R / 15, 5 / 36 - R / 30),
            (5 / 36 + R / 24, 2 / 9, 5 / 36 - R / 24),
            (5 / 36 + R / 30, 2 / 9 + R / 15, 5 / 36),
        ),
        b=(5 / 18, 4 / 9, 5 / 18),
    )
)
