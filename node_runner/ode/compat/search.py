"""Solves that end at an event."""

from __future__ import annotations

from collections.abc import Callable
from math import inf

import torch
from torch import Tensor

from ..state import State
from .call import Call


class FirstOf:
    """min_i s_i c_i of an event function's elements c_i, s_i the sign of each at the start: it is
    positive until the first of them changes its sign.

    An element that is zero at the start (a ball thrown from the ground) has the first sign that it
    takes; until then it is no event.
    """

    def __init__(self, event_fn: Callable, t0: Tensor, y0: State) -> None:
        self.event_fn = event_fn
        with torch.no_grad():
            self.signs = self.values(t0, y0).sign()

    def values(self, t: Tensor, state: State) -> Tensor:
        """The elements, shape (K,), real."""
        found = self.event_fn(t, state)
        if not isinstance(found, Tensor) or found.is_complex() or not found.numel():
            what = found.dtype if isinstance(found, Tensor) else type(found).__name__
            raise ValueError(f"event_fn returned {what}, must be a real tensor of events")
        return found.reshape(-1)

    def __call__(self, t: Tensor, state: State) -> Tensor:
        found = self.values(t, state)
        self.signs = torch.where(self.signs == 0, found.detach().sign(), self.signs)
        return torch.where(self.signs == 0, inf, found * self.signs).min()


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
    form, layout, time = call.form, call.setting.layout, call.form.time
    first = FirstOf(event_fn, call.t[0].detach().to(time), form.outer(call.y0))
    start, towards = call.t.tolist()
    return call.means.until(
        call.f,
        call.y0,
        call.t[0],
        lambda t, flat: first(t.to(time), form.outer(layout.state(flat))),
        1.0 if towards > start else -1.0,
    )
