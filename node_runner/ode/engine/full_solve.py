"""A whole solve in one graph: the loop, its step control and f, for a solve of which only the end
is wanted.

Each function returns y at the end and a summary (3,) in float64: whether the end was reached, steps
accepted, steps rejected. Failures are not
diagnosed here: the solve is repeated eagerly to raise a full error.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor

from ..control import PIControl
from . import control
from .traced_step import NormTensors, StepSpec, attempt, error_scale, evaluate, largest_norm

try:
    while_loop = torch.while_loop
except AttributeError:  # by its older name
    from torch._higher_order_ops.while_loop import while_loop


def fixed(
    f: Callable, spec: StepSpec, y: Tensor, t: Tensor, end: Tensor, cap: Tensor, step_size: Tensor
) -> tuple[Tensor, Tensor]:
    """Steps of ``step_size`` from t, the last clipped to ``end``: ``FixedControl``."""
    start, sign = t, torch.sign(end - t)
    signed_step = torch.copysign(step_size, end - t)

    def unfinished(t: Tensor, y: Tensor, taken: Tensor) -> Tensor:
        return (t != end) & (taken < cap)

    def step(t: Tensor, y: Tensor, taken: Tensor) -> tuple[Tensor, ...]:
        t1 = start + signed_step * (taken + 1)
        t1 = torch.where((end - t1) * sign <= 1e-9 * step_size, end, t1)
        return t1, attempt(f, spec, t, t1, y, None, None).y1, taken + 1

    zero = torch.zeros_like(t)
    t, y, taken = while_loop(unfinished, step, (t.clone(), y.clone(), zero))
    arrived = (t == end) & torch.isfinite(y).all()
    return y, torch.stack([arrived.double(), taken, zero])


def adaptive(
    f: Callable,
    spec: StepSpec,
    rule: PIControl,
    y: Tensor,
    k0: Tensor | None,
    first: Tensor | None,
    t: Tensor,
    end: Tensor,
    cap: Tensor,
    norm: NormTensors,
) -> tuple[Tensor, Tensor]:
    """Steps as large as the tolerance allows, from a rate ``k0`` and a step ``first`` if known."""
    fsal = spec.tableau.fsal
    if k0 is None:
        k0 = evaluate(f, spec.layout, t, y)
    if first is None:
        first = first_step(f, spec, rule.order, y, k0, t, end, norm)

    def unfinished(scalars: Tensor, y: Tensor, k0: Tensor) -> Tensor:
        state = control.ControllerState(*scalars.unbind())
        return (state.t != end) & (state.accepted + state.rejected < cap) & (state.going > 0)

    def step(scalars: Tensor, y: Tensor, k0: Tensor) -> tuple[Tensor, ...]:
        state = control.ControllerState(*scalars.unbind())
        if not fsal:
            k0 = torch.cond(has_first_rate(state), kept, evaluate_rate, (state.t, y, k0))
        y1, ratio, rates = attempt(f, spec, state.t, state.t1, y, k0, norm)
        good, state = control.judge(rule, state, end, cast(Tensor, ratio))
        k1 = torch.where(good, rates[0], k0) if fsal else k0.clone()
        return control.pack_scalars(state), torch.where(good, y1, y), k1

    def evaluate_rate(t: Tensor, y: Tensor, k0: Tensor) -> Tensor:
        return evaluate(f, spec.layout, t, y)

    start = control.pack_scalars(control.initial_state(t, end, first))
    scalars, y, _ = while_loop(unfinished, step, (start, y.clone(), k0))
    state = control.ControllerState(*scalars.unbind())
    return y, torch.stack([(state.t == end).double(), state.accepted, state.rejected])


def has_first_rate(state: control.ControllerState) -> Tensor:
    """Whether the rate at the start of the step is there: of a step tried again, and the first."""
    return (state.retry > 0) | (state.accepted == 0)


def kept(t: Tensor, y: Tensor, k0: Tensor) -> Tensor:
    return k0.clone()


def first_step(
    f: Callable,
    spec: StepSpec,
    order: int,
    y: Tensor,
    rate: Tensor,
    t: Tensor,
    end: Tensor,
    norm: NormTensors,
) -> Tensor:
    """``Integration.first_step``; NaN where the first rate is not finite."""
    layout, left = spec.layout, (end - t).abs()
    scale = error_scale(norm, y, y)
    d0, d1 = largest_norm(layout, norm, y / scale), largest_norm(layout, norm, rate / scale)
    small = (d0 < 1e-5) | (d1 < 1e-5)
    h0 = torch.minimum(torch.where(small, 1e-6, 0.01 * d0 / d1), left)
    dt = torch.copysign(h0, end - t)
    probe = evaluate(f, layout, t + dt, y + dt.to(y.dtype) * rate)
    d2 = largest_norm(layout, norm, (probe - rate) / scale) / h0
    steepest = torch.where(d2 > d1, d2, d1)
    h1 = (0.01 / steepest) ** (1 / order)
    h1 = torch.where(torch.isfinite(h1), h1, torch.inf)
    found = torch.where(
        steepest <= 1e-15, left / 10, torch.minimum(torch.minimum(50 * h0, h1), left)
    )
    return torch.where(torch.isfinite(d0 + d1), found, torch.nan)
