"""The step control of ``control.PIControl`` on 0-dim tensors, for a loop that never leaves the
device.

The formulas and their reasons stand there; here they are without branches. All is float64, as
Python's floats are, so that the same steps are taken up to rounding.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ..control import MIN_FRACTION, PIControl

EPSILON = torch.finfo(torch.float64).eps


class ControllerState(NamedTuple):
    """Where a solve is and what its control remembers, () each.

    Attributes:
        t: time reached.
        t1: end of the step to be tried; kept, so that no stage computes it again.
        dt: size to propose.
        last_size, last_ratio: of the last accepted step; 0 before there is one.
        retry: 1 if the attempt before was rejected.
        accepted, rejected: attempts so far.
        going: 0 once the step has underflowed.
    """

    t: Tensor
    t1: Tensor
    dt: Tensor
    last_size: Tensor
    last_ratio: Tensor
    retry: Tensor
    accepted: Tensor
    rejected: Tensor
    going: Tensor


def initial_state(t: Tensor, end: Tensor, dt: Tensor) -> ControllerState:
    """At the time t, before a first step that will try the size ``dt``; NaN: there is none."""
    zero = torch.zeros_like(t)
    return ControllerState(
        t, propose(t, end, dt), dt, zero, zero, zero, zero, zero, torch.isfinite(dt).to(t.dtype)
    )


def pack_scalars(values: tuple[Tensor, ...]) -> Tensor:
    """One vector of 0-dim tensors. Written lane by lane, it is one buffer of a loop's state and one
    kernel; ``torch.stack`` would be a buffer for each value.
    """
    lane = torch.arange(len(values), device=values[0].device)
    vector = values[-1].expand(len(values))
    for i, value in enumerate(values[:-1]):
        vector = torch.where(lane == i, value, vector)
    return vector


def propose(t: Tensor, end: Tensor, dt: Tensor) -> Tensor:
    """End of the next step: ``PIControl.propose``."""
    left = (end - t).abs()
    size = torch.where(left < 2 * dt, left / 2, dt)
    # From half to one and a half units of rounding lead to the next number after t.
    size = torch.maximum(size, 0.6 * EPSILON * t.abs())
    return torch.where(left <= 1.01 * dt, end, t + torch.copysign(size, end - t))


def judge(
    rule: PIControl, state: ControllerState, end: Tensor, ratio: Tensor
) -> tuple[Tensor, ControllerState]:
    """Whether the step is accepted, and the state after it: ``PIControl.judge``."""
    size = (state.t1 - state.t).abs()
    finite = torch.isfinite(ratio)
    good = finite & (ratio <= 1)
    floored = ratio.clamp(min=1e-10)
    unlimited = rule.safety * floored ** (-1 / rule.order)
    shrunk = size * torch.where(finite, unlimited.clamp(min=rule.min_factor), rule.min_factor)
    factor = (unlimited * memory(rule, state, size, floored)).clamp(min=rule.min_factor)
    proposal = size * torch.minimum(torch.where(state.retry > 0, 1.0, rule.max_factor), factor)
    clipped = size < 0.99 * state.dt
    dt = torch.where(clipped, torch.maximum(proposal, state.dt), proposal)
    dt = torch.where(good, dt, shrunk)
    rounding = 16 * EPSILON * torch.maximum(state.t.abs(), state.t1.abs())
    lost = dt <= torch.maximum(rounding, MIN_FRACTION * (end - state.t).abs())
    one = torch.ones_like(size)
    t = torch.where(good, state.t1, state.t)
    return good, ControllerState(
        t=t,
        t1=propose(t, end, dt),
        dt=dt,
        last_size=torch.where(good, size, state.last_size),
        last_ratio=torch.where(good, ratio.clamp(min=1e-4), state.last_ratio),
        retry=torch.where(good, 0.0, one),
        accepted=state.accepted + torch.where(good, one, 0.0),
        rejected=state.rejected + torch.where(good, 0.0, one),
        going=torch.where(lost & ~good, 0.0, one),
    )


def memory(rule: PIControl, state: ControllerState, size: Tensor, ratio: Tensor) -> Tensor:
    """The proportional part: ``PIControl.memory``."""
    beta = 0.2 / rule.order
    growth = (size / state.last_size) ** (0.6 * rule.order)
    scaled = (state.last_ratio * growth).clamp(1e-4, 1.0)
    return torch.where(state.last_size == 0, 0.8, ratio ** (0.75 * beta) * scaled**beta)
