"""Standard normal noise, for what learns from an energy instead of data."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from .randomness import stream


class Noise:
    """An endless stream of N(0, I), drawn fresh on the device at every step.

    Args:
        dim: D.
        batch_size: of training.
        validation_size, test_size: samples of those sets, which are fixed.
        epoch_steps: training steps that count as one epoch.

    Raises:
        ValueError: for a size below 1.
    """

    name, part = "noise", "generated"

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
        sizes = {"dim": dim, "batch_size": batch_size, "validation_size": validation_size}
        sizes |= {"test_size": test_size, "epoch_steps": epoch_steps}
        for option, value in sizes.items():
            if value < 1:
                raise ValueError(f"data.{option} is {value}, must be at least 1")
        self.seed, self.device, self.shape, self.batch_size = seed, device, (dim,), batch_size
        self.steps_per_epoch = epoch_steps
        self.sizes = {"validation": validation_size, "test": test_size}

    def draw(self, n: int, *name: object) -> Tensor:
        generator = stream(self.device, self.seed, *name)
        return torch.randn(n, *self.shape, generator=generator, device=self.device)

    def train_batch(self, step: int) -> Tensor:
        """(batch_size, D); the same for the same seed and step."""
        return self.draw(self.batch_size, "train", step)

    def batches(self, split: str) -> Iterator[Tensor]:
        """The fixed samples of "validation" or "test", in batches of at most 2000."""
        yield from self.draw(self.sizes[split], split).split(2000)
