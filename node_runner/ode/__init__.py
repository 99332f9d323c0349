"""Differentiable ODE solvers in plain torch: methods, step control, gradients, events.

Imports nothing from the other packages of ``node_runner``.
"""

from . import torchdiffeq
from .dense import DenseSolution
from .errors import GrazingError, OptionError, SolverError
from .events import Event, EventSolution
from .gradients import Adjoint, Direct, Replay
from .observation import SolveProgress, observed
from .profiling import profile_solve
from .solution import Solution
from .solver import Solver
from .state import Quadrature
from .stats import Counts, Stats, total
from .stepper import Method
from .steppers.implicit_tableau import ImplicitTableau
from .tableau import Tableau

__all__ = [
    "Adjoint",
    "Counts",
    "DenseSolution",
    "Direct",
    "Event",
    "EventSolution",
    "GrazingError",
    "ImplicitTableau",
    "Method",
    "OptionError",
    "Quadrature",
    "Replay",
    "Solution",
    "SolveProgress",
    "Solver",
    "SolverError",
    "Stats",
    "Tableau",
    "profile_solve",
    "observed",
    "torchdiffeq",
    "total",
]
