"""Costs integrated along the path, one file each. None of them feeds f or steers the step size."""

from .jacobian import Jacobian
from .kinetic import Kinetic
from .l1 import L1
from .l2 import L2
from .protocol import Local, Regularizer, acceleration
from .total_derivative import TotalDerivative

__all__ = ["L1", "L2", "Jacobian", "Kinetic", "Local", "Regularizer", "TotalDerivative"]
__all__ += ["acceleration"]
