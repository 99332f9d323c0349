"""The loop over steps: it yields the accepted steps of a solution, for whatever follows it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence, Set
from dataclasses import dataclass
from functools import cached_property
from math import copysign, inf, isfinite, isnan, nan
from typing import TYPE_CHECKING, NoReturn, cast

import torch
from torch import Tensor

from . import observation
from .control import FixedControl, PIControl, underflows
from .diagnosis import solver_error
from .error_norm import ErrorNorm
from .errors import changed_in_place
from .state import Layout, State
from .stats import Counts
from .step import version
from .stepper import (
    Attempt,
    Interpolant,
    Method,
    Rates,
    StepFailed,
    Stepper,
    VariableOrderStepper,
)

if TYPE_CHECKING:
    from .graph_memory import GraphMemory

Control = FixedControl | PIControl
OnAttempt = Callable[[str, float, State, float], object]
"""(event, t, state, dt), called with "step" before an attempt, with "accept_step" or "reject_step"
after it."""


@dataclass
class Step:
    """One accepted step from (t0, y0) to (t1, y1). What it is inside may be asked for until the
    next step is.
    """

    t0: float
    t1: float
    y0: Tensor
    y1: Tensor
    integration: Integration

    @cached_property
    def interpolant(self) -> Interpolant:
        """The solution inside.

        Raises:
            SolverError: where it takes equations that have no solution.
        """
        try:
            return self.integration.stepper.interpolant()
        except StepFailed as failure:
            self.integration.fail(f"{failure}, inside an accepted step")

    def at(self, times: list[float]) -> Tensor:
        """The solution at times inside the step, shape (len(times), width)."""
        return self.interpolant.at(times)


class Integration:
    """A solution that is advanced from one time to the next by a method's stepper.

    Args:
        f: rates of the flat state.
        method, name: how steps are taken.
        layout: of the state.
        t, y: where the path starts, y of shape (width,).
        control: how steps are chosen; the first is estimated where its ``dt`` is NaN.
        norm: measures the error of a step.
        counts: receives accepted and rejected steps.
        max_steps: attempts allowed in all.
        graph: record a graph through the accepted steps (those rejected leave none).
        stops: times where a step has to end.
        jumps: further ones, at which f jumps: it is evaluated beside them and anew past them.
        on_attempt: is told of every step.
    """

    def __init__(
        self,
        f: Rates,
        method: Method,
        name: str,
        layout: Layout,
        t: float,
        y: Tensor,
        control: Control,
        norm: ErrorNorm,
        counts: Counts,
        max_steps: int,
        graph: bool = False,
        stops: Sequence[float] = (),
        jumps: Set[float] = frozenset(),
        on_attempt: OnAttempt | None = None,
    ) -> None:
        # Versions count the writes to a tensor: none to those of the loop, and no view of others'.
        self.counted = not torch.is_inference_mode_enabled()
        f = f if self.counted else WriteCheckedRates(f)
        if jumps:
            f = OneSidedRates(f, jumps, layout.dtype, lambda: (self.t, self.direction))
        self.f = f
        self.method, self.name, self.layout, self.graph = method, name, layout, graph
        self.t, self.control, self.norm, self.counts = t, control, norm, counts
        if isinstance(control, PIControl):
            self.pi = control  # where steps are controlled
        self.y = y.clone() if version(y) else y
        self.max_steps, self.attempts = max_steps, 0
        self.last_dt = self.last_ratio = nan
        self.last_error: Tensor | None = None
        self.direction = 0.0  # the sign of time's direction
        self.stops, self.jumps, self.on_attempt = (*stops, *jumps), jumps, on_attempt
        self.memory: GraphMemory | None = None  # bounds the graph, where there is one

    @cached_property
    def stepper(self) -> Stepper:
        """Takes the steps; made when the first is taken."""
        return self.method.start(self.f, self.layout, self.norm, self.graph)

    @cached_property
    def variable_stepper(self) -> VariableOrderStepper:
        """The stepper of a method whose order varies."""
        return cast(VariableOrderStepper, self.stepper)

    def advance(self, end: float) -> Iterator[Step]:
        """Step until ``end`` is reached exactly, yielding each accepted step.

        Raises:
            SolverError: when the step underflows, the cap on steps is reached, or the state is not
            finite.
        """
        self.direction = sign = copysign(1.0, end - self.t)
        ahead = {s for s in self.stops if sign * self.t < sign * s < sign * end} | {end}
        ordered = sorted(ahead, reverse=sign < 0)
        for i, stop in enumerate(ordered):
            # The first step is estimated as if there were no stop that leaves f as it is.
            smooth = next((s for s in ordered[i:] if s in self.jumps), end)
            yield from self.advance_to(stop, smooth)
            if stop in self.jumps:
                self.restart_from(self.y)

    def advance_to(self, end: float, smooth: float) -> Iterator[Step]:
        """``advance`` where no stop lies between; f does not jump before ``smooth``."""
        self.control.begin(self.t)
        if isinstance(self.control, FixedControl):
            self.check_step_size(self.control.step_size, end)
        elif isnan(self.control.dt):
            first = self.first_step(smooth)
            self.control.dt = first if isfinite(first) else 1.0  # at rest, without an end
        stepper, adaptive, variable = self.stepper, self.method.adaptive, self.method.variable
        while self.t != end:
            if self.attempts >= self.max_steps:
                self.fail(f"the cap of {self.max_steps} steps is reached before t={end:.6g}")
            self.attempts += 1
            if observation.watcher is not None:
                observation.watcher.look(
                    self.t, self.counts.nfe, graph=self.y if self.graph else None
                )
            t1 = self.control.propose(self.t, end)
            self.last_dt = t1 - self.t
            if self.on_attempt is not None:
                self.notify("step")
            try:
                attempt = stepper.attempt(self.t, t1, self.y)
            except StepFailed as failure:
                self.retry_shorter(failure, t1, end)
                continue
            y1 = attempt.y1
            if self.counted and (self.y._version or y1._version):
                raise changed_in_place(self.t)
            if adaptive and not self.accepts(attempt, t1, end):
                continue
            self.counts.accepted += 1
            if self.on_attempt is not None:
                self.notify("accept_step")
            stepper.accept()
            if variable and (growth := self.variable_stepper.growth) is not None:
                self.pi.follow(abs(self.last_dt), growth)
            if self.memory is not None:
                self.memory.count(y1, self.name, t1, self.last_dt, self.counts.rejected)
            yield Step(self.t, t1, self.y, y1, self)
            self.t, self.y = t1, y1

    def check_step_size(self, size: float, end: float) -> None:
        """Fail at once where steps of a fixed size cannot reach ``end`` within the cap."""
        needed = abs(end - self.t) / size
        if needed > self.max_steps - self.attempts + 0.5:
            self.last_dt = copysign(size, end - self.t)
            self.fail(
                f"the cap of {self.max_steps} steps cannot be kept: step_size={size:g} takes "
                f"{needed:.3g} steps to t={end:.6g}"
            )

    def restart_from(self, y: Tensor) -> None:
        """Go on from another state at the same time."""
        self.y = y.clone() if version(y) else y
        self.stepper.restart()

    def retry_shorter(self, failure: StepFailed, t1: float, end: float) -> None:
        """Have a step that could not be computed tried again at a shorter length."""
        if not self.method.adaptive:
            self.fail(str(failure))
        self.pi.judge(abs(t1 - self.t), inf)
        self.reject(t1, end, f"; {failure}")

    def reject(self, t1: float, end: float, why: str = "") -> None:
        """Go on after a rejected step, if there is a shorter one."""
        self.counts.rejected += 1
        if self.on_attempt is not None:
            self.notify("reject_step")
        if self.pi.shortest(abs(t1 - self.t)):
            self.fail(f"a step of min_step={self.pi.min_step:g} cannot be computed{why}")
        if underflows(self.pi.dt, self.t, t1, end):
            self.fail(f"the step size underflows{why}")

    def notify(self, event: str) -> None:
        """Call ``on_attempt``, if there is one."""
        if self.on_attempt is not None:
            self.on_attempt(event, self.t, self.layout.copies(self.y), self.last_dt)

    @torch.no_grad()
    def accepts(self, attempt: Attempt, t1: float, end: float) -> bool:
        """Judge the step just tried by its error ratio."""
        size = abs(t1 - self.t)
        if attempt.error is None:
            ratio = self.last_ratio = cast(Tensor, attempt.ratio).item()  # synchronises
            self.last_error = None
        else:
            y1 = attempt.y1
            error = attempt.error.div_(self.norm.scale(self.y, y1))
            error.add_(y1, alpha=0)  # infinity allows any error: 0 times it makes the ratio NaN
            ratio = size * self.norm.error_ratios(error, extra=True)[0]
            self.last_ratio, self.last_error = ratio, error
        if self.method.variable:
            self.pi.order = self.variable_stepper.exponent
        if self.pi.judge(size, ratio):
            return True
        self.reject(t1, end, "" if isfinite(ratio) else "; it is not finite")
        return False

    @torch.no_grad()
    def first_step(self, end: float) -> float:
        """A size whose local error is near the tolerance (Hairer, Norsett, Wanner, II.4, p. 169).

        One more evaluation, no further from t than ``end``. No graph: no choice is differentiated.
        """
        left = abs(end - self.t)
        rate = self.first_rate()
        scale = self.norm.scale(self.y, self.y)
        d0, d1 = self.norm.error_ratios(self.y / scale, rate / scale)
        if not isfinite(d0 + d1):
            self.last_error = rate / scale
            self.fail("the first rate is not finite")
        h0 = min(1e-6 if d0 < 1e-5 or d1 < 1e-5 else 0.01 * d0 / d1, left)
        dt = copysign(h0, end - self.t)
        probe = self.layout.flatten(self.f(None, self.t + dt, torch.add(self.y, rate, alpha=dt)))
        d2 = self.norm.error_ratios((probe - rate) / scale)[0] / h0
        steepest = max(d1, d2)
        if steepest <= 1e-15:
            # Nothing moves, as in a net whose last layer starts at zero. Hairer's 1e-6 would take
            # six steps to grow to the interval; a step that is too bold is only tried again.
            return left / 10
        h1 = (0.01 / steepest) ** (1 / self.method.exponent)
        # Hairer's 100 h0 is 1 / lambda on y' = -lambda y, where the estimate of bosh3 is zero
        # whatever its error.
        return min(50 * h0, h1 if isfinite(h1) else inf, left)

    def first_rate(self) -> Tensor:
        """f where the path is, without graph; the rate that the first step starts with has one."""
        if not self.graph:
            return self.stepper.first_rate(self.t, self.y)
        with torch.enable_grad():
            return self.stepper.first_rate(self.t, self.y)

    def fail(self, cause: str, advice: tuple[str, str] | None = None) -> NoReturn:
        """Raise a SolverError that tells where, why, and what to try (see ``diagnosis``)."""
        raise solver_error(self, cause, advice)


class WriteCheckedRates:
    """Rates whose first evaluation is checked for a write to y, where versions do not count."""

    def __init__(self, f: Rates) -> None:
        self.f, self.first = f, True

    def __call__(self, stage: int | None, t: float, y: Tensor) -> list[Tensor]:
        before, self.first = y.clone() if self.first else None, False
        found = self.f(stage, t, y)
        if before is not None and not torch.equal(before, y):
            raise changed_in_place(t)
        return found


class OneSidedRates:
    """Rates that never see the time of a jump itself: a step that ends there is evaluated just
    before it, one that starts there just after.

    Args:
        f: the rates.
        jumps: times.
        dtype: of the times that f sees.
        step: returns the start of the step in hand, and a number with the sign of its direction.
    """

    def __init__(
        self,
        f: Rates,
        jumps: Set[float],
        dtype: torch.dtype,
        step: Callable[[], tuple[float, float]],
    ) -> None:
        self.f, self.jumps, self.dtype, self.step = f, jumps, dtype, step

    def __call__(self, stage: int | None, t: float, y: Tensor) -> list[Tensor]:
        if t in self.jumps:
            start, direction = self.step()
            onwards = copysign(inf, direction)
            t = self.neighbour(t, onwards if t == start else -onwards)
        return self.f(stage, t, y)

    def neighbour(self, t: float, towards: float) -> float:
        here, there = (torch.tensor(x, dtype=self.dtype) for x in (t, towards))
        return torch.nextafter(here, there).item()
