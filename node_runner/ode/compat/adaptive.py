"""The core's adaptive methods under torchdiffeq's options."""

from __future__ import annotations

from collections.abc import Callable
from math import inf, isnan

import torch
from torch import Tensor

from ..bracket import bracketed_root
from ..graph_memory import GraphMemory
from ..loop import Path, Step
from ..problem import Problem
from ..protocol import OnAccept
from ..solver import Solver
from ..state import Layout, State
from ..stats import Counts
from ..step import Tape, take_step
from ..times import rate
from ..tolerance import Norm
from .callbacks import Callbacks
from .norm import tightest
from .options import read_control
from .setting import Event, Setting
from .steering import Steering


class Adaptive:
    """The core's methods that choose their steps, under torchdiffeq's options."""

    def __init__(self, setting: Setting) -> None:
        control, norm = (
            read_control(setting.options, setting.intervals),
            setting.options.get("norm"),
        )
        if norm is not None and not callable(norm):
            raise ValueError(f"norm is {norm!r}, must be a function of the state")
        form, layout, rtol, atol = setting.form, setting.layout, setting.rtol, setting.atol
        callbacks = Callbacks(setting.called, form, layout, control.dtype)
        self.solver = Solver(
            setting.method,
            rtol=tightest(rtol),
            atol=max(tightest(atol), 1e-37),  # Solver refuses 0, which torchdiffeq takes
            first_step=control.first_step,
            max_steps=control.max_num_steps,
            steering=Steering(control, form, layout, rtol, atol, norm, callbacks),
        )
        self.atol = tightest(atol)

    def solve(self, f: Callable, y0: State, t: Tensor) -> State:
        """As ``Means``; the gradient in t is <g_i, f(t_i, y_i)>."""
        return self.solver(f, y0, t).ys

    def integrate(self, problem: Problem, on_accept: OnAccept | None = None) -> Tensor:
        return self.solver.integrate(problem, on_accept)

    def until(
        self, f: Callable, y0: State, t0: Tensor, event: Event, sign: float
    ) -> tuple[float, Tensor]:
        """As ``Means``, the event's time to atol on the method's interpolant."""
        path = self.path(f, y0, t0)

        def height(t: float, y: Tensor) -> float:
            time = torch.full((), t, dtype=path.layout.dtype, device=path.layout.device)
            with torch.no_grad():
                value = event(time, y).item()  # synchronises: its sign decides whether to go on
            if isnan(value):
                path.fail("event_fn returned NaN")
            return value

        before = height(path.t, path.y)
        for step in path.advance(sign * inf):
            after = height(step.t1, step.y1)
            if before and before * after <= 0:
                return self.crossing(step, height, before, after)
            before = after
        raise AssertionError("a path without end has ended")

    def crossing(
        self, step: Step, height: Callable[[float, Tensor], float], before: float, after: float
    ) -> tuple[float, Tensor]:
        """Where the height changes its sign in the step just taken, and the state there."""
        inside = within(step)
        with torch.no_grad():
            ends = (step.t0, step.t1, before, after)
            t = bracketed_root(lambda t: height(t, inside(t)), *ends, self.atol)
        return t, inside(t)

    def path(self, f: Callable, y0: State, t0: Tensor) -> Path:
        """From (t0, y0), with their graph where gradients are enabled."""
        solver, layout, counts = self.solver, Layout(y0), Counts()
        start = layout.start([y0] if layout.single else list(y0))
        weights = [1.0] * layout.fed
        problem = Problem(f, layout, start, [t0.item()], weights)
        if torch.is_grad_enabled() and t0.requires_grad:
            t0 = t0.to(layout.device, layout.dtype)
            start = start - rate(problem, 0, start) * (t0 - t0.detach())
        norm = Norm(layout, solver.rtol, solver.atol, weights)
        right_side, graph = problem.right_side(counts), torch.is_grad_enabled()
        path = solver.path(right_side, layout, problem.ts[0], start, norm, counts, graph)
        path.memory = GraphMemory() if graph else None
        return path


def within(step: Step) -> Callable[[float], Tensor]:
    """The flat solution inside the last step taken: on the method's interpolant, or, where it has
    none of its order, by a shorter step of the same method.
    """
    path, tableau = step.path, step.path.tableau
    if tableau.dense:
        path.complete(step)  # with a graph, where gradients are enabled

    def at(t: float) -> Tensor:
        if t in (step.t0, step.t1):
            return step.y0 if t == step.t0 else step.y1
        if tableau.dense:
            return step.at([t])[0]
        stages = Tape(tableau, path.layout)
        stages.k[0] = path.stages.k[0]
        return take_step(path.f, tableau, stages, step.t0, t, step.y0, tableau.stages)

    return at
