"""Rows of numbers for density estimation, held on the device, and the preprocessing that the sets
of Papamakarios et al. 2017 (MAF, appendix D and the released code) share.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from .order import Order
from .scaling import Scaling

# Of the preprocessed archive of Papamakarios et al.
MAF = "the MAF archive, https://zenodo.org/records/1161203"

SEED = 42  # of all preprocessing: the data are the same whatever the seed of the run


class Splits(NamedTuple):
    """Arrays (rows, D)."""

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray


class Tabular:
    """Samples of shape (D,) in float32.

    Args:
        name, part: of the set.
        splits: as the flow is to see them, but for the scaling.
        batch_size: of training; the last, smaller batch of an epoch is dropped.
        evaluation_size: batch size of evaluation.
        scaling: of the splits; none unless given.

    Raises:
        ValueError: for sizes out of range, for values beyond float32, and for the scaling of other
            columns.
    """

    def __init__(
        self,
        name: str,
        part: str,
        splits: Splits,
        seed: int,
        device: torch.device,
        batch_size: int,
        evaluation_size: int,
        scaling: Scaling | None = None,
    ) -> None:
        if evaluation_size < 1:
            raise ValueError(f"data.evaluation_size is {evaluation_size}, must be at least 1")
        self.name, self.part, self.evaluation_size = name, part, evaluation_size
        self.order = Order(seed, len(splits.train), batch_size, device)
        self.steps_per_epoch = self.order.steps_per_epoch
        if scaling is not None and len(scaling.shift) != splits.train.shape[1]:
            raise ValueError(
                f"{name} has {splits.train.shape[1]} columns, and the run was scaled by "
                f"{len(scaling.shift)}: choose data of the kind that it learned from"
            )
        self.scaling = scaling
        self.splits = {}
        for split, x in splits._asdict().items():
            u = torch.from_numpy(x if scaling is None else scaling(x)).to(device, torch.float32)
            if not u.isfinite().all():
                row, column = (~u.isfinite()).nonzero()[0].tolist()
                raise ValueError(
                    f"the {split} split of {name}, row {row}, column {column} (the first are 0): "
                    f"{x[row, column]:.6g} is too large for float32"
                )
            self.splits[split] = u
        self.sizes = {split: len(x) for split, x in self.splits.items()}
        self.shape = (splits.train.shape[1],)

    def state_dict(self) -> dict[str, Any]:
        """The scaling, which belongs to a run whatever rows it is evaluated on."""
        return {} if self.scaling is None else self.scaling.state_dict()

    def train_batch(self, step: int) -> Tensor:
        """Rows (batch_size, D), a function of the seed and the step alone."""
        return self.splits["train"][self.order.batch(step)]

    def batches(self, split: str) -> Iterator[Tensor]:
        """ "validation" or "test" in order."""
        yield from self.splits[split].split(self.evaluation_size)


def part_of(rows: int, whole: int, word: str = "") -> str:
    """ "whole", or how many rows of it are there."""
    return "whole" if rows == whole else f"{word}{rows} of {whole} rows"


def tails(x: np.ndarray, source: str) -> Splits:
    """The last tenth for testing, the last tenth of the rest for validation, rounded down.

    Raises:
        ValueError: naming the source, if a split would be empty.
    """
    rest, test = last_tenth(x, source)
    train, validation = last_tenth(rest, source)
    return Splits(train, validation, test)


def last_tenth(x: np.ndarray, source: str) -> tuple[np.ndarray, np.ndarray]:
    """All but the last tenth, and the last tenth.

    Raises:
        ValueError: as ``tails``.
    """
    kept = len(x) - len(x) // 10
    if kept == len(x):
        raise ValueError(f"{source} gives {kept} rows to split, too few for a tenth of them")
    return x[:kept], x[kept:]


def shuffled_tenths(x: np.ndarray, source: str) -> Splits:
    """A tenth of all rows for testing and another for validation, in a fixed random order.

    Raises:
        ValueError: as ``tails``.
    """
    x = x[np.random.RandomState(SEED).permutation(len(x))]
    rest, test = last_tenth(x, source)
    kept = len(rest) - len(test)
    return Splits(rest[:kept], rest[kept:], test)


def continuous(x: np.ndarray) -> np.ndarray:
    """The columns whose smallest value occurs at most five times. MAF's released code looks at the
    smallest value alone, though its comment speaks of all.
    """
    return np.flatnonzero((x == x.min(axis=0)).sum(axis=0) <= 5)
