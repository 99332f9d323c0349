"""The gradient of an event's time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ..dynamo import run_eagerly
from ..gradients.again import Once
from ..state import Layout, State
from ..transforms import refuse_functorch, refuse_tangents
from .form import form_of
from .search import FirstOf
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
    torchdiffeq drops, those of event_fn. Where the denominator is zero, at an event that is only
    touched, the gradient is infinite.

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
        NotImplementedError: if gradients of these gradients are asked for.
    """
    if not isinstance(t0, Tensor) or t0.numel() != 1:
        seen = f"shape {tuple(t0.shape)}" if isinstance(t0, Tensor) else type(t0).__name__
        raise ValueError(f"t0 must be a tensor of one element, got {seen}")
    refuse_functorch("odeint_event", "torch.autograd.grad")
    t0 = t0.reshape(-1)
    t = torch.cat([t0, t0.detach() + (-1.0 if reverse_time else 1.0)])
    event_t, solution = odeint_interface(func, y0, t, event_fn=event_fn, **kwargs)
    ends = (solution,) if isinstance(solution, Tensor) else solution
    refuse_tangents("odeint_event", *ends, instead="torch.autograd.grad")
    if not torch.is_grad_enabled():
        return event_t, solution
    return attach(func, y0, t[0], event_fn, event_t, solution)


def attach(
    func: Callable,
    y0: State,
    t0: Tensor,
    event_fn: Callable,
    event_t: Tensor,
    solution: State,
) -> tuple[Tensor, State]:
    """The same values, with the gradient of the event's time."""
    form = form_of(y0)
    start, inner = form.inner(y0), form.inner(solution)
    layout = Layout(start)
    final = layout.flatten([y[1] for y in ([inner] if form.single else inner)])
    time = event_t.detach().to(final.dtype)
    first = FirstOf(event_fn, t0.detach().to(form.time), form.outer(start))

    def gap(t: Tensor, flat: Tensor) -> Tensor:
        found = first.values(t.to(form.time), form.outer(layout.state(flat)))
        signed = torch.where(first.signs == 0, found.abs(), found * first.signs)
        return found[signed.detach().argmin()].to(final.dtype)

    value = gap(time, final)
    refuse_tangents("odeint_event", value, instead="torch.autograd.grad")
    if not (value.requires_grad or final.requires_grad):
        return event_t, solution
    with torch.enable_grad():
        at, y = time.clone().requires_grad_(), final.detach().requires_grad_()
        slopes = torch.autograd.grad(gap(at, y), (at, y), allow_unused=True, materialize_grads=True)
    with torch.no_grad():
        rate = flat_field(form.field(func), layout)(time, final.detach())
        speed = slopes[0] + slopes[1] @ rate
    shift = Sliding.apply((value.detach() - value) / speed)  # zero
    moved = layout.copies(final + rate * shift)
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
