"""The one loop: everything that follows a solution follows the accepted steps it yields."""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass
from math import copysign, inf, isfinite, nan
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from . import observation
from .control import FixedControl, PIControl, underflows
from .diagnosis import solver_error
from .errors import changed_in_place
from .state import Layout
from .stats import Counts
from .step import Buffer, Rates, Stages, Tape, take_step, version
from .tableau import Tableau
from .tolerance import Norm

if TYPE_CHECKING:
    from .engine.protocol import Stepper
    from .graph_memory import GraphMemory

Control = FixedControl | PIControl


@dataclass
class Step:
    """One accepted step from (t0, y0) to (t1, y1). ``at`` may be called until the next step is
    asked for.
    """

    t0: float
    t1: float
    y0: Tensor
    y1: Tensor
    path: Path

    def at(self, times: list[float]) -> Tensor:
        """The solution at times inside the step, shape (len(times), width)."""
        return interpolate(
            self.path.tableau, self.path.complete(self), self.t0, self.t1, self.y0, times
        )


def interpolate(
    tableau: Tableau, stages: Stages, t0: float, t1: float, y0: Tensor, times: list[float]
) -> Tensor:
    """The method's continuous extension at ``times`` in [t0, t1]; all its rates must be there."""
    dt = t1 - t0
    return stages.combine(y0, [tableau.interpolation_weights((t - t0) / dt) for t in times], dt)


