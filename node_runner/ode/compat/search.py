"""Solves that end at an event."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..condition import as_numbers
from ..state import Layout, State
from .call import Call
from .form import Form


@dataclass
class LocatedEvent:
    """An event function that is told which of its elements happened.

    Attributes:
        index: number of the element; None until a solve has found it.
    """

    event_fn: Callable
    index: int | None = None

    def __call__(self, t: Tensor, state: State) -> Tensor:
        return self.event_fn(t, state)


@dataclass(frozen=True)
class Elements:
    """The elements of an event function, as ``Watch`` evaluates them.

    Args:
        event_fn: (t, y) -> tensor, y as outside.
        form, layout: of the state.
        count: number of elements; any unless given.
    """

    event_fn: Callable
    form: Form
    layout: Layout
    count: int | None = None

    def values(self, t: Tensor, y: Tensor, wanted: Sequence[int]) -> Tensor:
        """Shape (len(wanted),)."""
        found = elements(self.event_fn(t, self.form.outer(self.layout.state(y))))
        if self.count not in (None, len(found)):
            raise ValueError(
                f"event_fn returned {len(found)} elements, after {self.count} at the start"
            )
        found = as_numbers(found, torch.promote_types(y.dtype, t.dtype))
        return found if len(wanted) == len(found) else found[list(wanted)]

    def happens(self, e: int, before: float, after: float) -> bool:
        return after != 0 if before == 0 else before * after <= 0

    def label(self, e: int) -> str:
        return "event_fn" if self.count == 1 else f"element {e} of event_fn"


def elements(found: object) -> Tensor:
    """What an event function returned, shape (K,)."""
    if not isinstance(found, Tensor) or found.is_complex() or not found.numel():
        what = found.dtype if isinstance(found, Tensor) else type(found).__name__
        raise ValueError(f"event_fn returned {what}, must be a real tensor of events")
    return found.reshape(-1)


def states_at(call: Call, t: float, y: Tensor) -> tuple[Tensor, State]:
    """What a solve to an event returns: its time, and the states at t[0] and then, with the graph
    of the solve.
    """
    flat = call.setting.layout.flatten([call.y0] if call.form.single else list(call.y0))
    states = call.setting.layout.copies(torch.stack([flat, y]))
    return torch.tensor(t, dtype=call.t.dtype, device=call.t.device), call.form.outer(states)


def find(call: Call, event_fn: Callable) -> tuple[float, Tensor]:
    """The time of the first event, and the flat state then.

    Raises:
        ValueError: unless t has a start and a direction.
    """
    if len(call.t) != 2:
        raise ValueError(
            f"t has {len(call.t)} times, must have 2 with event_fn: the start, and one that tells "
            "the direction"
        )
    if not callable(event_fn):
        raise ValueError(f"event_fn is {event_fn!r}, must be a function (t, y) -> tensor")
    with torch.no_grad():
        count = len(elements(event_fn(call.t[0].detach(), call.form.outer(call.y0))))
    conditions = Elements(event_fn, call.form, call.setting.layout, count)
    start, towards = call.t.tolist()
    index, t, y = call.means.until(
        call.f, call.y0, call.t[0], conditions, 1.0 if towards > start else -1.0
    )
    if isinstance(event_fn, LocatedEvent):
        event_fn.index = index
    return t, y
