"""MINIBOONE: a search for neutrino oscillations."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from .files import Table, absent, find, folders, read_array
from .tabular import MAF, Splits, Tabular, continuous, part_of, shuffled_tenths, tails, z_score

UCI = "https://archive.ics.uci.edu/dataset/199"
ROWS = 36_488
COLUMNS = 43
# UCI's file begins with the numbers of signal and background events; the signal comes first.
SIGNAL = 36_499
TABLE = Table(tuple(f"{i}" for i in range(50)), max_rows=SIGNAL)


class Miniboone(Tabular):
    """43 features of electron neutrino events.

    The preprocessing of Papamakarios et al. 2017: the signal of UCI's file without eleven outliers
    (first feature below -100) and without the features whose smallest value occurs more than five
    times; the last tenth is for testing, the last tenth of the rest for validation; mean and
    deviation are those of both but the test.

    Args:
        root: folder that holds ``miniboone`` or ``MINIBOONE``, with the first of these that is
            there: the archive's data.npy; UCI's MiniBooNE_PID.txt or its .gz; train.npy, val.npy
            and test.npy, standardised already; val.npy and test.npy alone, which are stacked,
            shuffled and split again 80 / 10 / 10, as they are.
        batch_size, evaluation_size: as for ``Tabular``.

    Raises:
        FileNotFoundError: saying what to place where.
        ValueError: for files that hold something else.
    """

    def __init__(
        self,
        seed: int,
        device: torch.device,
        root: str = "data",
        batch_size: int = 1000,
        evaluation_size: int = 1000,
    ) -> None:
        part, splits = load(Path(root))
        super().__init__("miniboone", part, splits, seed, device, batch_size, evaluation_size)


def load(root: Path) -> tuple[str, Splits]:
    """Which part is there, and its splits."""
    places = folders(root, "miniboone")
    path = find(places, ("data.npy", "MiniBooNE_PID.txt", "MiniBooNE_PID.txt.gz"))
    if path is not None:
        x = read_array(path, COLUMNS) if path.suffix == ".npy" else clean(TABLE.read(path), path)
        splits = tails(x, str(path))
        by = np.concatenate(splits[:2])
        return part_of(len(x), ROWS), z_score(splits, by, str(path))
    found = [find(places, (f"{split}.npy",)) for split in ("train", "val", "test")]
    if None in found[1:]:
        wanted = "data.npy, MiniBooNE_PID.txt, or val.npy and test.npy with or without train.npy"
        raise absent(places[0], wanted, f"{UCI} or {MAF}", root)
    arrays = [read_array(path, COLUMNS) for path in found if path is not None]
    rows = sum(map(len, arrays))
    if len(arrays) == 3:
        return part_of(rows, ROWS), Splits(*arrays)
    part = f"val + test ({part_of(rows, ROWS)}), split again; not comparable with published figures"
    return part, shuffled_tenths(np.concatenate(arrays), " and ".join(map(str, found[1:])))


def clean(x: np.ndarray, path: Path) -> np.ndarray:
    """The signal (rows, 50) without outliers and repeated values, (rows, 43).

    Raises:
        ValueError: naming the file, if another number of features is left.
    """
    x = x[x[:, 0] >= -100]
    x = x[:, continuous(x)] if len(x) else x
    if x.shape[1] != COLUMNS:
        raise ValueError(
            f"{path}: {x.shape[1]} features are left without those of repeated values, must be "
            f"{COLUMNS}; place the whole file there"
        )
    return x
