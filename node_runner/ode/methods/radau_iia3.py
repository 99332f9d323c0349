"""Radau IIA of two stages: order 3, L-stable (Hairer, Wanner, Solving ODEs II, table IV.5.5)."""

from ..steppers.implicit import ImplicitRungeKutta
from ..steppers.implicit_tableau import ImplicitTableau

METHOD = ImplicitRungeKutta(
    ImplicitTableau(
        order=3, c=(1 / 3, 1.0), a=((5 / 12, -1 / 12), (3 / 4, 1 / 4)), b=(3 / 4, 1 / 4)
    )
)
