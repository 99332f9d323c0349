"""Implicit Euler: order 1, L-stable. Radau IIA of one stage (Hairer, Wanner, Solving ODEs II,
IV.5).
"""

from ..steppers.implicit import ImplicitRungeKutta
from ..steppers.implicit_tableau import ImplicitTableau

METHOD = ImplicitRungeKutta(ImplicitTableau(order=1, c=(1.0,), a=((1.0,),), b=(1.0,)))
