"""What a step on a fixed grid is asked for, and what it is told."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import Tensor

Field = Callable[[Tensor, Tensor], Tensor]  # (t, y) -> dy/dt, t a 0-dim tensor of y's dtype
Time = float | Tensor  # a number, or a 0-dim tensor where the gradient of the times is wanted


class Span:
    """The interval of one step.

    Where no gradient of the times is wanted t0, t1 and dt are floats, and a combination of rates
    costs one operation a rate; otherwise they are 0-dim tensors with their graph.

    Args:
        t0, t1: ends of the step; t1 < t0 for a solve backwards in time.
        like: a tensor of the state's dtype and device, which are those of the times f sees.
        perturb: let f see the neighbours of t0 and t1 inside the step, so that a field that jumps
            at a grid point is evaluated on the side of this step.
    """

    def __init__(self, t0: Time, t1: Time, like: Tensor, perturb: bool = False) -> None:
        self.t0, self.t1, self.dt = t0, t1, t1 - t0
        self.dtype, self.device, self.perturb = like.dtype, like.device, perturb

    def at(self, c: float) -> Tensor:
        """The time t0 + c dt as f sees it, exactly t1 for c = 1."""
        t = self.t0 if c == 0.0 else self.t1 if c == 1.0 else self.t0 + c * self.dt
        if not self.perturb or c not in (0.0, 1.0):
            return self.seen(t)
        return beside(self.seen(t), self.seen(self.t1 if c == 0.0 else self.t0))

    def seen(self, t: Time) -> Tensor:
        if isinstance(t, Tensor):
            return t.to(self.device, self.dtype)
        return torch.full((), t, dtype=self.dtype, device=self.device)


def number(t: Time) -> float:
    """The time without its graph."""
    return t.item() if isinstance(t, Tensor) else t


def beside(t: Tensor, towards: Tensor) -> Tensor:
    """The neighbour of t in the direction of ``towards``; its gradient is that of t.

    The difference of neighbours is exact in floating point, and so is the sum.
    """
    with torch.no_grad():
        nudge = torch.nextafter(t, towards) - t
    return t + nudge


def increment(rates: Sequence[Tensor], weights: Sequence[float], dt: Time) -> Tensor:
    """dt sum_i w_i k_i of the state's shape, differentiable in the rates and in dt.

    Weights of zero are skipped: where the rate is not finite it must not be seen.
    """
    total = None
    for rate, weight in zip(rates, weights, strict=False):
        if not weight:
            continue
        if total is None:
            total = rate * (weight * dt if isinstance(dt, float) else dt.to(rate.dtype) * weight)
        elif isinstance(dt, float):
            total = torch.add(total, rate, alpha=weight * dt)
        else:
            total = torch.addcmul(total, rate, dt.to(rate.dtype), value=weight)
    return torch.zeros_like(rates[0]) if total is None else total


class Advance(Protocol):
    """One solve by one method: what has to be remembered from step to step lives here."""

    def __call__(self, f: Field, span: Span, y0: Tensor) -> tuple[Tensor, Tensor | None]:
        """The increment y1 - y0 of the state's shape, and f(t0, y0) where the method has
        evaluated it.

        Raises:
            SolverError: where the equations of an implicit method cannot be solved.
        """


class Stepper(Protocol):
    """A method on a fixed grid; ``name`` is for messages."""

    name: str

    def begin(self) -> Advance:
        """A fresh solve."""
