"""Kvaerno's pair of orders 3 and 2 of four stages, the first explicit: both L-stable, the solution
and the embedded one points of stages (BIT 44, 2004).
"""

from ..steppers.implicit import ImplicitRungeKutta
from ..steppers.implicit_tableau import ImplicitTableau

G = 0.4358665215084590  # the root of G^3 - 3 G^2 + 3/2 G - 1/6 that makes it L-stable
THIRD = ((-4 * G**2 + 6 * G - 1) / (4 * G), (1 - 2 * G) / (4 * G), G, 0.0)
LAST = (
    (6 * G - 1) / (12 * G),
    -1 / (12 * G * (2 * G - 1)),
    (-6 * G**2 + 6 * G - 1) / (6 * G - 3),
    G,
)
METHOD = ImplicitRungeKutta(
    ImplicitTableau(
        order=3,
        c=(0.0, 2 * G, 1.0, 1.0),
        a=((0.0, 0.0, 0.0, 0.0), (G, G, 0.0, 0.0), THIRD, LAST),
        b=LAST,
        b_error=tuple(b - e for b, e in zip(LAST, THIRD, strict=True)),
    )
)
