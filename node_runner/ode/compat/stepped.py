"""Solves by fixed steps, and SciPy's."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ..problem import Problem
from ..protocol import OnAccept
from ..rhs import Rhs
from ..state import Layout, State
from ..watch import Conditions
from . import grid, scipy, steppers
from .callbacks import Callbacks
from .options import OF_GRIDS, SCIPY
from .setting import Setting, flat_field, guarded


class Grid:
    """Fixed steps: ``grid`` with one of ``steppers``."""

    def __init__(self, setting: Setting) -> None:
        options = dict(setting.options)
        self.options = {name: options.pop(name) for name in OF_GRIDS if name in options}
        rtol, atol = setting.rtol, setting.atol
        self.stepper = steppers.get(setting.method, rtol=rtol, atol=atol, **options)
        self.form = setting.form
        self.on_step = None
        if setting.called:
            callbacks = Callbacks(
                setting.called, setting.form, setting.layout, setting.layout.dtype
            )
            self.on_step = lambda t0, y0, dt: callbacks("step", t0, y0, dt)

    def solve(self, f: Callable, y0: State, t: Tensor) -> State:
        """As ``Means``; the gradient in t is that of the discrete solve."""
        layout = Layout(y0)
        start, rhs = layout.start([y0] if layout.single else list(y0)), Rhs(f, layout.device)
        with rhs.arithmetic():
            return layout.copies(self.ys(flat_field(rhs, layout), start, t, rhs, layout))

    def integrate(self, problem: Problem, on_accept: OnAccept | None = None) -> Tensor:
        f, t = guarded(problem), torch.tensor(problem.ts, dtype=torch.float64)
        return self.ys(f, problem.y0, t, problem.rhs, problem.layout)[1:]

    def ys(self, flat: Callable, y0: Tensor, t: Tensor, f: Callable, layout: Layout) -> Tensor:
        options = dict(self.options)
        make = options.get("grid_constructor")
        if make is not None:
            form = self.form
            options["grid_constructor"] = lambda _, y, t: make(
                lambda t, y: form.outer(f(t, form.inner(y))), form.outer(layout.copies(y)), t
            )
        return grid.solve(flat, y0, t, self.stepper, on_step=self.on_step, **options)

    def until(
        self, f: Callable, y0: State, t0: Tensor, conditions: Conditions, sign: float
    ) -> tuple[int, float, Tensor]:
        """As ``Means``, by steps of step_size."""
        options = dict(self.options)
        if options.pop("grid_constructor", None) is not None:
            raise ValueError(
                "grid_constructor has no end to make a grid to where an event ends the solve; "
                "choose step_size"
            )
        layout = Layout(y0)
        start = layout.start([y0] if layout.single else list(y0))
        rhs = Rhs(f, layout.device)
        with rhs.arithmetic():
            return grid.solve_until_event(
                flat_field(rhs, layout),
                start,
                t0,
                conditions,
                self.stepper,
                sign=sign,
                on_step=self.on_step,
                **options,
            )


class Scipy:
    """SciPy's solvers, without a graph."""

    def __init__(self, setting: Setting) -> None:
        self.setting = setting

    def solve(self, f: Callable, y0: State, t: Tensor) -> State:
        """As ``Means``, but without a graph."""
        layout = Layout(y0)
        start = layout.start([y0] if layout.single else list(y0))
        return layout.copies(self.ys(flat_field(f, layout), start, t))

    def integrate(self, problem: Problem, on_accept: OnAccept | None = None) -> Tensor:
        t = torch.tensor(problem.ts, dtype=torch.float64)
        return self.ys(guarded(problem), problem.y0, t)[1:]

    def ys(self, flat: Callable, y0: Tensor, t: Tensor) -> Tensor:
        setting = self.setting
        return scipy.solve(flat, y0, t, rtol=setting.rtol, atol=setting.atol, **setting.options)

    def until(
        self, f: Callable, y0: State, t0: Tensor, conditions: Conditions, sign: float
    ) -> tuple[int, float, Tensor]:
        raise ValueError(
            f"{SCIPY} finds no events; choose an adaptive method such as dopri5, or a fixed-step "
            "one with step_size"
        )
