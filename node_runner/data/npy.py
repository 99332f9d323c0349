"""Any rows of numbers, from three files of NumPy."""

from __future__ import annotations

from pathlib import Path

import torch

from .files import read_array
from .tabular import Splits, Tabular, z_score


class Npy(Tabular):
    """The arrays of train.npy, val.npy and test.npy, (rows, D) each, as they are.

    Args:
        folder: that holds them.
        batch_size, evaluation_size: as for ``Tabular``.
        standardise: by mean and deviation of the training rows.

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
    ) -> None:
        splits = load(Path(folder))
        if standardise:
            splits = z_score(splits, splits.train, str(Path(folder) / "train.npy"))
        part = f"{Path(folder).name}, {'standardised' if standardise else 'as it is'}"
        super().__init__("npy", part, splits, seed, device, batch_size, evaluation_size)


def load(folder: Path) -> Splits:
    """The three arrays, of as many columns as train.npy."""
    paths = [folder / f"{split}.npy" for split in ("train", "val", "test")]
    for path in paths:
        if not path.is_file():
            raise FileNotFoundError(
                f"{folder} lacks {path.name}; place train.npy, val.npy and test.npy there, arrays "
                "of rows by columns, or set data.folder to the folder that holds them"
            )
    train = read_array(paths[0])
    return Splits(train, *(read_array(path, train.shape[1]) for path in paths[1:]))