class Path:
    """A solution that is advanced from one time to the next, carrying its step size and first rate
    along.

    Args:
        f: rates of the flat state.
        tableau, name: the method.
        layout: of the state.
        t, y: where the path starts, y of shape (width,).
        control: how steps are chosen; None lets the first step be estimated when the first stretch
            is known.
        norm: measures the error of a step.
        counts: receives accepted and rejected steps.
        max_steps: attempts allowed in all.
        graph: record a graph through the accepted steps (those rejected leave none).
    """

    def __init__(
        self,
        f: Rates,
        tableau: Tableau,
        name: str,
        layout: Layout,
        t: float,
        y: Tensor,
        control: Control | None,
        norm: Norm,
        counts: Counts,
        max_steps: int,
        graph: bool = False,
    ) -> None:
        self.f, self.tableau, self.name, self.layout = f, tableau, name, layout
        self.t, self.control, self.norm, self.counts = t, control, norm, counts
        # Versions count the writes to a tensor: none to those of the loop, and no view of others'.
        self.counted = not torch.is_inference_mode_enabled()
        self.y = y.clone() if version(y) else y
        self.max_steps, self.attempts = max_steps, 0
        self.cap = "max_steps"  # the option that set it, for messages
        self.last_dt, self.last_ratio, self.last_error = nan, nan, None
        self.stages: Stages = Tape(tableau, layout) if graph else Buffer(tableau, layout)
        self.started = False  # stage 0 holds f(t, y)
        self.completed = False  # the last rate holds f at the end of the step just taken
        self.stepper: Stepper | None = None  # takes the steps, where an engine does
        self.heading = 0.0  # the sign of time's direction
        self.stops: Sequence[float] = ()  # times where a step has to end
        self.jumps: Set[float] = frozenset()  # those past which f is evaluated anew
        self.memory: GraphMemory | None = None  # bounds the graph, where there is one

    def advance(self, end: float) -> Iterator[Step]:
        """Step until ``end`` is reached exactly, yielding each accepted step.

        Raises:
            SolverError: when the step underflows, the cap on steps is reached, or the state is not
            finite.
        """
        self.heading = sign = copysign(1.0, end - self.t)
        ahead = {s for s in self.stops if sign * self.t < sign * s < sign * end} | {end}
        for stop in sorted(ahead, reverse=sign < 0):
            yield from self.stretch(stop)
            if stop in self.jumps:
                self.jump(self.y)

    def stretch(self, end: float) -> Iterator[Step]:
        """``advance`` where no stop lies between."""
        if self.control is None:
            self.start()
            self.control = PIControl(self.first_step(end), order_of_control(self.tableau))
        self.control.begin(self.t)
        if isinstance(self.control, FixedControl):
            self.check_step_size(self.control.step_size, end)
        while self.t != end:
            if self.attempts >= self.max_steps:
                self.fail(f"the cap of {self.max_steps} steps is reached before t={end:.6g}")
            self.attempts += 1
            if observation.watcher is not None:
                graph = self.y if isinstance(self.stages, Tape) else None
                observation.watcher.look(self.t, self.counts.nfe, graph=graph)
            t1 = self.control.propose(self.t, end)
            self.last_dt = t1 - self.t
            y1 = self.attempt(t1)
            if self.counted and (self.y._version or y1._version):
                raise changed_in_place(self.t)
            if self.tableau.adaptive and not self.accepts(t1, y1, end):
                continue
            self.counts.accepted += 1
            self.completed = self.tableau.fsal
            if self.memory is not None:
                self.memory.count(y1, self.name, t1, self.last_dt, self.counts.rejected)
            yield Step(self.t, t1, self.y, y1, self)
            self.t, self.y, self.started = t1, y1, False

    def check_step_size(self, size: float, end: float) -> None:
        """Fail at once where steps of a fixed size cannot reach ``end`` within the cap."""
        needed = abs(end - self.t) / size
        if needed > self.max_steps - self.attempts + 0.5:
            self.last_dt = copysign(size, end - self.t)
            self.fail(
                f"the cap of {self.max_steps} steps cannot be kept: step_size={size:g} takes "
                f"{needed:.3g} steps to t={end:.6g}"
            )

    def attempt(self, t1: float) -> Tensor:
        """The end of a step to t1, not yet judged."""
        if self.stepper is None or not self.stepper.fresh:
            self.start()
        if self.stepper is not None:
            return self.stepper(self, t1)
        return take_step(self.f, self.tableau, self.stages, self.t, t1, self.y, self.tableau.stages)

    def start(self) -> None:
        """Make stage 0 hold f(t, y), at no evaluation where the step before has it."""
        if not self.started:
            if self.completed:
                self.stages.shift()
            else:
                before = None if self.counted or self.attempts > 1 else self.y.clone()
                self.stages.put(0, self.f(0, self.t, self.y))
                if before is not None and not torch.equal(before, self.y):
                    raise changed_in_place(self.t)
            self.started, self.completed = True, False

    def complete(self, step: Step) -> Stages:
        """Make sure that the rate at the end of the step is there if interpolation needs it; the
        next step reuses it.
        """
        if self.stepper is not None and not self.stepper.interpolates:
            self.stepper.retrace(self, step.t1)
        if not self.completed and self.tableau.rates > self.tableau.stages:
            self.stages.put(self.tableau.stages, self.f(0, step.t1, step.y1))
            self.completed = True
        return self.stages

    def jump(self, y: Tensor) -> None:
        """Go on from another state at the same time."""
        self.y = y.clone() if version(y) else y
        self.started, self.completed = False, False

    @torch.no_grad()
    def accepts(self, t1: float, y1: Tensor, end: float) -> bool:
        """Judge the step just tried by its error ratio."""
        size = abs(t1 - self.t)
        if self.stepper is not None:
            ratio = self.last_ratio = self.stepper.read()
        else:
            error = self.stages.error().div_(self.norm.allowed(self.y, y1))
            error.add_(y1, alpha=0)  # infinity allows any error: 0 times it makes the ratio NaN
            ratio = size * self.norm.ratios(error, extra=True)[0]
            self.last_ratio, self.last_error = ratio, error
        if self.control.judge(size, ratio):
            return True
        self.counts.rejected += 1
        if underflows(self.control.dt, self.t, t1, end):
            self.fail("the step size underflows")
        return False

    @torch.no_grad()
    def first_step(self, end: float) -> float:
        """A size whose local error is near the tolerance (Hairer, Norsett, Wanner, II.4, p. 169).

        One more evaluation, no further from t than ``end``. No graph: no choice is differentiated.
        """
        left = abs(end - self.t)
        rate = self.stages.rate(0)
        allowed = self.norm.allowed(self.y, self.y)
        d0, d1 = self.norm.ratios(self.y / allowed, rate / allowed)
        if not isfinite(d0 + d1):
            self.last_error = rate / allowed
            self.fail("the first rate is not finite")
        h0 = min(1e-6 if d0 < 1e-5 or d1 < 1e-5 else 0.01 * d0 / d1, left)
        dt = copysign(h0, end - self.t)
        probe = self.layout.flatten(self.f(None, self.t + dt, torch.add(self.y, rate, alpha=dt)))
        d2 = self.norm.ratios((probe - rate) / allowed)[0] / h0
        steepest = max(d1, d2)
        if steepest <= 1e-15:
            # Nothing moves, as in a net whose last layer starts at zero. Hairer's 1e-6 would take
            # six steps to grow to the interval; a step that is too bold is only tried again.
            return left / 10
        h1 = (0.01 / steepest) ** (1 / order_of_control(self.tableau))
        # Hairer's 100 h0 is 1 / lambda on y' = -lambda y, where the estimate of bosh3 is zero
        # whatever its error.
        return min(50 * h0, h1 if isfinite(h1) else inf, left)

    def fail(self, cause: str, advice: tuple[str, str] | None = None) -> None:
        """Raise a SolverError that tells where, why, and what to try (see ``diagnosis``)."""
        if self.stepper is not None and self.attempts:
            self.stepper.retrace(self, self.t + self.last_dt)
        raise solver_error(self, cause, advice)


def order_of_control(tableau: Tableau) -> int:
    """The exponent of dt in the error estimate: the order of the embedded solution + 1."""
    return (tableau.error_order or tableau.order - 1) + 1
