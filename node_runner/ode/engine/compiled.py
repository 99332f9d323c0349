"""The engine ``compiled``: solves, step attempts and replayed steps as graphs with f inside.

f must be traceable by torch.compile: no read of a value, no branch on one. Evaluations are counted
here, by the rules of the eager loop. Whatever cannot be compiled runs eagerly, with one
logged reason a cause.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from typing import Any

import torch
from torch import Tensor

from ..control import PIControl
from ..loop import Path
from ..problem import Problem
from ..protocol import Solves
from ..state import Layout
from ..stats import Counts
from ..stepper import Attempt, Diagnosis, Method
from ..steppers.explicit import ExplicitStepper, RungeKuttaInterpolant
from ..tolerance import Norm, check_rounding
from . import whole
from .graphs import Graph, find
from .plan import Limits, Plan, attempt, evaluate, limits


class Compiled:
    """How a solver has its steps taken; it holds nothing, the graphs belong to f."""

    def solve(self, solver: Solves, problem: Problem) -> Tensor | None:
        """The solution at ts[1], shape (1, width), without graph, as one graph with the loop in it;
        None where there is none.

        A solve that does not arrive is run again eagerly, to fail as that does.
        """
        tableau, counts = solver.scheme.tableau, problem.stats.forward
        if problem.guard is not None and not tableau.adaptive:
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

    def drive(self, path: Path, problem: Problem, inside: bool) -> None:
        """Have ``path`` take its steps in graphs; ``inside``: its steps will be interpolated."""
        tableau, layout = path.method.tableau, path.layout
        alone = not tableau.adaptive and not inside and problem.guard is None
        kept = "all" if inside else "last" if tableau.fsal else "none"
        plan = Plan(tableau, layout, alone, tableau.stages, tableau.adaptive, kept)
        graph = find(problem.f, plan.key(), lambda: one_step(plan))
        if graph is None or graph.broken:
            return
        path.f = Rates(problem, path.f, path.counts, plan)
        path.stepper = CompiledStepper(path, problem, plan, graph)

    def replay(
        self, problem: Problem, method: Method, t0: float, t1: float, y: Tensor
    ) -> Tensor | None:
        """y1 of an accepted step with its graph, whose backward pass is compiled too; None where
        that is not possible.
        """
        tableau, layout = method.tableau, problem.layout
        plan = Plan(tableau, layout, fresh=True, stages=tableau.stages - tableau.fsal)
        graph = find(problem.f, plan.key(), lambda: one_step(plan))
        times = seconds(t0, layout), seconds(t1, layout)
        found = None if graph is None else graph(problem.f, *times, y, None, None)
        if found is None:
            return None
        problem.stats.backward.nfe += plan.stages
        return found.y1


class Rates:
    """f on the flat state as one graph, counted as ``RightSide`` counts.

    The first evaluation of a guarded solve is the guard's, which looks at its graph.
    """

    def __init__(self, problem: Problem, eager: Callable, counts: Counts, plan: Plan) -> None:
        self.f, self.layout, self.eager, self.counts = problem.f, problem.layout, eager, counts
        self.guarded = problem.guard is not None
        alone = plan.of_a_rate()
        self.graph = find(self.f, alone.key(), lambda: one_rate(alone))

    def __call__(self, stage: int | None, t: float, y: Tensor) -> list[Tensor]:
        if not self.guarded and self.graph is not None:
            found = self.graph(self.f, seconds(t, self.layout), y)
            if found is not None:
                self.counts.nfe += 1
                return [found]
        self.guarded = False
        return self.eager(stage, t, y)


class CompiledStepper(ExplicitStepper):
    """Takes steps in a graph; eagerly from the first on that cannot be compiled, and again what is
    asked about afterwards.
    """

    def __init__(self, path: Path, problem: Problem, plan: Plan, graph: Graph) -> None:
        super().__init__(path.f, plan.tableau, path.layout, graph=True, judged=True)
        self.counts, self.problem, self.plan = path.counts, problem, plan
        self.graph: Graph | None = graph
        self.limits = limits(path.norm) if plan.judged else None
        self.t0 = None  # of the last attempt

    def attempt(self, t0: float, t1: float, y: Tensor) -> Attempt:
        if self.graph is None:
            return super().attempt(t0, t1, y)
        layout, plan = self.layout, self.plan
        if not plan.fresh:
            self.start(t0, y)
        k = self.stages.k  # another list after each start
        times = seconds(t0, layout), seconds(t1, layout)
        found = self.graph(self.problem.f, *times, y, None if plan.fresh else k[0], self.limits)
        if found is None:
            self.graph = None
            return super().attempt(t0, t1, y)
        self.counts.nfe += self.tableau.stages - (not plan.fresh)
        if plan.kept == "all":
            k[: len(found.rates)] = [k[0], *found.rates[1:]]
        elif plan.kept == "last":
            k[-1] = found.rates[0]
        self.t0, self.t1, self.y, self.y1 = t0, t1, y, found.y1
        return Attempt(found.y1, None, found.ratio)

    def interpolant(self) -> RungeKuttaInterpolant:
        if self.graph is not None and self.plan.kept != "all":
            self.again()
            self.accept()
        return super().interpolant()

    def diagnose(self) -> Diagnosis:
        error = None
        if self.graph is not None and self.t0 is not None:
            error = self.again().error
        return Diagnosis(super().diagnose().culprit, error)

    def again(self) -> Attempt:
        """The last attempt, eagerly, so that all its rates are there."""
        self.started, self.ended = not self.plan.fresh, False
        return super().attempt(self.t0, self.t1, self.y)


def one_rate(plan: Plan) -> Callable:
    def rate(f: Callable, t: Tensor, y: Tensor) -> Tensor:
        return evaluate(f, plan.layout, t, y)

    return rate


def one_step(plan: Plan) -> Callable:
    def step(
        f: Callable, t0: Tensor, t1: Tensor, y: Tensor, k0: Tensor | None, limits: Limits | None
    ) -> Any:
        return attempt(f, plan, t0, t1, y, k0, limits)

    return step


def adaptive_solve(solver: Solves, problem: Problem) -> tuple[Graph | None, tuple]:
    """The graph of a solve that chooses its steps, and its arguments."""
    tableau, layout, y = solver.scheme.tableau, problem.layout, problem.y0.detach()
    kept = "last" if tableau.fsal else "none"
    plan = Plan(tableau, layout, stages=tableau.stages, judged=True, kept=kept)
    rule = PIControl(0.0, solver.scheme.exponent)
    k0 = first = None
    if problem.guard is not None:  # the first evaluation is looked at; ``solve`` counts it
        k0 = layout.flatten(problem.right_side(Counts())(0, problem.ts[0], y))
    if solver.first_step is not None:
        first = seconds(solver.first_step, layout)
    key = "whole", plan.key(), k0 is None, first is None
    graph = find(problem.f, key, lambda: adaptive(plan, rule), **of_a_loop(layout))
    numbers = (seconds(v, layout) for v in (*problem.ts, solver.max_steps))
    check_rounding(solver.rtol, solver.atol, layout.dtype)
    norm = Norm(layout, solver.rtol, solver.atol, problem.weights)
    return graph, (y, k0, first, *numbers, *limits(norm))


def fixed_solve(solver: Solves, problem: Problem) -> tuple[Graph | None, tuple]:
    """The graph of a solve in fixed steps, and its arguments."""
    layout, (start, end) = problem.layout, problem.ts
    tableau = solver.scheme.tableau
    plan = Plan(tableau, layout, fresh=True, stages=tableau.stages)
    graph = find(problem.f, ("whole", plan.key()), lambda: fixed(plan), **of_a_loop(layout))
    step_size = min(solver.step_size, abs(end - start))
    numbers = (seconds(v, layout) for v in (start, end, solver.max_steps, step_size))
    return graph, (problem.y0.detach(), *numbers)


def of_a_loop(layout: Layout) -> dict[str, bool]:
    """In C++ a turn of the loop costs two thirds of one in Python; off the CPU it is untried."""
    return {"cpp_wrapper": layout.device.type == "cpu"}


def adaptive(plan: Plan, rule: PIControl) -> Callable:
    def solve(
        f: Callable, y: Tensor, k0: Tensor | None, first: Tensor | None, *numbers: Tensor
    ) -> tuple[Tensor, Tensor]:
        t, end, cap, *of_norm = numbers
        return whole.adaptive(f, plan, rule, y, k0, first, t, end, cap, Limits(*of_norm))

    return solve


def fixed(plan: Plan) -> Callable:
    def solve(f: Callable, y: Tensor, *numbers: Tensor) -> tuple[Tensor, Tensor]:
        return whole.fixed(f, plan, y, *numbers)

    return solve


def seconds(t: float, layout: Layout) -> Tensor:
    """A time or a number as a 0-dim tensor; on an accelerator a fill, which does not wait as a copy
    from the host does.
    """
    if layout.device.type == "cpu":
        return torch.tensor(t, dtype=torch.float64)
    return torch.full((), t, dtype=torch.float64, device=layout.device)
