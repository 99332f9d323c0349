"""Recorded solves, which are read and differentiated at times given later."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import copysign, inf, isfinite
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from .engine import ENGINES
from .error_norm import ErrorNorm
from .integration import Integration, Step
from .problem import Problem
from .protocol import OnAccept, SolverProtocol
from .state import Layout
from .stats import Counts
from .stepper import Interpolant, Rates
from .transforms import all_finite, records, transformed

if TYPE_CHECKING:
    from .events.detection import EventDetector


@dataclass(frozen=True)
class StoredStep:
    """One accepted step from (t0, y0) to (t1, y1), and the solution inside it or None."""

    t0: float
    t1: float
    y0: Tensor
    y1: Tensor
    interpolant: Interpolant | None  # only of steps that are read inside

    def curve(self) -> Interpolant:
        """Return the solution inside the step.

        Raises:
            ValueError: if it was not recorded.
        """
        if self.interpolant is None:
            raise ValueError(f"the solution inside the step from t={self.t0:g} was not recorded")
        return self.interpolant

    def at(self, times: list[float]) -> Tensor:
        """The solution at times inside the step, shape (len(times), width)."""
        return self.curve().at(times)

    def at_tensor(self, t: Tensor) -> Tensor:
        """The same at t, shape (T,), differentiable in t as often as is wanted."""
        return self.curve().at_tensor(t)

    def slope(self, t: float) -> Tensor:
        """The interpolant's derivative at t, shape (width,)."""
        return self.curve().slope(t)


class StepRecorder:
    """A solver whose solve is kept: it integrates once and is then read.

    It is itself an ``Integrator``. The gradient strategy that is handed it first solves with it,
    and so decides whether the steps keep their graph; handed it again with other times, a strategy
    finds the same solution there, at no evaluation of f, and differentiates it in its own way.

    Args:
        solver: takes the steps.
        stop_when: ends the solve in the step with the first event.
        keep: everything of all steps, the states of all and the rates of the last ("states"), or
            nothing but the "last" step.

    Attributes:
        steps: those accepted.
        graph: whether they have one.

    Raises:
        ValueError: for steps from output to output.
    """

    def __init__(
        self,
        solver: SolverProtocol,
        stop_when: EventDetector | None = None,
        keep: Literal["all", "states", "last"] = "all",
    ) -> None:
        refuse_infinite_steps(solver)
        self.solver, self.stop_when, self.keep = solver, stop_when, keep
        self.method, self.scheme, self.engine = solver.method, solver.scheme, solver.engine
        self.rtol, self.atol, self.tolerances = solver.rtol, solver.atol, solver.tolerances
        self.jumps, self.norm_of = solver.jumps, solver.norm_of
        self.steps: list[StoredStep] = []
        self.graph = False

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
        return self.solver.start_integration(f, layout, t, y, norm, counts, graph)

    def integrate(self, problem: Problem, on_accept: OnAccept | None = None) -> Tensor:
        """Return the recorded solution at ts[1:], shape (T - 1, width). The first call solves: if
        ``stop_when`` ends it early, its result is the state there, shape (1, width).
        """
        if not self.steps:
            return self.record(problem)
        ts, outputs, i = problem.ts, [], 1
        sign = 1.0 if ts[-1] > ts[0] else -1.0
        for step in self.steps if on_accept else self.steps[self.index(ts[1]) :]:
            first = i
            while i < len(ts) and (step.t1 - ts[i]) * sign > 0:
                i += 1
            inside, lands = ts[first:i], i < len(ts) and step.t1 == ts[i]
            if on_accept is not None:
                on_accept(step, inside, lands)
            if inside:
                outputs.append(step.at(inside))
            if lands:
                outputs.append(step.y1[None])
                i += 1
            if i == len(ts):
                break
        return outputs[0] if len(outputs) == 1 else torch.cat(outputs)

    def record(self, problem: Problem) -> Tensor:
        """Solve from ts[0] to ts[-1] and keep the steps."""
        self.graph = records()
        integration = self.solver.begin(problem, problem.stats.forward, self.graph)
        engine = None if transformed() else ENGINES[self.engine]
        if engine is not None:
            engine.attach(integration, problem, inside=True)
        for step in self.taken(integration, problem.ts[-1]):
            if self.keep == "last":
                self.steps.clear()
            elif self.keep == "states" and self.steps:
                self.steps[-1] = replace(self.steps[-1], interpolant=None)
            self.steps.append(step)
        last = self.steps[-1]
        if not self.scheme.adaptive and not all_finite(last.y1):
            self.solver.explain(replace(problem, ts=[problem.ts[0], last.t1]))
        return last.y1[None]

    def taken(self, integration: Integration, end: float) -> Iterator[StoredStep]:
        """Accepted steps, up to the first event."""

        def view(step: Step) -> StoredStep:
            return StoredStep(step.t0, step.t1, step.y0, step.y1, step.interpolant.frozen())

        if self.stop_when is None:
            return map(view, steps(integration, end))
        return self.stop_when.steps(integration, lambda solve: steps(solve, end), view)

    def index(self, t: float) -> int:
        """The number of the step in which t lies; of two that meet there, of the first."""
        sign = copysign(1.0, self.steps[-1].t1 - self.steps[-1].t0)
        return bisect_left(self.steps, sign * t, key=lambda step: sign * step.t1)


def steps(integration: Integration, end: float) -> Iterator[Step]:
    """Accepted steps up to ``end``. An infinite one is approached in stretches that double, since
    steps are measured against what is left.
    """
    if isfinite(end):
        yield from integration.advance(end)
        return
    start, length = integration.t, copysign(1.0, end)
    while isfinite(start + length):
        yield from integration.advance(start + length)
        length *= 2
    integration.fail("no event has happened before the largest number that there is")


def record(solver: SolverProtocol, recording: StepRecorder, problem: Problem) -> bool:
    """Solve once, by the solver's strategy where gradients are enabled, and say whether they are.

    What the strategy returns is let go: it is asked again, for the times that are wanted.
    """
    if not torch.is_grad_enabled():
        recording.integrate(problem)
        return False
    solver.gradient(recording, problem)
    return True


def read(
    solver: SolverProtocol, recording: StepRecorder, problem: Problem, differentiable: bool
) -> Tensor:
    """The kept solution at ts[1:], by the solver's strategy where it is differentiable."""
    if differentiable and torch.is_grad_enabled():
        return solver.gradient(recording, problem)
    with torch.no_grad():
        return recording.integrate(problem)


def refuse_infinite_steps(solver: SolverProtocol) -> None:
    if solver.step_size == inf:
        raise ValueError(
            "step_size is inf, steps from output to output, and dense output and events "
            "have no outputs: give a finite step_size"
        )
