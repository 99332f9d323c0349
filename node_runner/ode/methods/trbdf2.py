"""TR-BDF2 as a Runge-Kutta method: the trapezoidal rule to t + (2 - sqrt 2) dt, then the backward
difference formula; order 2, L-stable, its first stage explicit (Hosea, Shampine, Appl. Numer. Math.
20, 1996).

The embedded solution, of order 3, and the filter of the estimate are those of the same paper.
"""

from math import sqrt

from ..steppers.implicit import ImplicitRungeKutta
from ..steppers.implicit_tableau import ImplicitTableau

D, W = 1 - sqrt(2) / 2, sqrt(2) / 4
METHOD = ImplicitRungeKutta(
    ImplicitTableau(
        order=2,
        c=(0.0, 2 * D, 1.0),
        a=((0.0, 0.0, 0.0), (D, D, 0.0), (W, W, D)),
        b=(W, W, D),
        b_error=(W - (1 - W) / 3, W - (3 * W + 1) / 3, D - D / 3),
        error_order=3,
        filter=D,
    )
)
