"""Costs integrated along the path, one file each. None of them feeds f or steers the step size."""

from .jacobian import Jacobian
from .kinetic import Kinetic
from .protocol import Local, Regularizer

__all__ = ["Jacobian", "Kinetic", "Local", "Regularizer"]
