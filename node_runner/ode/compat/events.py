"""The gradient of an event's time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ..condition import with_slope
from ..dynamo import run_eagerly
from ..events import EventTime
from ..gradients.again import Once
from ..state import Layout, State
from ..transforms import refuse_functorch, refuse_tangents
from .form import form_of
from .search import Elements, LocatedEvent
from .setting import flat_field
from .solve import odeint

REFUSAL = "the gradient of an event's time cannot be differentiated again"


@run_eagerly
def odeint_event(
    func: Callable,
    y0: State,
    t0: Tensor,
    *,
    event_fn: Callable,
    reverse_time: bool = False,
    odeint_interface: Callable = odeint,
    **kwargs: Any,
) -> tuple[Tensor, State]:
    """Solve from t0 until event_fn changes its sign, differentiably in the event's time.

    With g the element of event_fn that is zero at (t*, y*), dt* = -dg / (dg/dt + <dg/dy, func>) at
    fixed t*, and y* moves by func(t*, y*) dt* besides (the implicit function theorem; Chen, Amos,
    Nickel 2021, arXiv:2011.03902, section 3). dg takes in y0, t0, the parameters of func and, which
    torchdiffeq drops, those of event_fn. An event_fn of slope zero at the event, as relu has on one
    side, has the derivative of its other side. Where the denominator is zero, at an event that is
    only touched or of a boolean event_fn, there is no gradient, and to take it is an error.

    Args:
        func, y0, event_fn: as in ``odeint``.
        t0: start, a 0-dim tensor (or of one element).
        reverse_time: go backwards.
        odeint_interface: ``odeint`` unless given, or ``odeint_adjoint``.
        kwargs: of that function.

    Returns:
        The event's time, 0-dim, and the states at t0 and then, shape (2, *y0.shape) or a tuple of
        such.

    Raises:
        ValueError, SolverError: as odeint_interface does.
        GrazingError: if a gradient is taken of the time of an event that has none.
        NotImplementedError: if gradients of these gradients are asked for.
    """
    if not isinstance(t0, Tensor) or t0.numel() != 1:
        seen = f"shape {tuple(t0.shape)}" if isinstance(t0, Tensor) else type(t0).__name__
        raise ValueError(f"t0 must be a tensor of one element, got {seen}")
    refuse_functorch("odeint_event", "torch.autograd.grad")
    t0 = t0.reshape(-1)
    ahead = 1.0 + t0.detach().abs()  # so far that rounding leaves a difference
    t = torch.cat([t0, t0.detach() + (-ahead if reverse_time else ahead)])
    located = LocatedEvent(event_fn)
    event_t, solution = odeint_interface(func, y0, t, event_fn=located, **kwargs)
    ends = (solution,) if isinstance(solution, Tensor) else solution
    refuse_tangents("odeint_event", *ends, instead="torch.autograd.grad")
    if not torch.is_grad_enabled():
        return event_t, solution
    return attach(func, y0, located, event_t, solution)


def attach(
    func: Callable, y0: State, event: LocatedEvent, event_t: Tensor, solution: State
) -> tuple[Tensor, State]:
    """The same values, with the gradient of the event's time."""
    form = form_of(y0)
    start, inner = form.inner(y0), form.inner(solution)
    layout = Layout(start)
    final = layout.flatten([y[1] for y in ([inner] if form.single else inner)])
    time, e = event_t.detach().reshape(()), event.index
    conditions = Elements(event.event_fn, form, layout)
    seen = conditions.values(time, final, [e])
    refuse_tangents("odeint_event", seen, instead="torch.autograd.grad")
    if not (seen.requires_grad or final.requires_grad):
        return event_t, solution
    with torch.no_grad():
        rate = flat_field(form.field(func), layout)(time.to(final.dtype), final.detach())
    with torch.enable_grad():
        y = final if final.requires_grad else final.detach().requires_grad_()
        gap = lambda t, y: conditions.values(t, y, [e])[0]  # noqa: E731
        value, speed = with_slope(gap, time, y, rate)
    name = f"{conditions.label(e)}, t={time.item():.6g},"
    shift = EventTime.apply(torch.zeros_like(value), value, y, speed, 0.0, name)
    shift = Sliding.apply(shift)
    moved = layout.copies(final + rate * shift.to(rate))
    event_t = event_t + shift.to(event_t.dtype)
    ends = zip(*([each] if form.single else each for each in (inner, moved)), strict=True)
    stacked = [torch.stack([both[0], end]) for both, end in ends]
    return event_t, form.outer(stacked[0] if form.single else tuple(stacked))


class Sliding(torch.autograd.Function):
    """The identity, whose gradient is not to be differentiated again: it would leave out how the
    event's slope changes.
    """

    @staticmethod
    @run_eagerly
    def forward(ctx: Any, value: Tensor) -> Tensor:
        ctx.save_for_backward(value)
        return value.clone()

    @staticmethod
    @run_eagerly
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        if not torch.is_grad_enabled():
            return gradient
        return Once.apply(REFUSAL, gradient, *ctx.saved_tensors)[0]
