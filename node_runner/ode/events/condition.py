"""The value of an event's condition and its slope along the solution, at one point."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

SIDES = (0.0, -8.0, 8.0, -64.0, 64.0)  # units of rounding from the event


def to_numbers(g: Tensor, dtype: torch.dtype) -> Tensor:
    """Values of a condition, of shape (K,); False is -1 and True 1."""
    return 2 * g.to(dtype) - 1 if g.dtype == torch.bool else g.to(dtype)


def value_and_slope(
    g: Callable[[Tensor, Tensor], Tensor], t: Tensor, y: Tensor, rate: Tensor
) -> tuple[Tensor, float]:
    """g at (t, y), with its graph in y and in what else it uses, and its slope along the solution.

    Where that is zero at the event, as that of relu is, those just before it, or just after it, are
    returned: the derivative on the side that has one.

    Args:
        g: (t, y) -> a 0-dim tensor.
        t: 0-dim, without graph.
        y: shape (width,); it requires a gradient.
        rate: y' there, shape (width,), without graph.
    """
    eps, norm = torch.finfo(y.dtype).eps, torch.linalg.vector_norm  # which an empty state has
    size, speed = norm(y.detach(), ord=2), norm(rate, ord=2)
    unit = eps * torch.maximum(t.abs(), size / speed).nan_to_num(1.0, 1.0).item()
    values = []
    for side in SIDES:
        at = (t + side * unit).requires_grad_()
        point = y if side == 0 else y + side * unit * rate
        value, slope = g(at, point), 0.0
        if value.requires_grad:
            try:
                found = slopes(value, at, point)
            except RuntimeError:  # as of heaviside, whose derivative torch does not have
                return value.detach(), 0.0
            slope = found[0].item() + torch.dot(found[1], rate).item()
        if slope or not value.requires_grad:
            return value, slope
        values.append(value)
    return values[0], 0.0


def slopes(g: Tensor, t: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """dg/dt and dg/dy, zero where g does not use them."""
    by_t, by_y = torch.autograd.grad(
        g, (t, y), retain_graph=True, allow_unused=True, materialize_grads=True
    )
    return by_t, by_y
