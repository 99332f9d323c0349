"""Bogacki and Shampine's pair of orders 3 and 2, first same as last (Appl. Math. Lett. 2(4),
1989).
"""

from ..tableau import Tableau

TABLEAU = Tableau(
    order=3,
    c=(0.0, 1 / 2, 3 / 4, 1.0),
    a=((), (1 / 2,), (0.0, 3 / 4), (2 / 9, 1 / 3, 4 / 9)),
    b=(2 / 9, 1 / 3, 4 / 9, 0.0),
    b_error=(2 / 9 - 7 / 24, 1 / 3 - 1 / 4, 4 / 9 - 1 / 3, -1 / 8),
)
