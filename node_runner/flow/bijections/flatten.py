"""Images as vectors."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from ..flow import Flow, Transport


class Flatten(Flow):
    """(B, *shape) to (B, D), entries in order: its volume is one. At the end of a flow it makes the
    noise of all image flows alike.
    """

    def __init__(self, shape: Sequence[int]) -> None:
        super().__init__()
        self.shape = tuple(shape)

    def transport(self, x: Tensor) -> Transport:
        return Transport(x.flatten(1), x.new_zeros(len(x)))

    def inverse(self, z: Tensor) -> Tensor:
        return z.unflatten(1, self.shape)
