"""Implicit midpoint: order 2, A-stable, symplectic. Gauss' method of one stage."""

from ..tableau import ImplicitTableau

TABLEAU = ImplicitTableau(order=2, c=(1 / 2,), a=((1 / 2,),), b=(1.0,))
