"""The core's adaptive methods under torchdiffeq's options."""

from __future__ import annotations

from collections.abc import Callable
from math import inf, isnan

import torch
from torch import Tensor

from ..loop import Path
from ..problem import Problem
from ..protocol import OnAccept
from ..solver import Solver
from ..state import Layout, State
from ..stats import Counts
from ..times import rate
from ..tolerance import Norm
from .callbacks import Callbacks
from .dense import Dense, Piece
from .norm import tightest
from .options import read_control
from .root import root
from .setting import Event, Setting
from .steering import Steering

EVENT_STEPS = 100_000


class Adaptive:
    """The core's methods that choose their steps, under torchdiffeq's options."""

    def __init__(self, setting: Setting) -> None:
        control, norm = read_control(setting.options), setting.options.get("norm")
        if norm is not None and not callable(norm):
            raise ValueError(f"norm is {norm!r}, must be a function of the state")
        form, layout, rtol, atol = setting.form, setting.layout, setting.rtol, setting.atol
        callbacks = Callbacks(setting.called, form, layout, control.dtype)
        self.capped = "max_num_steps" in setting.options
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
        if not self.capped:
            path.max_steps = EVENT_STEPS

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
                inside = Dense([Piece.of(step)], path.f, path.layout, path.tableau)
                with torch.no_grad():
                    ends = step.t0, step.t1, before, after
                    t = root(
                        lambda t, inside=inside: height(t, inside.at(t)),
                        *ends,
                        max(self.atol, 1e-15),
                    )
                return t, inside.at(t)
            before = after
        raise AssertionError("a path without end has ended")

    def dense(self, f: Callable, y0: State, t0: Tensor, t1: float) -> Dense:
        """The solution between t0 and t1, all steps kept."""
        path = self.path(f, y0, t0)
        pieces = [Piece.of(step) for step in path.advance(t1)]
        return Dense(pieces, path.f, path.layout, path.tableau)

    def path(self, f: Callable, y0: State, t0: Tensor) -> Path:
        """From (t0, y0), with their graph where gradients are enabled."""
        solver, layout, counts = self.solver, Layout(y0), Counts()
        start = layout.flatten([y0] if layout.single else list(y0))
        weights = [1.0] * layout.fed
        problem = Problem(f, layout, start, [t0.item()], weights)
        if torch.is_grad_enabled() and t0.requires_grad:
            t0 = t0.to(layout.device, layout.dtype)
            start = start - rate(problem, 0, start) * (t0 - t0.detach())
        norm = Norm(layout, solver.rtol, solver.atol, weights)
        right_side, graph = problem.right_side(counts), torch.is_grad_enabled()
        return solver.path(right_side, layout, problem.ts[0], start, norm, counts, graph)
