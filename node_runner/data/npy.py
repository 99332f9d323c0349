"""Any rows of numbers, from three files of NumPy."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from .files import read_array
from .scaling import far_from_unit, scaling_of, z_score
from .tabular import Splits, Tabular

log = logging.getLogger(__name__)


class Npy(Tabular):
    """The arrays of train.npy, val.npy and test.npy, (rows, D) each, as they are.

    Args:
        folder: that holds them.
        batch_size, evaluation_size: as for ``Tabular``.
        standardise: by mean and deviation of the training rows, those of the run that is evaluated.
        state: ``state_dict()`` of the run that is evaluated or resumed, whose scaling is then used.

    Raises:
        FileNotFoundError: naming the file that is absent.
        ValueError: for files that hold something else.
    """

    def __init__(
        self,
        seed: int,
        device: torch.device,
        folder: str = "data/npy",
        batch_size: int = 1000,
        evaluation_size: int = 1000,
        standardise: bool = False,
        state: Mapping[str, Any] | None = None,
    ) -> None:
        scaling = scaling_of(state) if standardise else None
        splits = load(Path(folder), None if scaling is None else len(scaling.shift))
        if standardise and scaling is None:
            scaling = z_score(splits.train, str(Path(folder) / "train.npy"))
        elif not standardise and (far := far_from_unit(splits.train)):
            log.warning(
                "%s: %s, far from the N(0, I) that a flow starts from: set standardise=true",
                Path(folder) / "train.npy",
                far,
            )
        part = f"{Path(folder).name}, {'standardised' if standardise else 'as it is'}"
        sizes = (batch_size, evaluation_size)
        super().__init__("npy", part, splits, seed, device, *sizes, scaling)


def load(folder: Path, columns: int | None = None) -> Splits:
    """The three arrays, of so many columns, or of as many as train.npy."""
    paths = [folder / f"{split}.npy" for split in ("train", "val", "test")]
    for path in paths:
        if not path.is_file():
            raise FileNotFoundError(
                f"{folder} lacks {path.name}; place train.npy, val.npy and test.npy there, arrays "
                "of rows by columns, or set folder to the folder that holds them"
            )
    train = read_array(paths[0], columns)
    return Splits(train, *(read_array(path, train.shape[1]) for path in paths[1:]))
