"""Looking for events while a solve runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import isnan
from typing import Protocol

import torch
from torch import Tensor

from .bracket import Bracket
from .recording import KeptStep
from .state import Layout

PLACES = (0.25, 0.5, 0.75, 1.0)  # of a step, where conditions are looked at


class Watched(Protocol):
    """What is asked of an event."""

    condition: Callable
    name: str

    def happens(self, before: float, after: float) -> bool:
        """Whether the condition has reached zero or passed it."""


class Watch:
    """Looks at each step for the first event in it: at the conditions at a few places of the step,
    read together from the device, and between two of them by closing brackets.

    Attributes:
        index, t: the event that happened, and when; None until then.
        typical: for each event the largest |g| seen in the last step, over its length.
    """

    def __init__(self, events: Sequence[Watched], layout: Layout) -> None:
        self.events, self.layout = events, layout
        self.eps = torch.finfo(layout.dtype).eps
        self.last: list[float] | None = None  # g at the end of the step before
        self.index: int | None = None
        self.t: float | None = None
        self.typical: list[float] = []

    @torch.no_grad()
    def __call__(self, step: KeptStep) -> bool | None:
        """Whether an event has happened in the step; None where its states are not finite."""
        everyone = list(range(len(self.events)))
        first, just_after = self.last is None, self.eps**0.5
        places = [0.0, just_after, *PLACES] if first else list(PLACES)
        rows = self.values(step, places, [everyone] * len(places))
        if rows is None:
            return None
        if not first:
            places, rows = [0.0, *places], [self.last, *rows]
        columns = [list(column) for column in zip(*rows, strict=True)]
        self.typical = [max(map(abs, g)) / abs(step.t1 - step.t0) for g in columns]
        self.last = []
        found = []  # which event, and between which places
        for e, g in enumerate(columns):
            # What starts at zero, as after a bounce, is watched from just after.
            near_zero = first and abs(g[0]) <= just_after * max(map(abs, g))
            a, b, before = self.first_change(e, g, 1 if near_zero else 0)
            self.last.append(g[-1] or g[before])  # at zero it goes on with the sign that it had
            if b is not None:
                found.append((e, a, b))
        if not found:
            return False
        ends = min(b for _, _, b in found)
        # Times are no finer than their own rounding.
        tolerance = 4 * self.eps * max(1.0, abs(step.t1) / abs(step.t1 - step.t0))
        brackets = {
            e: Bracket(places[a], places[b], columns[e][a], columns[e][b], min(tolerance, 0.01))
            for e, a, b in found
            if b == ends
        }
        if not self.close(step, brackets):
            return None
        self.index = min(brackets, key=lambda e: (brackets[e].root, e))
        self.t = at_place(step, brackets[self.index].root)
        return True

    def first_change(self, e: int, g: list[float], before: int) -> tuple[int, int | None, int]:
        """Places before and after the first change of event ``e`` (None if there is none), and the
        last place at which g is not zero.
        """
        for i in range(before + 1, len(g)):
            if self.events[e].happens(g[before], g[i]):
                return before, i, before
            if g[i]:
                before = i
        return before, None, before

    def close(self, step: KeptStep, brackets: dict[int, Bracket]) -> bool:
        """Find the roots together, one read of the device a turn; whether they are found."""
        while live := [e for e, bracket in brackets.items() if not bracket.closed]:
            places = [brackets[e].propose() for e in live]
            rows = self.values(step, places, [[e] for e in live])
            if rows is None:
                return False
            for e, place, row in zip(live, places, rows, strict=True):
                brackets[e].update(place, row[0])
        return True

    def values(
        self, step: KeptStep, places: list[float], wanted: list[list[int]]
    ) -> list[list[float]] | None:
        """g at each place, of the events wanted there; None where it is NaN because y is not
        finite.
        """
        times = [at_place(step, place) for place in places]
        found, layout, ys = [], self.layout, step.at(times)
        for place, t, y, each in zip(places, times, ys, wanted, strict=True):
            y = step.y0 if place == 0.0 else step.y1 if place == 1.0 else y
            time = torch.full((), t, dtype=layout.dtype, device=layout.device)
            found += [value(self.events, e, layout, time, y) for e in each]
        numbers = iter(torch.stack(found).tolist())  # synchronises
        rows = [[next(numbers) for _ in each] for each in wanted]
        for t, each, row in zip(times, wanted, rows, strict=True):
            for e, g in zip(each, row, strict=True):
                if isnan(g) and not bool(torch.isfinite(ys).all()):
                    return None
                if isnan(g):
                    raise ValueError(f"the condition of {called(self.events, e)} is NaN at t={t:g}")
        return rows


def at_place(step: KeptStep, place: float) -> float:
    """The time at a fraction of a step, its end exactly."""
    return step.t1 if place == 1.0 else step.t0 + place * (step.t1 - step.t0)


def value(events: Sequence[Watched], e: int, layout: Layout, t: Tensor, y: Tensor) -> Tensor:
    """g of event ``e``, 0-dim.

    Raises:
        ValueError: for anything but one number.
    """
    g = events[e].condition(t, layout.state(y))
    if not isinstance(g, Tensor) or g.numel() != 1:
        seen = f"shape {tuple(g.shape)}" if isinstance(g, Tensor) else type(g).__name__
        raise ValueError(
            f"the condition of {called(events, e)} returned {seen}, must be a tensor of one "
            "element: reduce over the batch, for example by min()"
        )
    return g.reshape(()).to(layout.dtype)


def called(events: Sequence[Watched], e: int) -> str:
    """What to call an event in a message."""
    return f"event {e}" + (f" ({events[e].name})" if events[e].name else "")
