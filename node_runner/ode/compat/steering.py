"""torchdiffeq's options of step control, put on a path of the core."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import copysign, inf, isfinite, ulp

import torch
from torch import Tensor

from ..control import FixedControl, PIControl
from ..loop import Path
from ..state import Layout, State
from ..stepper import Rates
from .callbacks import Callbacks
from .form import Form
from .norm import OwnNorm, Tolerance, default_norm, floored, repeated
from .options import Control


@dataclass(frozen=True)
class Steering:
    """Changes a fresh path so that it obeys the options.

    Args:
        control: the options.
        form, layout: of the state; a path of several such states side by side, as the adjoint's is,
            is measured part by part.
        rtol, atol: of each number of the state.
        norm: of the caller, or None for the largest RMS of any entry.
        callbacks: told of every attempt.
    """

    control: Control
    form: Form
    layout: Layout
    rtol: Tolerance
    atol: Tolerance
    norm: Callable[[State], object] | None
    callbacks: Callbacks

    def __call__(self, path: Path) -> None:
        path.cap = "max_num_steps"
        if path.method.adaptive:
            self.measure(path)
        if path.method.adaptive or self.callbacks.called:
            path.control = Bounded(path, self.control, self.callbacks)
        path.stops, path.jumps = self.control.stops, frozenset(self.control.jumps)
        if path.jumps:
            path.f = Sided(path.f, path, path.layout.dtype)

    def measure(self, path: Path) -> None:
        """The tolerances and the norm. The core's own norm serves where it can: it is faster."""
        norm = self.norm
        if norm is None and any(dtype.is_complex for dtype in self.form.dtypes):
            norm = default_norm
        if norm is not None:
            extra = path.norm.extra
            path.norm = OwnNorm(self.form, self.layout, norm, self.rtol, self.atol, extra)
            return
        rtol, atol = (torch.as_tensor(each).to(path.y) for each in (self.rtol, self.atol))
        path.norm.rtol, path.norm.atol = repeated(rtol, path.y), repeated(floored(atol), path.y)


class Bounded:
    """The core's control with bounds on the step, and callbacks before and after each attempt.

    Args:
        path: that is controlled, for what callbacks are told and for the estimate of a first step.
        options: see ``Control``.
        callbacks: told of every attempt.
    """

    def __init__(self, path: Path, options: Control, callbacks: Callbacks) -> None:
        self.path, self.options, self.callbacks = path, options, callbacks
        self.inner: FixedControl | PIControl | None = path.control
        if isinstance(self.inner, PIControl):
            self.inner = self.pi(self.inner.dt)

    def pi(self, dt: float) -> PIControl:
        return PIControl(dt, self.path.method.exponent, **self.options.factors)

    @property
    def dt(self) -> float:
        """The size to propose next."""
        return max(self.inner.dt, self.options.min_step)

    def begin(self, t: float) -> None:
        """A stretch begins at t."""
        if self.inner is not None:
            self.inner.begin(t)

    def propose(self, t: float, end: float) -> float:
        """End of the next step, within the bounds; only a step that lands somewhere may be below
        min_step.
        """
        if self.inner is None:
            first = self.path.first_step(end)
            self.inner = self.pi(first if isfinite(first) else 1.0)  # at rest, without an end
        if isinstance(self.inner, PIControl):
            # PIControl may stretch a step by a hundredth to reach the end.
            most = self.options.max_step / 1.01
            self.inner.dt = min(max(self.inner.dt, self.options.min_step), most)
        t1 = self.inner.propose(t, end)
        self.callbacks("step", t, self.path.y, t1 - t)
        return t1

    def judge(self, size: float, ratio: float) -> bool:
        """As PIControl, but a step of min_step or less is accepted whatever its error."""
        path, accepted = self.path, self.inner.judge(size, ratio)
        rounding = 2 * ulp(abs(path.t) + size)  # t1 - t is not the size that was proposed
        if not accepted and size <= self.options.min_step + rounding:
            if not isfinite(ratio):
                path.fail(f"a step of min_step={self.options.min_step:g} is not finite")
            accepted = True
        event = "accept_step" if accepted else "reject_step"
        self.callbacks(event, path.t, path.y, path.last_dt)
        return accepted


class Sided:
    """Rates that never see a jump's own time: a step that ends there is evaluated just before it,
    one that starts there just after.
    """

    def __init__(self, f: Rates, path: Path, dtype: torch.dtype) -> None:
        self.f, self.path, self.dtype = f, path, dtype

    def __call__(self, stage: int | None, t: float, flat: Tensor) -> list[Tensor]:
        if t in self.path.jumps:
            onwards = copysign(inf, self.path.heading)
            t = self.beside(t, onwards if t == self.path.t else -onwards)
        return self.f(stage, t, flat)

    def beside(self, t: float, towards: float) -> float:
        """The neighbour of t in the state's dtype, which is that of the times func sees."""
        here, there = (torch.tensor(x, dtype=self.dtype) for x in (t, towards))
        return torch.nextafter(here, there).item()
