"""Backpropagation through the solver's own steps: discretise, then differentiate."""

from __future__ import annotations

from torch import Tensor

from ..problem import Problem
from ..protocol import Integrator
from ..tableau import Tableau


class Direct:
    """Exact gradient of the discrete solution, its step sizes taken as constants.

    Holds the graph of every accepted step, so memory grows with their number; the fastest where
    that fits. No ``params`` are needed: whatever f uses is in the graph.
    """

    def check(self, tableau: Tableau) -> None:
        """Every method can be differentiated this way."""

    def __call__(self, solver: Integrator, problem: Problem) -> Tensor:
        return solver.integrate(problem)
