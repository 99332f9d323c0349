"""Gradient strategies: Direct, Replay and Adjoint.

A strategy receives the solver as a value, so that it never imports it:

- ``Direct``: backpropagation through the accepted steps.
- ``Replay``: steps recomputed one at a time, backwards; the same gradient in the memory of one step
  and one state a step.
- ``Adjoint``: a second solve backwards in time; memory does not depend on the number of steps.
"""

from ..protocol import Gradient, Integrator
from .adjoint import Adjoint
from .direct import Direct
from .replay import Replay

__all__ = ["Adjoint", "Direct", "Gradient", "Integrator", "Replay"]
