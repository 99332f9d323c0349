"""MINIBOONE: a search for neutrino oscillations."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .files import Table, absent, find, folders, read_array
from .scaling import Scaling, scaling_of, z_score
from .tabular import MAF, Splits, Tabular, continuous, part_of, shuffled_tenths, tails

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
        state: ``state_dict()`` of the run that is evaluated or resumed, whose scaling is then used.

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
        state: Mapping[str, Any] | None = None,
    ) -> None:
        part, splits, scaling = load(Path(root), scaling_of(state))
        sizes = (batch_size, evaluation_size)
        super().__init__("miniboone", part, splits, seed, device, *sizes, scaling)


def load(root: Path, scaling: Scaling | None = None) -> tuple[str, Splits, Scaling | None]:
    """Which part is there, its splits, and their scaling, the one given if any; None where the
    files are standardised already.
    """
    places = folders(root, "miniboone")
    path = find(places, ("data.npy", "MiniBooNE_PID.txt", "MiniBooNE_PID.txt.gz"))
    if path is not None:
        kept = None if scaling is None else scaling.columns
        if path.suffix == ".npy":
            x = read_array(path, COLUMNS)
        else:
            x, kept = clean(TABLE.read(path), path, kept)
        splits = tails(x, str(path))
        by = np.concatenate(splits[:2])
        return part_of(len(x), ROWS), splits, scaling or z_score(by, str(path), columns=kept)
    found = [find(places, (f"{split}.npy",)) for split in ("train", "val", "test")]
    if None in found[1:]:
        wanted = "data.npy, MiniBooNE_PID.txt, or val.npy and test.npy with or without train.npy"
        raise absent(places[0], wanted, f"{UCI} or {MAF}", root)
    arrays = [read_array(path, COLUMNS) for path in found if path is not None]
    rows = sum(map(len, arrays))
    if len(arrays) == 3:
        return part_of(rows, ROWS), Splits(*arrays), None
    part = f"val + test ({part_of(rows, ROWS)}), split again; not comparable with published figures"
    splits = shuffled_tenths(np.concatenate(arrays), " and ".join(map(str, found[1:])))
    return part, splits, None


def clean(
    x: np.ndarray, path: Path, kept: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """The signal (rows, 50) without outliers and repeated values, (rows, 43), and which columns
    they are, those given if any.

    Raises:
        ValueError: naming the file, if another number of features is left.
    """
    x = x[x[:, 0] >= -100]
    if kept is None:
        kept = continuous(x) if len(x) else np.arange(x.shape[1])
    if len(kept) != COLUMNS:
        raise ValueError(
            f"{path}: {len(kept)} features are left without those of repeated values, must be "
            f"{COLUMNS}; place the whole file there"
        )
    return x[:, kept], kept
