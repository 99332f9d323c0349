"""Backpropagation through the solver's own steps: discretise, then differentiate."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from ..graph_memory import GraphMemory
from ..problem import Problem
from ..protocol import Integrator
from ..stepper import Method


class Direct:
    """Exact gradient of the discrete solution, its step sizes taken as constants.

    Holds the graph of every accepted step, so memory grows with their number; the fastest where
    that fits. No ``params`` are needed: whatever f uses is in the graph.

    >>> import torch
    >>> from node_runner.ode import Direct, Solver
    >>> w = torch.tensor(0.5, requires_grad=True)
    >>> solver = Solver("rk4", step_size=0.1, gradient=Direct())
    >>> solver(lambda t, y: w * y, torch.ones(1), [0.0, 1.0]).final.backward()
    >>> round(w.grad.item(), 3)
    1.649

    Args:
        max_mib: Memory in MiB that the graph of a solve may hold (default: half of what is free on
            the device at its start; inf: no bound).

    Raises:
        ValueError: for a max_mib that is not positive.
        SolverError: by the solve, once its graph exceeds that.
    """

    def __init__(self, max_mib: float | None = None) -> None:
        if max_mib is not None and not max_mib > 0:
            raise ValueError(
                f"max_mib is {max_mib!r}, must be positive, or null for half of what is free"
            )
        self.max_mib = max_mib

    def check(self, method: Method) -> None:
        """Every method can be differentiated this way."""

    def __call__(self, solver: Integrator, problem: Problem) -> Tensor:
        return solver.integrate(replace(problem, memory=GraphMemory(self.max_mib)))
