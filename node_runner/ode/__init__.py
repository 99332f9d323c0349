"""Differentiable ODE solvers in plain torch: methods, step control, gradients. Knows nothing of the
rest.
"""

from . import torchdiffeq
from .dense import DenseSolution
from .errors import GrazingError, OptionError, SolverError
from .events import Event, EventSolution
from .gradients import Adjoint, Direct, Replay
from .measure import measure
from .observation import SolveProgress, observed
from .solution import Solution
from .solver import Solver
from .state import Quadrature
from .stats import Counts, Stats, total

__all__ = [
    "Adjoint",
    "Counts",
    "DenseSolution",
    "Direct",
    "Event",
    "EventSolution",
    "GrazingError",
    "OptionError",
    "Quadrature",
    "Replay",
    "Solution",
    "SolveProgress",
    "Solver",
    "SolverError",
    "Stats",
    "measure",
    "observed",
    "torchdiffeq",
    "total",
]
