"""Which samples a training batch holds."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from .randomness import stream


class Order:
    """Every epoch in an order of its own; its last, smaller batch is dropped. A function of the
    seed and the step alone, so that a resumed run sees it too.

    Args:
        size: samples to train on.
        device: of the indices.

    Raises:
        ValueError: for a batch that is empty or larger than the set.
    """

    def __init__(self, seed: int, size: int, batch_size: int, device: torch.device) -> None:
        if not 1 <= batch_size <= size:
            raise ValueError(f"data.batch_size is {batch_size}, must be 1 to {size}")
        self.seed, self.size, self.batch_size, self.device = seed, size, batch_size, device
        self.steps_per_epoch = size // batch_size
        self.recent = lru_cache(maxsize=2)(self.__call__)

    def __call__(self, epoch: int) -> Tensor:
        """All indices in the order of an epoch, (size,)."""
        generator = stream(torch.device("cpu"), self.seed, "order", epoch)
        return torch.randperm(self.size, generator=generator).to(self.device)

    def batch(self, step: int) -> Tensor:
        """The indices of a step, (batch_size,)."""
        epoch, i = divmod(step, self.steps_per_epoch)
        return self.recent(epoch)[i * self.batch_size : (i + 1) * self.batch_size]
