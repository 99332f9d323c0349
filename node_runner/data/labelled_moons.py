"""Two moons with the moon as label: a toy set for conditional densities."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from .randomness import stream
from .toy import sample


class LabelledMoons:
    """Samples of the toy set ``moons``, (B, 2), with labels (B,): 0 for the upper moon, 1 for the
    lower one.

    Args:
        seed, device: Seed of all samples, and where they lie.
        batch_size: Training samples per step, at least 2.
        validation_size, test_size: Sizes of those sets, which are fixed, at least 2.
        epoch_steps: Training steps that count as one epoch.

    Raises:
        ValueError: For a size out of range.

    Example:
        >>> x, labels = LabelledMoons(0, torch.device("cpu"), batch_size=4).train_batch(0)
        >>> x.shape, labels.tolist()
        (torch.Size([4, 2]), [0, 0, 1, 1])
    """

    name, part, shape, classes = "labelled_moons", "generated", (2,), 2

    def __init__(
        self,
        seed: int,
        device: torch.device,
        batch_size: int = 128,
        validation_size: int = 1000,
        test_size: int = 4000,
        epoch_steps: int = 100,
    ) -> None:
        sizes = {"validation": validation_size, "test": test_size}
        for name, value in (("batch_size", batch_size), *sizes.items()):
            if value < 2:
                option = name if name in ("batch_size",) else f"{name}_size"
                raise ValueError(f"{option} is {value}, must be at least 2")
        if epoch_steps < 1:
            raise ValueError(f"epoch_steps is {epoch_steps}, must be at least 1")
        self.seed, self.device, self.batch_size = seed, device, batch_size
        self.sizes, self.steps_per_epoch = sizes, epoch_steps

    def train_batch(self, step: int) -> tuple[Tensor, Tensor]:
        """Return fresh samples and labels; the same for the same seed and step."""
        return self._draw(self.batch_size, "train", step)

    def batches(self, split: str) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the fixed samples and labels of "validation" or "test" in batches."""
        x, labels = self._draw(self.sizes[split], split)
        yield from zip(x.split(2000), labels.split(2000), strict=True)

    def _draw(self, n: int, *name: object) -> tuple[Tensor, Tensor]:
        x = sample("moons", n, stream(self.device, self.seed, *name))
        return x, (torch.arange(n, device=self.device) >= n // 2).long()
