"""The classic Runge-Kutta method of order 4: four evaluations a step (Kutta 1901).

torchdiffeq gives this name to the 3/8 rule, which is ``rk38`` here.
"""

from ..tableau import Tableau

TABLEAU = Tableau(
    order=4,
    c=(0.0, 1 / 2, 1 / 2, 1.0),
    a=((), (1 / 2,), (0.0, 1 / 2), (0.0, 0.0, 1.0)),
    b=(1 / 6, 1 / 3, 1 / 3, 1 / 6),
)
