"""Implicit Euler: order 1, L-stable. Radau IIA of one stage."""

from ..tableau import ImplicitTableau

TABLEAU = ImplicitTableau(order=1, c=(1.0,), a=((1.0,),), b=(1.0,))
