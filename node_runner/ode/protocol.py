"""Interfaces of solvers and gradient strategies, so that neither imports the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence, Set
from typing import Protocol

from torch import Tensor

from .error_norm import ErrorNorm, Tolerances
from .integration import Integration
from .problem import Problem
from .state import Layout
from .stats import Counts
from .stepper import Method, Rates


class AcceptedStep(Protocol):
    """An accepted step from (t0, y0) to (t1, y1)."""

    @property
    def t0(self) -> float: ...

    @property
    def t1(self) -> float: ...

    @property
    def y0(self) -> Tensor: ...

    @property
    def y1(self) -> Tensor: ...


OnAccept = Callable[[AcceptedStep, list[float], bool], None]


class Integrator(Protocol):
    """A solver without its gradient policy."""

    method: str
    scheme: Method
    rtol: Tolerances
    atol: Tolerances
    engine: str

    @property
    def tolerances(self) -> Sequence[tuple[Tolerances, Tolerances]]:
        """(rtol, atol) of each solve; none with fixed steps."""

    @property
    def jumps(self) -> Set[float]:
        """Times at which f jumps."""

    def norm_of(self, layout: Layout) -> Callable[[Sequence[Tensor]], object] | None:
        """The solver's own measure of the entries of a state, if it has one."""

    def integrate(self, problem: Problem, on_accept: OnAccept | None = None) -> Tensor:
        """The solution at ts[1:], shape (len(ts) - 1, width); with a graph where gradients are
        enabled.

        ``on_accept(step, inside, lands)`` sees each accepted step, the output times strictly inside
        it, and whether it ends on one.
        """

    def start_integration(
        self,
        f: Rates,
        layout: Layout,
        t: float,
        y: Tensor,
        norm: ErrorNorm,
        counts: Counts,
        graph: bool,
    ) -> Integration:
        """A integration from (t, y) with this solver's method and step control."""


class Gradient(Protocol):
    """A way to differentiate a solve."""

    def check(self, method: Method) -> None:
        """Raise ValueError, naming both, if the method cannot work with this strategy."""

    def __call__(self, solver: Integrator, problem: Problem) -> Tensor:
        """The solution at ts[1:], shape (len(ts) - 1, width), differentiable in y0 and the
        parameters.
        """


class SolverProtocol(Integrator, Protocol):
    """A solver with its gradient policy: what dense output, events and engines see of it."""

    gradient: Gradient
    step_size: float | None
    first_step: float | None
    max_steps: int

    def begin(self, problem: Problem, counts: Counts, graph: bool) -> Integration:
        """The integration that starts the problem."""

    def explain(self, problem: Problem) -> None:
        """Raise a SolverError that tells where a fixed-step solve went wrong."""
