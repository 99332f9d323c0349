"""Alexander's singly diagonally implicit method of two stages: order 2, L-stable (SIAM J. Numer.
Anal. 14, 1977).
"""

from math import sqrt

from ..steppers.implicit import ImplicitRungeKutta
from ..steppers.implicit_tableau import ImplicitTableau

G = 1 - sqrt(2) / 2
METHOD = ImplicitRungeKutta(
    ImplicitTableau(order=2, c=(G, 1.0), a=((G, 0.0), (1 - G, G)), b=(1 - G, G))
)
