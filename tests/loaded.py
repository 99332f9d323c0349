"""A data set whose batches come from the worker processes of a DataLoader."""

import os
import time
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset


class Loaded:
    """Normal points; each split is read by ``workers`` processes.

    Args:
        bug: raised by the constructor ("first") or by the fifth batch ("later").
    """

    name, part, shape, steps_per_epoch = "loaded", "generated", (2,), 10

    def __init__(
        self,
        seed: int,
        device: torch.device,
        batch_size: int = 16,
        workers: int = 2,
        bug: str | None = None,
    ) -> None:
        self.batch_size, self.workers, self.bug = batch_size, workers, bug
        if bug == "first":
            raise KeyError(bug)
        points = torch.randn(320, 2, generator=torch.Generator().manual_seed(seed))
        parts = points.split((160, 80, 80))
        self.splits = dict(zip(("train", "validation", "test"), parts, strict=True))
        self.sizes = {"validation": 80, "test": 80}
        self.epoch: list[Tensor] = []

    def batches(self, split: str) -> Iterator[Tensor]:
        points = TensorDataset(self.splits[split])
        for (batch,) in DataLoader(points, self.batch_size, num_workers=self.workers):
            yield batch

    def train_batch(self, step: int) -> Tensor:
        time.sleep(float(os.environ.get("LOADED_PAUSE", 0)))
        if self.bug == "later" and step == 5:
            raise KeyError(self.bug)
        self.epoch = self.epoch or list(self.batches("train"))
        return self.epoch[step % len(self.epoch)]
