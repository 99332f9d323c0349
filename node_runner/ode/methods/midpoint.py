"""Explicit midpoint: order 2, two evaluations a step (Runge 1895)."""

from ..tableau import Tableau

TABLEAU = Tableau(order=2, c=(0.0, 1 / 2), a=((), (1 / 2,)), b=(0.0, 1.0))
