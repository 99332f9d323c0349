"""Standard normal noise, for models that learn from an energy instead of data."""

from __future__ import annotations

import torch
from torch import Tensor

from .sampler import GeneratedData, check_positive

__all__ = ["Noise"]


class Noise(GeneratedData):
    """An endless stream of samples of N(0, I), drawn on the device at every step.

    Args:
        seed, device, batch_size, validation_size, test_size, epoch_steps: as for ``GeneratedData``.
        dim: D.

    Raises:
        ValueError: for a size below 1.

    Example:
        >>> Noise(0, torch.device("cpu"), dim=3, batch_size=4).train_batch(step=0).shape
        torch.Size([4, 3])
    """

    name = "noise"

    def __init__(
        self,
        seed: int,
        device: torch.device,
        dim: int = 2,
        batch_size: int = 512,
        validation_size: int = 2000,
        test_size: int = 10_000,
        epoch_steps: int = 100,
    ) -> None:
        check_positive(dim=dim)
        super().__init__(seed, device, batch_size, validation_size, test_size, epoch_steps)
        self.shape = (dim,)

    def draw(self, n: int, generator: torch.Generator) -> Tensor:
        return torch.randn(n, *self.shape, generator=generator, device=self.device)
