"""Kutta's 3/8 rule of order 4 (Kutta 1901): what torchdiffeq, and so the papers' code, runs under
the name ``rk4``.
"""

from ..tableau import Tableau

TABLEAU = Tableau(
    order=4,
    c=(0.0, 1 / 3, 2 / 3, 1.0),
    a=((), (1 / 3,), (-1 / 3, 1.0), (1.0, -1.0, 1.0)),
    b=(1 / 8, 3 / 8, 3 / 8, 1 / 8),
)
