"""Rows of numbers for density estimation, held on the device, and the preprocessing that the sets
of Papamakarios et al. 2017 (MAF, appendix D and the released code) share.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from .sampler import IndexedData
from .scaling import Scaling, scaling_of

# Source of the preprocessed archive of Papamakarios et al.
MAF = "the MAF archive, https://zenodo.org/records/1161203"

SEED = 42  # of all preprocessing: the data do not depend on the seed of the run


class Splits(NamedTuple):
    """Arrays (rows, D)."""

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray


class Tabular(IndexedData):
    """Samples of shape (D,) in float32.

    Args:
        name, part: Name of the set, and which part of it is used.
        splits: Rows as the flow is to see them, but for the scaling.
        seed, device, batch_size, evaluation_size: as for ``BatchSampler``.
        scaling: Scaling of the splits (default: none).

    Raises:
        ValueError: for sizes out of range, for values beyond float32, and for the scaling of other
            columns.

    Example:
        >>> splits = Splits(np.zeros((8, 3)), np.zeros((2, 3)), np.zeros((2, 3)))
        >>> Tabular("zeros", "whole", splits, 0, torch.device("cpu"), 4, 4).train_batch(0).shape
        torch.Size([4, 3])
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
        sizes = {split: len(x) for split, x in splits._asdict().items()}
        super().__init__(seed, device, sizes, batch_size, evaluation_size)
        self.name, self.part, self.scaling = name, part, scaling
        self.shape = (splits.train.shape[1],)
        if scaling is not None and len(scaling.shift) != splits.train.shape[1]:
            raise ValueError(
                f"{name} has {splits.train.shape[1]} columns, and the run was scaled by "
                f"{len(scaling.shift)}: choose data of the kind that it learned from"
            )
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

    def batch(self, split: str, indices: Tensor, step: int = 0) -> Tensor:
        """Return rows, (B, D)."""
        return self.splits[split][indices]


class TabularFiles(Tabular):
    """A set that lies in files below a folder. A subclass defines ``name`` and ``load``.

    Args:
        root: Folder that holds that of the set.
        seed, device, batch_size, evaluation_size: as for ``BatchSampler``.
        state: ``state_dict()`` of the run that is evaluated or resumed, whose scaling is then used.

    Raises:
        FileNotFoundError: saying what to place where.
        ValueError: for files that hold something else, and as ``Tabular``.
    """

    def __init__(
        self,
        seed: int,
        device: torch.device,
        root: str = "data",
        batch_size: int = 1000,
        evaluation_size: int = 1000,
        state: Mapping[str, Any] | None = None,
    ) -> None:
        part, splits, scaling = self.load(Path(root), scaling_of(state))
        sizes = (batch_size, evaluation_size)
        super().__init__(self.name, part, splits, seed, device, *sizes, scaling)

    @staticmethod
    def load(root: Path, scaling: Scaling | None) -> tuple[str, Splits, Scaling | None]:
        """Return which part is there, its splits, and their scaling.

        Args:
            scaling: Scaling of an earlier run, returned in place of that of these rows.
        """
        raise NotImplementedError


def describe_part(rows: int, whole: int, word: str = "") -> str:
    """Return "whole", or how many rows of it there are."""
    return "whole" if rows == whole else f"{word}{rows} of {whole} rows"


def head_tail_split(x: np.ndarray, source: str) -> Splits:
    """Split off the last tenth for testing, the last tenth of the others for validation, rounded
    down.

    Raises:
        ValueError: naming the source, if a split would be empty.
    """
    rest, test = split_last_tenth(x, source)
    train, validation = split_last_tenth(rest, source)
    return Splits(train, validation, test)


def split_last_tenth(x: np.ndarray, source: str) -> tuple[np.ndarray, np.ndarray]:
    """Return all but the last tenth, and the last tenth.

    Raises:
        ValueError: as ``head_tail_split``.
    """
    kept = len(x) - len(x) // 10
    if kept == len(x):
        raise ValueError(f"{source} gives {kept} rows to split, too few for a tenth of them")
    return x[:kept], x[kept:]


def shuffled_tenths(x: np.ndarray, source: str) -> Splits:
    """Split off a tenth of all rows for testing and another for validation, in a fixed order.

    Raises:
        ValueError: as ``head_tail_split``.
    """
    x = x[np.random.RandomState(SEED).permutation(len(x))]
    rest, test = split_last_tenth(x, source)
    kept = len(rest) - len(test)
    return Splits(rest[:kept], rest[kept:], test)


def continuous(x: np.ndarray) -> np.ndarray:
    """Return the columns whose smallest value occurs at most five times. MAF's released code looks
    at the smallest value alone, though its comment speaks of all.
    """
    return np.flatnonzero((x == x.min(axis=0)).sum(axis=0) <= 5)
