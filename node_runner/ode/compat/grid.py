"""Solves on a fixed grid of times: the loop behind every method that does not choose its steps."""

from __future__ import annotations

from collections.abc import Callable
from math import ceil, copysign, isfinite

import torch
from torch import Tensor

from ..errors import unknown_name
from .steppers.protocol import Field, Span, Stepper, Time

INTERPOLANTS = ("linear", "cubic")
OnStep = Callable[[Tensor, Tensor, Tensor], object]


def solve(
    f: Field,
    y0: Tensor,
    t: Tensor,
    stepper: Stepper,
    *,
    step_size: float | None = None,
    grid_constructor: Callable[[Field, Tensor, Tensor], Tensor] | None = None,
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
    tracked = torch.is_grad_enabled() and (t.requires_grad or grid.requires_grad)
    knots, wanted = (grid.unbind(), t.unbind()) if tracked else (points, times)
    advance, sign = stepper.begin(), copysign(1.0, times[-1] - times[0])
    y, outputs = y0, [y0]
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
    return torch.stack(outputs)


class Piece:
    """One step taken, and the interpolant over it."""

    def __init__(self, f: Field, span: Span, y0: Tensor, advance: Callable, interp: str) -> None:
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


def make_grid(
    f: Field,
    y0: Tensor,
    t: Tensor,
    step_size: float | None,
    grid_constructor: Callable[[Field, Tensor, Tensor], Tensor] | None,
) -> Tensor:
    """The times of the steps, shape (N,), N > 1: t itself, uniform, or as the constructor says.

    Raises:
        ValueError: for both options at once, a step that is not positive, or a grid that is not
            monotone from t[0] to t[-1].
    """
    if step_size is not None and grid_constructor is not None:
        raise ValueError(
            "step_size and grid_constructor exclude each other: both say where the steps are; "
            f"leave one out (step_size is {step_size!r})"
        )
    if step_size is not None:
        return uniform_grid(t, step_size)
    if grid_constructor is None:
        return t
    grid = grid_constructor(f, y0, t)
    if not isinstance(grid, Tensor) or grid.dim() != 1:
        seen = f"shape {tuple(grid.shape)}" if isinstance(grid, Tensor) else type(grid).__name__
        raise ValueError(f"grid_constructor returned {seen}, must be a tensor of shape (N,)")
    check_grid(grid.tolist(), t.tolist())
    grid = grid.to(t.device)
    if t.requires_grad and not grid.requires_grad:  # its ends are those of t, whose graph they keep
        grid = torch.cat([t[:1], grid[1:-1].to(t.dtype), t[-1:]])
    return grid


def check_grid(points: list[float], times: list[float]) -> None:
    """Refuse a grid that is not strictly monotone from times[0] to times[-1]."""
    if len(points) < 2 or points[0] != times[0] or points[-1] != times[-1]:
        ends = f"from {points[0]:.9g} to {points[-1]:.9g}" if points else "no points"
        raise ValueError(
            f"grid_constructor returned a grid of {len(points)} ({ends}), must start at "
            f"t[0]={times[0]:.9g} and end at t[-1]={times[-1]:.9g} exactly"
        )
    for i, (a, b) in enumerate(zip(points, points[1:], strict=False)):
        if not (b - a) * (times[-1] - times[0]) > 0:
            raise ValueError(
                f"grid_constructor returned a grid that does not run from t[0] to t[-1] without "
                f"turning: grid[{i}]={a:.9g}, grid[{i + 1}]={b:.9g}"
            )


def uniform_grid(t: Tensor, step_size: float) -> Tensor:
    """Points t[0], t[0] + h, t[0] + 2 h, ..., t[-1] in t's direction, with the graph of t.

    A remainder within rounding of a whole number of steps makes no further step.
    """
    first, last = t[0].item(), t[-1].item()
    size = check_step_size(step_size)
    count = abs(last - first) / size
    rounding = 4 * torch.finfo(t.dtype).eps * max(abs(first), abs(last)) / size
    steps = max(1, ceil(count - min(0.5, max(1e-9, rounding))))
    offsets = torch.arange(steps, dtype=t.dtype, device=t.device) * copysign(size, last - first)
    return torch.cat([t[0] + offsets, t[-1:]])


def check_step_size(step_size: float) -> float:
    size = float(step_size)
    if not (isfinite(size) and size > 0):
        raise ValueError(
            f"step_size is {size!r}, must be positive and finite, whichever way t runs"
        )
    return size
