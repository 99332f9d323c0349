"""Solves that end at an event: a change of sign of a condition on time and state."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import nextafter
from typing import Any, Literal

import torch
from torch import Tensor

from ..dynamo import run_eagerly
from ..errors import GrazingError
from ..gradients.double_backward import FirstDerivativeOnly
from ..problem import Problem
from ..protocol import SolverProtocol
from ..recording import StepRecorder, StoredStep, read, record
from ..state import Layout, State
from ..stats import Stats
from ..time_gradients import NO_SECOND_DERIVATIVES
from ..transforms import forward_level, refuse_tangents
from .condition import to_numbers, value_and_slope
from .detection import EventDetector

DIRECTIONS = ("up", "down", "either")


@dataclass(frozen=True)
class Event:
    """A condition g whose change of sign ends a solve; zero is a sign of its own.

    g may be one-sided, such as relu(y - c), an integer, or boolean, such as y > c: False counts as
    negative. It may jump.

    Args:
        condition: g: (t, y) -> a tensor of one element, t a 0-dim tensor of t0's dtype, y as the
            state; tensors that it uses get a gradient.
        direction: "up" for a larger sign, "down" for a smaller one, in the order in which the solve
            runs, or "either".
        name: what messages call it.

    Raises:
        ValueError: for another direction.
    """

    condition: Callable[[Tensor, State], Tensor]
    direction: Literal["up", "down", "either"] = "either"
    name: str = ""

    def __post_init__(self) -> None:
        if self.direction not in DIRECTIONS:
            raise ValueError(
                f"direction is {self.direction!r}, must be one of {', '.join(DIRECTIONS)}"
            )

    def happens(self, before: float, after: float) -> bool:
        """Whether the sign of g has changed in this direction."""
        if before == 0:
            wanted = {"up": after > 0, "down": after < 0, "either": True}[self.direction]
            return wanted and after != 0
        wanted = {"up": before < 0, "down": before > 0, "either": True}[self.direction]
        return wanted and (after >= 0 if before < 0 else after <= 0)


@dataclass(frozen=True)
class _Conditions:
    """The conditions of several events, as ``EventDetector`` evaluates them."""

    events: Sequence[Event]
    layout: Layout

    @property
    def count(self) -> int:
        return len(self.events)

    def evaluate(self, t: Tensor, y: Tensor, indices: Sequence[int]) -> Tensor:
        """Return the conditions of ``indices`` at (t, y), shape (len(indices),).

        Raises:
            ValueError: for anything but one number.
        """
        dtype = torch.promote_types(y.dtype, t.dtype)
        found = []
        for e in indices:
            g = self.events[e].condition(t, self.layout.state(y))
            if not isinstance(g, Tensor) or g.numel() != 1:
                seen = f"shape {tuple(g.shape)}" if isinstance(g, Tensor) else type(g).__name__
                raise ValueError(
                    f"the condition of {self.event_label(e)} returned {seen}, must be a tensor of "
                    "one element: reduce over the batch, for example by min()"
                )
            found.append(to_numbers(g.reshape(()), dtype))
        return torch.stack(found)

    def happens(self, e: int, before: float, after: float) -> bool:
        return self.events[e].happens(before, after)

    def event_label(self, e: int) -> str:
        return f"event {e}" + (f" ({self.events[e].name})" if self.events[e].name else "")


@dataclass(frozen=True)
class EventSolution:
    """Where the first event happened, or the end of the interval.

        g(t*, y(t*; theta), theta) = 0,
        dt*/dtheta = -(dg/dy dy/dtheta + dg/dtheta) / (dg/dt + dg/dy f),
        dy*/dtheta = dy/dtheta + f dt*/dtheta

    by the implicit function theorem, with dy/dtheta at the time found by the solver's gradient
    strategy, through the steps already taken, and f the slope of the interpolant there. Both are
    differentiable in y0, t0, what f uses and what g uses.

    A change of sign is looked for at the end of each accepted step and at three points within, so
    two roots closer than that may pass unseen; with two roots of one g between two of these points,
    or of different ones, the first that is found is not always the first. t is the first number at
    which the sign has changed. A g that is zero at t0, or within rounding of it, as after a bounce,
    starts with its sign just after; one that rests at zero, as a one-sided one may, ends that by an
    event. Where the solution inside a step cannot be trusted, as across a discontinuity of f, the
    step is taken again up to the event.

    A g of slope zero at the event, as relu has on one side, has the derivative of its other side. A
    boolean one has none: its time cannot be differentiated.

    >>> import torch
    >>> from node_runner.ode import Solver
    >>> falling = lambda t, y: torch.stack((y[1], torch.full_like(y[1], -9.81)))
    >>> hit = Solver().event(falling, torch.tensor([1.0, 0.0]), 0.0, lambda t, y: y[0], t_end=9.0)
    >>> hit.found, round(hit.t.item(), 3)
    (True, 0.452)

    Attributes:
        t: 0-dim, of t0's dtype where t0 is a tensor, else the state's; t_end where none happened.
        state: at t, as y0.
        index: the number of the event; None where none happened.
        stats: the cost; the backward part is there once the gradient has been taken.
    """

    t: Tensor
    state: State
    index: int | None
    stats: Stats

    @property
    def found(self) -> bool:
        return self.index is not None


def solve_until(
    solver: SolverProtocol,
    problem: Problem,
    events: Event | Callable | Sequence[Event | Callable],
    t0: float | Tensor,
    t_end: float | Tensor,
) -> EventSolution:
    """Solve to the first event, keeping of each step what a gradient needs: its states.

    Raises:
        ValueError: for no events, a condition that is no number, or steps from output to output.
        SolverError: if the solve can reach neither an event nor the end.
    """
    conditions = _Conditions(as_events(events), problem.layout)
    kind = t0 if isinstance(t0, Tensor) and t0.is_floating_point() else problem.y0
    detector = EventDetector(conditions, problem.layout, kind.dtype)
    recording = StepRecorder(solver, detector, "states" if torch.is_grad_enabled() else "last")
    differentiable = record(solver, recording, problem)
    start, end = problem.ts
    if detector.t is None:
        time = torch.as_tensor(t_end, dtype=kind.dtype, device=kind.device).reshape(())
    else:
        end = detector.t if detector.t != start else nextafter(start, end)
        time = torch.full((), end, dtype=kind.dtype, device=kind.device)
    flat = read(solver, recording, replace(problem, ts=[start, end]), differentiable)[0]
    if forward_level():
        seen = [flat]
        if detector.index is not None:
            seen.append(conditions.evaluate(time, flat, [detector.index]))
        refuse_tangents("a solve to an event", *seen, instead="torch.autograd.grad")
    if differentiable:
        step = recording.steps[-1]
        if detector.index is not None:
            time = crossing(detector, step, flat, time)
        if time.requires_grad:
            moved = flat + step.slope(end) * (time - time.detach()).to(flat)
            flat = FirstDerivativeOnly.apply(
                NO_SECOND_DERIVATIVES.format("end is an event or"), moved
            )
    return EventSolution(time, problem.layout.copies(flat), detector.index, problem.stats)


def crossing(detector: EventDetector, step: StoredStep, flat: Tensor, t: Tensor) -> Tensor:
    """The time of the event, with the gradient that the implicit function theorem gives it where
    the solution or the condition has one.
    """
    e, at, conditions = detector.index, detector.t, detector.conditions
    if e is None or at is None:
        return t
    if not flat.requires_grad and not conditions.evaluate(t, flat, [e]).requires_grad:
        return t
    y = flat if flat.requires_grad else flat.detach().requires_grad_()
    g, rate = value_and_slope(
        lambda t, y: conditions.evaluate(t, y, [e])[0],
        detector.time(at),
        y,
        step.slope(at),
    )  # synchronises, as the search has
    least = torch.finfo(y.dtype).eps ** 0.5 * detector.typical[e]
    time = EventTime.apply(t, g, y, rate, least, f"{conditions.event_label(e)}, t={at:.6g},")
    return FirstDerivativeOnly.apply(NO_SECOND_DERIVATIVES.format("end is an event or"), time)


class EventTime(torch.autograd.Function):
    """t, with dt = -dg / rate, rate being that of g along the solution."""

    @staticmethod
    @run_eagerly
    def forward(
        ctx: Any, t: Tensor, g: Tensor, y: Tensor, rate: float, least: float, name: str
    ) -> Tensor:
        ctx.rate, ctx.least, ctx.name, ctx.like = rate, least, name, g.detach()
        return t.clone()

    @staticmethod
    @run_eagerly
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        if not abs(ctx.rate) > ctx.least:
            raise GrazingError(
                f"the time of {ctx.name} has no derivative: its condition changes at "
                f"{ctx.rate:.3g} along the solution there, so that it is touched and not crossed, "
                "or gives no gradient; detach the time and the state, or watch another condition"
            )
        return None, -gradient.to(ctx.like) / ctx.rate, None, None, None, None


def as_events(events: Any) -> list[Event]:
    """A list of events, whatever form they were given in."""
    given = events if isinstance(events, (list, tuple)) else [events]
    if not given or not all(isinstance(each, Event) or callable(each) for each in given):
        raise ValueError(
            f"events is {events!r}, must be an Event or a function of (t, y), or a list of them"
        )
    return [each if isinstance(each, Event) else Event(each) for each in given]
