"""Euler's method: order 1, one evaluation a step. A step of 1 is a residual layer, y + f(y)."""

from ..tableau import Tableau

TABLEAU = Tableau(order=1, c=(0.0,), a=((),), b=(1.0,))
