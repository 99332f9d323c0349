"""Gauss' method of two stages: order 4, A-stable, symplectic (Hairer, Wanner, Solving ODEs II,
table IV.5.1).

torchdiffeq's gl4 has the node of the first stage twice, which leaves order 1 wherever f depends on
time.
"""

from math import sqrt

from ..steppers.implicit import ImplicitRungeKutta
from ..steppers.implicit_tableau import ImplicitTableau

R = sqrt(3) / 6
METHOD = ImplicitRungeKutta(
    ImplicitTableau(
        order=4,
        c=(1 / 2 - R, 1 / 2 + R),
        a=((1 / 4, 1 / 4 - R), (1 / 4 + R, 1 / 4)),
        b=(1 / 2, 1 / 2),
    )
)
