"""What a regularizer is and what it sees."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from torch import Tensor


class Local(NamedTuple):
    """One point of the path: t (); x and dx = f(t, x), (B, *event); rows e_k^T df/dx, (K, B,
    *event).
    """

    t: Tensor
    x: Tensor
    dx: Tensor
    rows: Tensor


class Regularizer(Protocol):
    """A cost density. ``weight`` times its integral along the path, averaged over the batch, joins
    the loss.
    """

    weight: float

    def __call__(self, local: Local) -> Tensor:
        """The density at one point, shape (B,)."""
