"""Where the steps of a fixed grid are."""

from __future__ import annotations

from collections.abc import Callable
from math import ceil, copysign, isfinite

import torch
from torch import Tensor

from ..control import MOST_FIXED_STEPS
from .steppers.protocol import Field

Constructor = Callable[[Field, Tensor, Tensor], Tensor]  # (f, y0, t) -> times from t[0] to t[-1]


def make_grid(
    f: Field,
    y0: Tensor,
    t: Tensor,
    step_size: float | None,
    grid_constructor: Constructor | None,
) -> Tensor:
    """The times of the steps, shape (N,), N > 1: t itself, uniform, or as the constructor says.

    Raises:
        ValueError: for both options at once, a step that is not positive or makes too many, or a
            grid that is not monotone from t[0] to t[-1].
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
    if count > MOST_FIXED_STEPS:
        raise ValueError(
            f"step_size is {step_size!r}, which makes {count:.3g} steps from t[0]={first:.9g} to "
            f"t[-1]={last:.9g}, more than {MOST_FIXED_STEPS:,}: choose a larger one"
        )
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
