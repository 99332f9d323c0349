"""Solves on a fixed grid of times: the loop behind every method that does not choose its steps."""

from __future__ import annotations

from collections.abc import Callable
from math import copysign, nan

import torch
from torch import Tensor

from ..errors import SolverError, unknown_name
from ..graph_memory import GraphMemory
from ..state import Layout
from ..times import moves
from ..watch import ConditionIsNaN, Conditions, Watch
from .mesh import Constructor, check_step_size, make_grid
from .steppers.protocol import Advance, Field, Span, Stepper, Time, number

INTERPOLANTS = ("linear", "cubic")
OnStep = Callable[[Tensor, Tensor, Tensor], object]


def solve(
    f: Field,
    y0: Tensor,
    t: Tensor,
    stepper: Stepper,
    *,
    step_size: float | None = None,
    grid_constructor: Constructor | None = None,
    interp: str = "linear",
    perturb: bool = False,
    on_step: OnStep | None = None,
) -> Tensor:
    """The solution of y' = f(t, y), y(t[0]) = y0, at the times t by steps on a grid.

    The grid is t itself unless ``step_size`` or ``grid_constructor`` makes another; then the
    outputs between its points are interpolated. The gradient, in y0, in whatever f uses and in t,
    is that of the discrete solve: grid points, step sizes and interpolation all depend on t. Of a
    grid that carries no graph only the ends do.

    Args:
        f: (t, y) -> dy/dt, t a 0-dim tensor of y's dtype.
        y0: real state of any shape.
        t: strictly monotone times in either direction, shape (T,).
        stepper: the method.
        step_size: steps of this size from t[0], the last one shortened to end at t[-1].
        grid_constructor: (f, y0, t) -> strictly monotone times from t[0] to t[-1].
        interp: "linear" through both ends of a step (second order), or "cubic", Hermite's
            polynomial through them with their rates (fourth order, one more evaluation a step
            that has outputs inside).
        perturb: evaluate f just inside the step at both of its ends.
        on_step: called with (t0, y0, dt) before each step.

    Returns:
        Shape (T, *y0.shape), the first entry y0.

    Raises:
        ValueError: for options that exclude each other or a grid that does not fit t.
        SolverError: where the equations of an implicit method cannot be solved.
    """
    if interp not in INTERPOLANTS:
        raise unknown_name("interp", interp, INTERPOLANTS)
    if len(t) == 1:
        return y0[None]
    t = t.to(y0.device)
    grid = make_grid(f, y0, t, step_size, grid_constructor)
    points, times = grid.tolist(), t.tolist()
    tracked = moves(t) or moves(grid)
    knots, wanted = (grid.unbind(), t.unbind()) if tracked else (points, times)
    advance, sign = stepper.begin(), copysign(1.0, times[-1] - times[0])
    y, outputs = y0, [y0]
    memory = GraphMemory() if torch.is_grad_enabled() else None
    for i in range(len(points) - 1):
        span = Span(knots[i], knots[i + 1], y, perturb)
        if on_step is not None:
            on_step(grid[i], y, grid[i + 1] - grid[i])
        piece = Piece(f, span, y, advance, interp)
        while len(outputs) < len(times) and (points[i + 1] - times[len(outputs)]) * sign >= 0:
            j = len(outputs)
            lands = times[j] == points[i + 1] and (grid is t or not tracked)
            outputs.append(piece.y1 if lands else piece.at(wanted[j]))
        y = piece.y1
        if memory is not None:
            memory.count(y, stepper.name, points[i + 1], points[i + 1] - points[i])
    return torch.stack(outputs)


