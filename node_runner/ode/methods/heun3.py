"""Heun's method of order 3: three evaluations a step (Heun 1900)."""

from ..tableau import Tableau

TABLEAU = Tableau(
    order=3, c=(0.0, 1 / 3, 2 / 3), a=((), (1 / 3,), (0.0, 2 / 3)), b=(1 / 4, 0.0, 3 / 4)
)
