"""Implicit midpoint: order 2, A-stable, symplectic. Gauss' method of one stage (Hairer, Wanner,
Solving ODEs II, IV.5).
"""

from ..steppers.implicit import ImplicitRungeKutta
from ..steppers.implicit_tableau import ImplicitTableau

METHOD = ImplicitRungeKutta(ImplicitTableau(order=2, c=(1 / 2,), a=((1 / 2,),), b=(1.0,)))
