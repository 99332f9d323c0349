"""Heun's method of order 2, the explicit trapezoidal rule, on a fixed step. ``adaptive_heun``
controls its step.
"""

from ..tableau import Tableau

TABLEAU = Tableau(order=2, c=(0.0, 1.0), a=((), (1.0,)), b=(1 / 2, 1 / 2))
