"""The core's adaptive methods under torchdiffeq's options."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import inf

import torch
from torch import Tensor

from ..graph_memory import GraphMemory
from ..loop import Path, Step
from ..problem import Problem
from ..protocol import OnAccept
from ..recording import KeptStep
from ..solver import Solver
from ..state import Layout, State
from ..stats import Counts
from ..step import Tape, take_step
from ..times import rate
from ..tolerance import Norm
from ..watch import PLACES, ConditionIsNaN, Conditions, Watch, watched
from .callbacks import Callbacks
from .norm import tightest
from .options import read_control
from .setting import Setting
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
        self, f: Callable, y0: State, t0: Tensor, conditions: Conditions, sign: float
    ) -> tuple[int, float, Tensor]:
        """As ``Means``, on the method's interpolant."""
        path = self.path(f, y0, t0)
        dense = path.method.dense
        watch = Watch(conditions, path.layout, t0.dtype, PLACES if dense else (1.0,))
        view = partial(kept, path) if dense else partial(Retaken, path)
        try:
            for step in watched(path, lambda path: path.advance(sign * inf), watch, view):
                if watch.index is not None:
                    y = step.y1 if watch.t == step.t1 else step.at([watch.t])[0]
                    return watch.index, watch.t, y
        except ConditionIsNaN as error:
            path.fail(f"{error.label} returned NaN at t={error.t:g}")
        raise AssertionError("a path without end has ended")

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


def kept(path: Path, step: Step) -> KeptStep:
    """A step with its interpolant, until the next is taken."""
    return KeptStep(step.t0, step.t1, step.y0, step.y1, step.interpolant)


class Retaken:
    """A step of a method without an interpolant of its order, whose inner states are the ends of
    shorter steps.
    """

    def __init__(self, path: Path, step: Step) -> None:
        self.path, self.t0, self.t1 = path, step.t0, step.t1
        self.y0, self.y1, self.first_rate = step.y0, step.y1, step.stepper.stages.k[0]

    def at(self, times: list[float]) -> Tensor:
        """Shape (len(times), width), with their graph where gradients are enabled."""
        return torch.stack([self.end(t) for t in times])

    def end(self, t: float) -> Tensor:
        path, tableau = self.path, self.path.method.tableau
        stages = Tape(tableau, path.layout)
        stages.k[0] = self.first_rate
        return take_step(path.f, tableau, stages, self.t0, t, self.y0, tableau.stages)

    @torch.no_grad()
    def slope(self, t: float) -> Tensor:
        """f itself."""
        y = self.y0 if t == self.t0 else self.end(t)
        return self.path.layout.flatten(self.path.f(None, t, y))
