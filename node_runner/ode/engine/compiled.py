"""The engine ``compiled``: solves, step attempts and replayed steps as graphs with f inside.

f must be traceable by torch.compile: no read of a value, no branch on one. Evaluations are counted
here, by the rules of the eager loop. Whatever cannot be compiled runs eagerly, with one
logged reason a cause.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from math import inf
from typing import Any

import torch
from torch import Tensor

from ..control import PIControl
from ..error_norm import ErrorNorm, check_rounding
from ..integration import Integration
from ..problem import Problem
from ..protocol import SolverProtocol
from ..state import Layout
from ..stats import Counts
from ..stepper import Attempt, Diagnosis, Method
from ..steppers.explicit import ExplicitRungeKutta, ExplicitStepper, RungeKuttaInterpolant
from ..steppers.hermite import Hermite
from ..tableau import Tableau
from . import full_solve
from .graphs import Graph, find
from .traced_step import NormTensors, StepSpec, attempt, evaluate, norm_tensors


class Compiled:
    """How a solver has its steps taken; it holds nothing, the graphs belong to f."""

    def solve(self, solver: SolverProtocol, problem: Problem) -> Tensor | None:
        """The solution at ts[1], shape (1, width), without graph, as one graph with the loop in it;
        None where there is none.

        A solve that does not arrive is run again eagerly, to fail as that does.
        """
        tableau, counts = tableau_of(solver.scheme), problem.stats.forward
        if problem.wrap_rhs is not None and not tableau.adaptive:
            return None  # it has nothing to look at
        if tableau.adaptive:
            graph, arguments = adaptive_solve(solver, problem)
        else:
            graph, arguments = fixed_solve(solver, problem)
        found = None if graph is None else graph(problem.f, *arguments)
        if found is None:
            return None
        y, summary = found
        arrived, accepted, rejected = map(int, summary.tolist())  # synchronises, once a solve
        if not arrived:
            eager = copy(solver)
            eager.engine = "eager"
            return eager.integrate(problem)
        counts.accepted += accepted
        counts.rejected += rejected
        # What the eager loop asks for: a probe; stage 0 of each step, with FSAL of the first alone;
        # the other stages of each attempt.
        counts.nfe += (tableau.stages - 1) * (accepted + rejected)
        counts.nfe += 1 if tableau.fsal else accepted
        counts.nfe += tableau.adaptive and solver.first_step is None
        return y[None]

    def attach(self, integration: Integration, problem: Problem, inside: bool) -> None:
        """Have ``path`` take its steps in graphs; ``inside``: its steps will be interpolated."""
        tableau, layout = tableau_of(integration.method), integration.layout
        alone = not tableau.adaptive and not inside and problem.wrap_rhs is None
        kept = "all" if inside else "last" if tableau.fsal else "none"
        spec = StepSpec(tableau, layout, alone, tableau.stages, tableau.adaptive, kept)
        graph = find(problem.f, spec.key(), lambda: one_step(spec))
        if graph is None or graph.broken:
            return
        integration.f = Rates(problem, integration.f, integration.counts, spec)
        integration.stepper = CompiledStepper(integration, problem, spec, graph)

    def replay(
        self, problem: Problem, method: Method, t0: float, t1: float, y: Tensor
    ) -> Tensor | None:
        """y1 of an accepted step with its graph, whose backward pass is compiled too; None where
        that is not possible.
        """
        tableau, layout = tableau_of(method), problem.layout
        spec = StepSpec(
            tableau, layout, evaluates_first_stage=True, stages=tableau.stages - tableau.fsal
        )
        graph = find(problem.f, spec.key(), lambda: one_step(spec))
        times = scalar_tensor(t0, layout), scalar_tensor(t1, layout)
        found = None if graph is None else graph(problem.f, *times, y, None, None)
        if found is None:
            return None
        problem.stats.backward.nfe += spec.stages
        return found.y1


def tableau_of(method: Method) -> Tableau:
    """The coefficients of an explicit Runge-Kutta method, the only kind that is compiled."""
    if not isinstance(method, ExplicitRungeKutta):
        raise TypeError(f"{method!r} is not an explicit Runge-Kutta method")
    return method.tableau


class Rates:
    """f on the flat state as one graph, counted as ``RightSide`` counts.

    The first evaluation of a guarded solve is the guard's, which looks at its graph.
    """

    def __init__(self, problem: Problem, eager: Callable, counts: Counts, spec: StepSpec) -> None:
        self.f, self.layout, self.eager, self.counts = problem.f, problem.layout, eager, counts
        self.guarded = problem.wrap_rhs is not None
        alone = spec.rate_only()
        self.graph = find(self.f, alone.key(), lambda: one_rate(alone))

    def __call__(self, stage: int | None, t: float, y: Tensor) -> list[Tensor]:
        if not self.guarded and self.graph is not None:
            found = self.graph(self.f, scalar_tensor(t, self.layout), y)
            if found is not None:
                self.counts.nfe += 1
                return [found]
        self.guarded = False
        return self.eager(stage, t, y)


class CompiledStepper(ExplicitStepper):
    """Takes steps in a graph; eagerly from the first on that cannot be compiled, and again what is
    asked about afterwards.
    """

    def __init__(
        self, integration: Integration, problem: Problem, spec: StepSpec, graph: Graph
    ) -> None:
        super().__init__(integration.f, spec.tableau, integration.layout, graph=True, judged=True)
        self.counts, self.problem, self.spec = integration.counts, problem, spec
        self.graph: Graph | None = graph
        self.norm = norm_tensors(integration.norm) if spec.judged else None
        self.tried = False  # whether there has been an attempt

    def attempt(self, t0: float, t1: float, y: Tensor) -> Attempt:
        if self.graph is None:
            return super().attempt(t0, t1, y)
        layout, spec = self.layout, self.spec
        if not spec.evaluates_first_stage:
            self.start(t0, y)
        k = self.stages.k  # another list after each start
        times = scalar_tensor(t0, layout), scalar_tensor(t1, layout)
        found = self.graph(
            self.problem.f, *times, y, None if spec.evaluates_first_stage else k[0], self.norm
        )
        if found is None:
            self.graph = None
            return super().attempt(t0, t1, y)
        self.counts.nfe += self.tableau.stages - (not spec.evaluates_first_stage)
        if spec.returned_rates == "all":
            k[: len(found.rates)] = [k[0], *found.rates[1:]]
        elif spec.returned_rates == "last":
            k[-1] = found.rates[0]
        self.t0, self.t1, self.y, self.y1, self.tried = t0, t1, y, found.y1, True
        return Attempt(found.y1, None, found.ratio)

    def interpolant(self) -> RungeKuttaInterpolant | Hermite:
        if self.graph is not None and self.spec.returned_rates != "all":
            self.recompute_eagerly()
            self.accept()
        return super().interpolant()

    def diagnose(self) -> Diagnosis:
        error = None
        if self.graph is not None and self.tried:
            error = self.recompute_eagerly().error
        return Diagnosis(super().diagnose().culprit, error)

    def recompute_eagerly(self) -> Attempt:
        """The last attempt, eagerly, so that all its rates are there."""
        self.started, self.ended = not self.spec.evaluates_first_stage, False
        return super().attempt(self.t0, self.t1, self.y)


def one_rate(spec: StepSpec) -> Callable:
    def rate(f: Callable, t: Tensor, y: Tensor) -> Tensor:
        return evaluate(f, spec.layout, t, y)

    return rate


def one_step(spec: StepSpec) -> Callable:
    def step(
        f: Callable, t0: Tensor, t1: Tensor, y: Tensor, k0: Tensor | None, norm: NormTensors | None
    ) -> Any:
        return attempt(f, spec, t0, t1, y, k0, norm)

    return step


def adaptive_solve(solver: SolverProtocol, problem: Problem) -> tuple[Graph | None, tuple]:
    """The graph of a solve that chooses its steps, and its arguments."""
    tableau, layout, y = tableau_of(solver.scheme), problem.layout, problem.y0.detach()
    kept = "last" if tableau.fsal else "none"
    spec = StepSpec(tableau, layout, stages=tableau.stages, judged=True, returned_rates=kept)
    rule = PIControl(0.0, solver.scheme.exponent)
    k0 = first = None
    if problem.wrap_rhs is not None:  # the first evaluation is looked at; ``solve`` counts it
        k0 = layout.flatten(problem.right_side(Counts())(0, problem.ts[0], y))
    if solver.first_step is not None:
        first = scalar_tensor(solver.first_step, layout)
    key = "whole", spec.key(), k0 is None, first is None
    graph = find(problem.f, key, lambda: adaptive(spec, rule), **of_a_loop(layout))
    numbers = (scalar_tensor(v, layout) for v in (*problem.ts, solver.max_steps))
    check_rounding(solver.rtol, solver.atol, layout.dtype)
    norm = ErrorNorm(layout, solver.rtol, solver.atol, problem.weights)
    return graph, (y, k0, first, *numbers, *norm_tensors(norm))


def fixed_solve(solver: SolverProtocol, problem: Problem) -> tuple[Graph | None, tuple]:
    """The graph of a solve in fixed steps, and its arguments."""
    layout, (start, end) = problem.layout, problem.ts
    tableau = tableau_of(solver.scheme)
    spec = StepSpec(tableau, layout, evaluates_first_stage=True, stages=tableau.stages)
    graph = find(problem.f, ("whole", spec.key()), lambda: fixed(spec), **of_a_loop(layout))
    step_size = min(solver.step_size or inf, abs(end - start))
    numbers = (scalar_tensor(v, layout) for v in (start, end, solver.max_steps, step_size))
    return graph, (problem.y0.detach(), *numbers)


def of_a_loop(layout: Layout) -> dict[str, bool]:
    """In C++ a turn of the loop costs two thirds of one in Python; off the CPU it is untried."""
    return {"cpp_wrapper": layout.device.type == "cpu"}


def adaptive(spec: StepSpec, rule: PIControl) -> Callable:
    def solve(
        f: Callable, y: Tensor, k0: Tensor | None, first: Tensor | None, *numbers: Tensor
    ) -> tuple[Tensor, Tensor]:
        t, end, cap, *of_norm = numbers
        return full_solve.adaptive(f, spec, rule, y, k0, first, t, end, cap, NormTensors(*of_norm))

    return solve


def fixed(spec: StepSpec) -> Callable:
    def solve(f: Callable, y: Tensor, *numbers: Tensor) -> tuple[Tensor, Tensor]:
        return full_solve.fixed(f, spec, y, *numbers)

    return solve


def scalar_tensor(t: float, layout: Layout) -> Tensor:
    """A time or a number as a 0-dim tensor; on an accelerator a fill, which does not wait as a copy
    from the host does.
    """
    if layout.device.type == "cpu":
        return torch.tensor(t, dtype=torch.float64)
    return torch.full((), t, dtype=torch.float64, device=layout.device)
