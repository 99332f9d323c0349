"""Search for events in the steps of a running solve."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from math import isnan
from typing import Protocol, TypeVar

import torch
from torch import Tensor

from ..integration import Integration, Step
from ..state import Layout
from .condition import slopes
from .root_finding import Bracket

SAMPLE_FRACTIONS = (0.25, 0.5, 0.75, 1.0)  # fractions of a step where conditions are evaluated
START_ROUNDING = 32.0  # units of rounding after the start within which a zero is ignored
EPSILON = torch.finfo(torch.float64).eps  # of times, which are Python floats
MAX_DEFECT = 1.0  # defect of the interpolant, over the tolerance, beyond which a step is retaken
MAX_RETAKEN = 100  # steps of a solve at most


class EventConditions(Protocol):
    """The conditions of a list of events."""

    @property
    def count(self) -> int: ...

    def evaluate(self, t: Tensor, y: Tensor, indices: Sequence[int]) -> Tensor:
        """Return the conditions of ``indices`` at a 0-dim time and a flat state, shape
        (len(indices),).
        """

    def happens(self, e: int, before: float, after: float) -> bool:
        """Whether condition ``e`` has changed its sign, in its direction. Zero counts as a sign."""

    def event_label(self, e: int) -> str:
        """Name of condition ``e`` for messages."""


class ConditionIsNaN(ValueError):
    """A condition that is NaN where the state is finite.

    Attributes:
        label, t: which, and when.
    """

    def __init__(self, label: str, t: float) -> None:
        super().__init__(f"the condition of {label} is NaN at t={t:g}")
        self.label, self.t = label, t


class StepView(Protocol):
    """An accepted step in which events are searched."""

    @property
    def t0(self) -> float: ...

    @property
    def t1(self) -> float: ...

    @property
    def y0(self) -> Tensor: ...

    @property
    def y1(self) -> Tensor: ...

    def at(self, times: list[float]) -> Tensor:
        """The solution at times inside, shape (len(times), width)."""

    def slope(self, t: float) -> Tensor:
        """Its derivative at t, shape (width,)."""


AnyStep = TypeVar("AnyStep", bound=StepView)


class EventDetector:
    """Looks at each step for the first event in it: at the conditions at a few places of the step,
    read together from the device, and between two of them by closing brackets.

    An event is a change of sign, with zero as a sign of its own, so that conditions that are
    boolean or zero on one side count. Two kinds of zero do not: what a start leaves at once, as
    after a bounce; and what a condition leaves with a slope, since it has only been rounded to
    zero.

    Args:
        conditions: what is looked for.
        layout: of the state.
        dtype: of the times that conditions see; the event's time is as fine as that.

    Attributes:
        index, t: the event that happened, and when; None until then.
        typical: for each event the largest |g| seen in the last step, over its length.
    """

    def __init__(self, conditions: EventConditions, layout: Layout, dtype: torch.dtype) -> None:
        self.conditions, self.layout, self.dtype = conditions, layout, dtype
        self.last: list[float] | None = None  # g at the end of the step before; zero keeps a sign
        self.resting = [False] * conditions.count  # whether it was zero there
        self.next: tuple[list[float], list[bool]] = [], []  # the same after this step
        self.index: int | None = None
        self.t: float | None = None
        self.typical: list[float] = []

    @torch.no_grad()
    def __call__(self, step: StepView) -> bool | None:
        """Whether an event has happened in the step; None where its states are not finite."""
        everyone = list(range(self.conditions.count))
        first = self.last is None
        places = (
            [0.0, self.just_after(step), *SAMPLE_FRACTIONS] if first else list(SAMPLE_FRACTIONS)
        )
        rows = self.values(step, places, [everyone] * len(places))
        if rows is None:
            return None
        if self.last is not None:
            places, rows = [0.0, *places], [self.last, *rows]
        columns = [list(column) for column in zip(*rows, strict=True)]
        self.typical = [max(map(abs, g)) / abs(step.t1 - step.t0) for g in columns]
        changes = [self.first_change(step, e, places, g, first) for e, g in enumerate(columns)]
        found = [(e, a, b) for e, (a, b) in enumerate(changes) if b is not None]
        self.next = (
            [g[a] for g, (a, _) in zip(columns, changes, strict=True)],
            [g[-1] == 0 for g in columns],
        )
        if not found:
            return False
        ends = min(b for _, _, b in found)
        # Times are no finer than their own rounding.
        tolerance = 2 * EPSILON * max(1.0, abs(step.t1) / abs(step.t1 - step.t0))
        brackets = {
            e: Bracket(places[a], places[b], columns[e][a] or -1.0, columns[e][b], tolerance)
            for e, a, b in found
            if b == ends
        }
        from_zero = {e for e, a, _ in found if columns[e][a] == 0}
        for e in from_zero & set(brackets):
            brackets[e].at_b = 1.0  # of a value only whether it is zero matters
        if not self.close(step, brackets, from_zero):
            return None
        self.index = min(brackets, key=lambda e: (brackets[e].root, e))
        self.t = at_place(step, brackets[self.index].root)
        return True

    def accept(self) -> None:
        """Go on after the step just looked at."""
        self.last, self.resting = self.next

    def steps(
        self,
        integration: Integration,
        advance: Callable[[Integration], Iterator[Step]],
        view: Callable[[Step], AnyStep],
    ) -> Iterator[AnyStep]:
        """Yield accepted steps up to and including the one with the first event.

        A step with an event that crosses a discontinuity of f is taken again, halved until it does
        not.

        Args:
            integration: Integration in progress.
            advance: Takes the steps of the integration.
            view: Makes of a step what is searched and yielded.

        Raises:
            SolverError: if the solution inside a step is not finite.
        """
        adaptive = integration.method.adaptive
        end, num_retaken = integration.t, 0  # steps up to ``end`` are taken again
        while True:
            for step in advance(integration):
                seen = view(step)
                happened = self(seen)
                if happened is None:
                    integration.fail("the solution inside the step is not finite")
                t = step.t1 if self.t is None or not happened else self.t
                if adaptive and (happened or (end - step.t0) * integration.direction > 0):
                    if num_retaken < MAX_RETAKEN and crosses_discontinuity(integration, seen, t):
                        break
                self.accept()
                yield seen
                if happened:
                    return
            else:
                return
            if end == step.t0 or (t - end) * integration.direction > 0:
                end = t
            num_retaken += 1
            integration.counts.accepted -= 1
            integration.counts.rejected += 1
            integration.stops = (*integration.stops, step.t0 + (t - step.t0) / 2)
            self.index = None
            integration.stepper.restart()

    def just_after(self, step: StepView) -> float:
        """A place before which the start cannot be told from its rounding: that of time, or that of
        a state which changes by its own size in |y| / |y'|.
        """
        length, eps = abs(step.t1 - step.t0), torch.finfo(self.layout.dtype).eps
        size = speed = 0.0
        if step.y0.numel():
            sizes = torch.stack([v.abs().max() for v in (step.y0, step.slope(step.t0))])
            size, speed = sizes.tolist()  # synchronises
        scale = min(length, size / speed) if speed > 0 else 0.0
        return min(
            0.1,
            max(START_ROUNDING * eps * max(abs(step.t0), scale) / length, START_ROUNDING * EPSILON),
        )

    def first_change(
        self, step: StepView, e: int, places: list[float], g: list[float], first: bool
    ) -> tuple[int, int | None]:
        """Places before and after the first change of condition ``e``, or the last place at which
        its sign is known and None.

        A single zero between two places with the same sign is a touch.
        """
        resting = self.resting[e]
        before = 1 if first and sign(g[0]) != sign(g[1]) else 0
        for i in range(before + 1, len(g)):
            rounded = g[before] == 0 and g[i] != 0 and not self.rests(step, e, places[before])
            if not rounded and self.conditions.happens(e, g[before], g[i]):
                return before, i
            if g[i] or resting:
                before = i
            resting = g[i] == 0
        return before, None

    def rests(self, step: StepView, e: int, place: float) -> bool:
        """Whether a condition that is zero at a place has no slope along the solution there."""
        t = at_place(step, place)
        with torch.enable_grad():
            y = self.state(step, place, t).detach().clone().requires_grad_()
            time = self.time(t).requires_grad_()
            try:
                g = self.conditions.evaluate(time, y, [e])
                if not g.requires_grad:
                    return True
                by_t, by_y = slopes(g, time, y)
            except RuntimeError:  # it leaves torch, or has no derivative there
                return True
        return (by_t + torch.dot(by_y, step.slope(t))).item() == 0

    def close(self, step: StepView, brackets: dict[int, Bracket], from_zero: set[int]) -> bool:
        """Find the roots together, one read of the device per turn; whether they are found."""
        length, eps = abs(step.t1 - step.t0), torch.finfo(self.dtype).eps

        def fine(bracket: Bracket) -> bool:
            width = (bracket.b - bracket.a) * length
            return bracket.closed or width <= 2 * eps * abs(at_place(step, bracket.b))

        while live := [e for e, bracket in brackets.items() if not fine(bracket)]:
            ends = [brackets[e].b for e in live]
            probing = [brackets[e].at_b == 0 and not brackets[e].probed for e in live]
            places = [brackets[e].propose() for e in live]
            rows = self.values(step, places, [[e] for e in live])
            if rows is None:
                return False
            for e, end, probe, place, (g,) in zip(live, ends, probing, places, rows, strict=True):
                if probe and g == 0 and not self.rests(step, e, place):
                    place = end  # a root that is only touched, and rounded to zero beside it
                    brackets[e].a = end
                brackets[e].update(place, (1.0 if g else -1.0) if e in from_zero else g)
        return True

    def values(
        self, step: StepView, places: list[float], wanted: list[list[int]]
    ) -> list[list[float]] | None:
        """g at each place, of the events wanted there; None where it is NaN because y is not
        finite.
        """
        times = [at_place(step, place) for place in places]
        inner = [t for place, t in zip(places, times, strict=True) if 0.0 < place < 1.0]
        inside = iter(step.at(inner)) if inner else iter(())
        ys = [
            step.y0 if place == 0.0 else step.y1 if place == 1.0 else next(inside)
            for place in places
        ]
        found = [
            self.conditions.evaluate(self.time(t), y, each)
            for t, y, each in zip(times, ys, wanted, strict=True)
        ]
        numbers = iter(torch.cat(found).tolist())  # synchronises
        rows = [[next(numbers) for _ in each] for each in wanted]
        for t, y, each, row in zip(times, ys, wanted, rows, strict=True):
            for e, g in zip(each, row, strict=True):
                if isnan(g) and not bool(torch.isfinite(y).all()):
                    return None
                if isnan(g):
                    raise ConditionIsNaN(self.conditions.event_label(e), t)
        return rows

    def state(self, step: StepView, place: float, t: float) -> Tensor:
        ends = {0.0: step.y0, 1.0: step.y1}
        return ends[place] if place in ends else step.at([t])[0]

    def time(self, t: float) -> Tensor:
        return torch.full((), t, dtype=self.dtype, device=self.layout.device)


@torch.no_grad()
def crosses_discontinuity(integration: Integration, step: StepView, end: float) -> bool:
    """Whether a step cannot be trusted up to ``end``, since it crosses a discontinuity of f: the
    derivative of its interpolant is not f. An error estimate may miss that.
    """
    length, share = step.t1 - step.t0, (end - step.t0) / (step.t1 - step.t0)
    for part in (0.8, 0.4) if share > 0.8 else (share, share / 2):
        t = step.t0 + part * length
        y = step.at([t])[0]
        rate = integration.layout.flatten(integration.f(None, t, y))
        defect = (step.slope(t) - rate) * (length * min(part, 0.25))
        norm = integration.norm
        if not norm.error_ratios(defect / norm.scale(y, y))[0] <= MAX_DEFECT:
            return True
    return False


def at_place(step: StepView, place: float) -> float:
    """The time at a fraction of a step, its end exactly."""
    return step.t1 if place == 1.0 else step.t0 + place * (step.t1 - step.t0)


def sign(value: float) -> int:
    return (value > 0) - (value < 0)
