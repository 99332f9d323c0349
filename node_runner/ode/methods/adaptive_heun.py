"""Heun's method of order 2 with the Euler step inside it as error estimate."""

from ..tableau import Tableau

TABLEAU = Tableau(order=2, c=(0.0, 1.0), a=((), (1.0,)), b=(1 / 2, 1 / 2), b_error=(-1 / 2, 1 / 2))
