"""Interface of regularizers: costs integrated along the path."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

# torch.func.jvp compiles its own rules by what torch itself has deprecated.
warnings.filterwarnings("ignore", "`torch.jit.script` is deprecated", FutureWarning)


class PathPoint(NamedTuple):
    """One point of the path, for a batch.

    Attributes:
        t: Time, ().
        x: Position, (B, *event).
        dx: f(t, x), (B, *event).
        vjps: Vector-Jacobian products e_k^T df/dx of the divergence's probes, (K, B, *event).
        total_derivative: Function that returns d f(t, x(t)) / dt, (B, *event); not computed unless
            called.
    """

    t: Tensor
    x: Tensor
    dx: Tensor
    vjps: Tensor
    total_derivative: Callable[[], Tensor]


def total_derivative(
    f: Callable[[Tensor, Tensor], Tensor], t: Tensor, x: Tensor, dx: Tensor
) -> Tensor:
    """Return d f(t, x(t)) / dt = (df/dx) dx + df/dt by one Jacobian-vector product with (1, dx)."""
    return torch.func.jvp(f, (t, x), (torch.ones_like(t), dx))[1]


class Regularizer(Protocol):
    """A cost density. ``weight`` times its integral along the path, averaged over the batch, is
    added to the loss.
    """

    weight: float

    def __call__(self, point: PathPoint) -> Tensor:
        """Return the density at one point, (B,)."""
