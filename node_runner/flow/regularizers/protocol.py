"""What a regularizer is and what it sees."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn

# torch.func.jvp compiles its own rules by what torch itself has deprecated.
warnings.filterwarnings("ignore", "`torch.jit.script` is deprecated", FutureWarning)


class Local(NamedTuple):
    """One point of the path: t (); x and dx = f(t, x), (B, *event); rows e_k^T df/dx, (K, B,
    *event); a function that gives the total derivative d f(t, x(t)) / dt, (B, *event), when it is
    asked for.
    """

    t: Tensor
    x: Tensor
    dx: Tensor
    rows: Tensor
    acceleration: Callable[[], Tensor]


def acceleration(field: nn.Module, t: Tensor, x: Tensor, dx: Tensor) -> Tensor:
    """d f(t, x(t)) / dt = (df/dx) dx + df/dt, by one Jacobian-vector product with (1, dx)."""
    return torch.func.jvp(field, (t, x), (torch.ones_like(t), dx))[1]


class Regularizer(Protocol):
    """A cost density. ``weight`` times its integral along the path, averaged over the batch, joins
    the loss.
    """

    weight: float

    def __call__(self, local: Local) -> Tensor:
        """The density at one point, shape (B,)."""
