"""The trapezoidal rule, Crank and Nicolson's: order 2, A-stable, its first stage explicit
(Mathematical Proceedings of the Cambridge Philosophical Society 43, 1947).
"""

from ..steppers.implicit import ImplicitRungeKutta
from ..steppers.implicit_tableau import ImplicitTableau

METHOD = ImplicitRungeKutta(
    ImplicitTableau(order=2, c=(0.0, 1.0), a=((0.0, 0.0), (1 / 2, 1 / 2)), b=(1 / 2, 1 / 2))
)
