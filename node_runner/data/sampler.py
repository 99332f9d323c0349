"""Batches as functions of the seed and the step, and base classes of data sets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from .randomness import stream

__all__ = ["BatchSampler", "EpochSampler", "GeneratedData", "IndexedData", "check_positive"]


class EpochSampler:
    """Training batches in a new random order each epoch; the last, smaller batch is dropped.

    A batch is a function of the seed and the step, so that a resumed run sees the same ones.

    Args:
        seed: Seed of the run.
        size: Number of training samples.
        batch_size: Samples in a batch.
        device: Device of the indices.

    Raises:
        ValueError: for a batch that is empty or larger than the set.

    Example:
        >>> sampler = EpochSampler(seed=0, size=5, batch_size=2, device=torch.device("cpu"))
        >>> sampler.steps_per_epoch, sampler.indices(step=7).shape
        (2, torch.Size([2]))
    """

    def __init__(self, seed: int, size: int, batch_size: int, device: torch.device) -> None:
        if not 1 <= batch_size <= size:
            raise ValueError(f"batch_size is {batch_size}, must be 1 to {size}")
        self.seed, self.size, self.batch_size, self.device = seed, size, batch_size, device
        self.steps_per_epoch = size // batch_size
        self._recent = lru_cache(maxsize=2)(self.epoch)

    def epoch(self, number: int) -> Tensor:
        """Return all indices in the order of an epoch, (size,)."""
        generator = stream(torch.device("cpu"), self.seed, "order", number)
        return torch.randperm(self.size, generator=generator).to(self.device)

    def indices(self, step: int) -> Tensor:
        """Return the indices of a training step, (batch_size,)."""
        epoch, i = divmod(step, self.steps_per_epoch)
        return self._recent(epoch)[i * self.batch_size : (i + 1) * self.batch_size]


class BatchSampler:
    """Indices of the batches of training and of evaluation.

    Args:
        seed: Seed of the run.
        device: Device of the indices.
        sizes: Number of samples by split, "train" among them.
        batch_size: Samples in a training batch.
        evaluation_size: Samples in a batch of evaluation; the last one may be smaller.

    Raises:
        ValueError: for sizes out of range.

    Example:
        >>> sampler = BatchSampler(0, torch.device("cpu"), {"train": 8, "test": 3}, 4, 2)
        >>> [indices.tolist() for indices in sampler.eval_indices("test")]
        [[0, 1], [2]]
    """

    def __init__(
        self,
        seed: int,
        device: torch.device,
        sizes: Mapping[str, int],
        batch_size: int,
        evaluation_size: int,
    ) -> None:
        check_positive(evaluation_size=evaluation_size)
        self.epochs = EpochSampler(seed, sizes["train"], batch_size, device)
        self.sizes, self.evaluation_size, self.device = sizes, evaluation_size, device

    def train_indices(self, step: int) -> Tensor:
        """Return the indices of a training step, (batch_size,)."""
        return self.epochs.indices(step)

    def eval_indices(self, split: str) -> Iterator[Tensor]:
        """Yield the indices of a split in order, at most ``evaluation_size`` at a time."""
        if self.sizes[split]:  # to split nothing would give one empty batch
            indices = torch.arange(self.sizes[split], device=self.device)
            yield from indices.split(self.evaluation_size)


class IndexedData:
    """Base class of data sets whose samples lie on the device and are chosen by index.

    A subclass defines ``batch`` and the attributes ``name``, ``part`` and ``shape`` of
    ``training.Data``. One that has a scaling sets ``scaling`` and takes the ``state_dict`` of an
    earlier run as ``state``.

    Args:
        seed, device, sizes, batch_size, evaluation_size: as for ``BatchSampler``.

    Raises:
        ValueError: for sizes out of range.
    """

    name: str
    part: str
    shape: tuple[int, ...]
    scaling: Any = None

    def __init__(
        self,
        seed: int,
        device: torch.device,
        sizes: Mapping[str, int],
        batch_size: int,
        evaluation_size: int,
    ) -> None:
        self.sampler = BatchSampler(seed, device, sizes, batch_size, evaluation_size)
        self.seed, self.device, self.sizes = seed, device, dict(sizes)
        self.steps_per_epoch = self.sampler.epochs.steps_per_epoch

    def batch(self, split: str, indices: Tensor, step: int) -> Any:
        """Return the samples of these indices of a split.

        Args:
            step: Training step, or number of the batch of an evaluation: the name of what is drawn.
        """
        raise NotImplementedError

    def train_batch(self, step: int) -> Any:
        """Return the batch of a training step, a function of the seed and the step."""
        return self.batch("train", self.sampler.train_indices(step), step)

    def batches(self, split: str) -> Iterator[Any]:
        """Yield the batches of "validation" or "test" in order, the same each time."""
        for i, indices in enumerate(self.sampler.eval_indices(split)):
            yield self.batch(split, indices, i)

    def state_dict(self) -> dict[str, Any]:
        """Return the scaling, which belongs to a run whatever samples it is evaluated on."""
        return {} if self.scaling is None else self.scaling.state_dict()


class GeneratedData:
    """Base class of data sets that are an endless stream of fresh samples.

    A subclass defines ``draw`` and the attributes ``name`` and ``shape`` of ``training.Data``.

    Args:
        seed: Seed of the run.
        device: Device that samples are drawn on.
        batch_size: Samples in a training batch.
        validation_size, test_size: Samples of those sets, which are fixed.
        epoch_steps: Training steps that count as one epoch.

    Raises:
        ValueError: for a size below 1.
    """

    part = "generated"

    def __init__(
        self,
        seed: int,
        device: torch.device,
        batch_size: int,
        validation_size: int,
        test_size: int,
        epoch_steps: int,
    ) -> None:
        check_positive(batch_size=batch_size, validation_size=validation_size)
        check_positive(test_size=test_size, epoch_steps=epoch_steps)
        self.seed, self.device, self.batch_size = seed, device, batch_size
        self.steps_per_epoch = epoch_steps
        self.sizes = {"validation": validation_size, "test": test_size}

    def draw(self, n: int, generator: torch.Generator) -> Tensor:
        """Return n samples, (n, D)."""
        raise NotImplementedError

    def train_batch(self, step: int) -> Tensor:
        """Return fresh samples, (batch_size, D), a function of the seed and the step."""
        return self.draw(self.batch_size, stream(self.device, self.seed, "train", step))

    def batches(self, split: str) -> Iterator[Tensor]:
        """Yield the fixed samples of "validation" or "test", at most 2000 at a time."""
        yield from self.draw(self.sizes[split], stream(self.device, self.seed, split)).split(2000)


def check_positive(**options: int) -> None:
    """Check integers that must be at least 1.

    Raises:
        ValueError: naming the first that is not.
    """
    for name, value in options.items():
        if value < 1:
            raise ValueError(f"{name} is {value}, must be at least 1")
