"""Images as vectors."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from torch import Tensor

from ..flow import Flow, Transport


class Flatten(Flow):
    """(B, *shape) to (B, D), entries in order: its volume is one. It ends an image flow, whose
    noise then has the shape of that of ``Multiscale``.

    Args:
        shape: Shape of a sample.

    Example:
        >>> import torch
        >>> Flatten((1, 4, 4)).transport(torch.zeros(2, 1, 4, 4)).z.shape
        torch.Size([2, 16])
    """

    shape: tuple[int, ...]

    def __init__(self, shape: Sequence[int]) -> None:
        super().__init__()
        self.shape = tuple(shape)

    @property
    def noise_shape(self) -> tuple[int, ...]:
        return (prod(self.shape),)

    def transport(self, x: Tensor, context: Tensor | None = None) -> Transport:
        self._check_context(x, context)
        return Transport(x.flatten(1), x.new_zeros(len(x)))

    def inverse(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        self._check_context(z, context)
        return z.unflatten(1, self.shape)
