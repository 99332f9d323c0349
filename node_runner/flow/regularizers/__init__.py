"""Costs integrated along the path, one file each. They neither act on f nor on the step size."""

from .jacobian import Jacobian
from .kinetic import Kinetic
from .l1 import L1
from .l2 import L2
from .protocol import PathPoint, Regularizer
from .total_derivative import TotalDerivative

__all__ = ["L1", "L2", "Jacobian", "Kinetic", "PathPoint", "Regularizer", "TotalDerivative"]