def solve_until_event(
    f: Field,
    y0: Tensor,
    t0: Tensor,
    conditions: Conditions,
    stepper: Stepper,
    *,
    sign: float = 1.0,
    step_size: float | None = None,
    interp: str = "linear",
    perturb: bool = False,
    on_step: OnStep | None = None,
    max_steps: int = 20_000,
) -> tuple[int, float, Tensor]:
    """Step from t0 to the first event, and find when on the interpolant.

    Args:
        f, stepper, interp, perturb, on_step: as in ``solve``.
        y0: shape (width,).
        t0: start, 0-dim.
        conditions: see ``Watch``.
        sign: 1 to go forwards in time, -1 backwards.
        step_size: of the steps; an event that comes and goes within one is missed.
        max_steps: steps without event after which the search fails.

    Returns:
        The number of the condition, the event's time, and the state then, with the gradient of the
        discrete solve at fixed event time.

    Raises:
        ValueError: for a step_size that is missing or no positive number, or a condition that is
            NaN.
        SolverError: if there is no event within max_steps, or the state is not finite.
    """
    if interp not in INTERPOLANTS:
        raise unknown_name("interp", interp, INTERPOLANTS)
    if step_size is None:
        raise ValueError(
            f"step_size is missing: {stepper.name} needs one to look for an event, for example "
            'options={"step_size": 0.01}'
        )
    step, t0 = copysign(check_step_size(step_size), sign), t0.to(y0.device)
    start = t0.item()
    origin = t0 if torch.is_grad_enabled() and t0.requires_grad else start
    advance, y = stepper.begin(), y0
    watch = Watch(conditions, Layout(y0), t0.dtype, (1.0,))
    for i in range(max_steps):
        span = Span(origin + i * step, origin + (i + 1) * step, y, perturb)
        if on_step is not None:
            on_step(span.seen(span.t0), y, span.seen(span.dt))
        piece = Piece(f, span, y, advance, interp)
        try:
            happened = watch(Inside(piece))
        except ConditionIsNaN as error:
            cause = f"{error.label} returned NaN"
            raise no_event(stepper, error.t, step, i, cause) from None
        if happened is None:
            cause = "the state is not finite after this step"
            raise no_event(stepper, number(span.t1), step, i + 1, cause)
        if happened:
            return watch.index, watch.t, piece.at(watch.t)
        watch.accept()
        y = piece.y1
    now = ", ".join(f"{g:.3g}" for g in watch.last[:8])
    cause = f"event_fn has not changed its sign in {max_steps} steps, it is {now} now"
    raise no_event(stepper, start + max_steps * step, step, max_steps, cause)


class Inside:
    """A step on a grid, as events are looked for in it."""

    def __init__(self, piece: Piece) -> None:
        self.piece, self.y0, self.y1 = piece, piece.y0, piece.y1
        self.t0, self.t1 = number(piece.span.t0), number(piece.span.t1)

    def at(self, times: list[float]) -> Tensor:
        """Shape (len(times), width), without graph."""
        if self.piece.interp == "cubic":
            with torch.set_grad_enabled(self.piece.y1.requires_grad):
                self.piece.rates()  # kept for the state at the event, which has a graph
        return torch.stack([self.piece.at(t) for t in times])

    @torch.no_grad()
    def slope(self, t: float) -> Tensor:
        """That of the chord, shape (width,)."""
        return (self.y1 - self.y0) / (self.t1 - self.t0)


class Piece:
    """One step taken, and the interpolant over it."""

    def __init__(self, f: Field, span: Span, y0: Tensor, advance: Advance, interp: str) -> None:
        dy, f0 = advance(f, span, y0)
        self.f, self.span, self.interp = f, span, interp
        self.y0, self.y1 = y0, y0 + dy
        self.f0, self.f1 = f0, None

    def at(self, t: Time) -> Tensor:
        """The solution at t in the span, of the state's shape; at t1 exactly y1."""
        theta = (t - self.span.t0) / self.span.dt
        if isinstance(theta, Tensor):
            theta = theta.to(self.y0.dtype)
        if self.interp == "linear":
            return torch.lerp(self.y0, self.y1, theta)
        f0, f1 = self.rates()
        rest = 1 - theta
        dt = self.span.dt if isinstance(theta, float) else self.span.dt.to(self.y0.dtype)
        bend = (rest * rest * theta * dt) * f0 - (theta * theta * rest * dt) * f1
        return torch.lerp(self.y0, self.y1, theta * theta * (3 - 2 * theta)) + bend

    def rates(self) -> tuple[Tensor, Tensor]:
        """f at both ends, evaluated where the step has not."""
        if self.f0 is None:
            self.f0 = self.f(self.span.at(0.0), self.y0)
        if self.f1 is None:
            self.f1 = self.f(self.span.at(1.0), self.y1)
        return self.f0, self.f1


def no_event(stepper: Stepper, t: float, dt: float, steps: int, cause: str) -> SolverError:
    return SolverError(
        method=stepper.name,
        t=t,
        dt=dt,
        error_ratio=nan,
        component="no component: none has been measured",
        steps=(steps, 0),
        cause=cause,
        advice=(
            "checking that event_fn crosses zero in this direction of time",
            "another step_size",
        ),
    )
