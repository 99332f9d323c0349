"""TR-BDF2 as a Runge-Kutta method: the trapezoidal rule to t + (2 - sqrt 2) dt, then the backward
difference formula; order 2, L-stable (Hosea, Shampine, Appl. Numer. Math. 20, 1996).
"""

from math import sqrt

from ..tableau import ImplicitTableau

D, W = 1 - sqrt(2) / 2, sqrt(2) / 4
TABLEAU = ImplicitTableau(
    order=2, c=(0.0, 2 * D, 1.0), a=((0.0, 0.0, 0.0), (D, D, 0.0), (W, W, D)), b=(W, W, D)
)
