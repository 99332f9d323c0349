"""BSDS300: patches of natural images."""

from __future__ import annotations

from pathlib import Path

import torch

from .files import absent, check_array, find, folders
from .tabular import MAF, Splits, Tabular, part_of

ROWS = 1_300_000
COLUMNS = 63


class Bsds300(Tabular):
    """Grey patches of 8 x 8 pixels without their mean and their last pixel, with noise added.

    The splits of Papamakarios et al. 2017 as they are: 1,000,000, 50,000 and 250,000 rows.

    Args:
        root: folder that holds ``bsds300`` or ``BSDS300``, with the archive's BSDS300.hdf5.
        batch_size, evaluation_size: as for ``Tabular``.

    Raises:
        FileNotFoundError: saying what to place where.
        ValueError: for files that hold something else, and where h5py is not installed.
    """

    def __init__(
        self,
        seed: int,
        device: torch.device,
        root: str = "data",
        batch_size: int = 10_000,
        evaluation_size: int = 1000,
    ) -> None:
        splits = load(Path(root))
        part = part_of(sum(map(len, splits)), ROWS)
        super().__init__("bsds300", part, splits, seed, device, batch_size, evaluation_size)


def load(root: Path) -> Splits:
    """The splits of the file."""
    places = folders(root, "bsds300")
    path = find(places, ("BSDS300.hdf5",))
    if path is None:
        raise absent(places[1], "BSDS300.hdf5", MAF, root)
    try:
        import h5py  # optional
    except ImportError as error:
        raise ValueError(
            f"{path} is read by h5py, which is not installed: pip install 'node-runner[hdf5]'"
        ) from error
    try:
        with h5py.File(path, "r") as file:
            splits = Splits(*(file[split][:] for split in Splits._fields))
    except (OSError, KeyError) as error:
        raise ValueError(
            f"{path} is no whole HDF5 file of train, validation and test ({error})"
        ) from error
    for split, x in splits._asdict().items():
        check_array(x, f"{path}: {split}", COLUMNS)
    return splits
