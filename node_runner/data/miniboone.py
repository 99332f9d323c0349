"""MINIBOONE: a search for neutrino oscillations."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from .files import Table, find, folders, missing_file_error, read_array
from .scaling import Scaling, z_score
from .tabular import (
    MAF,
    Splits,
    TabularFiles,
    continuous,
    describe_part,
    head_tail_split,
    shuffled_tenths,
)

UCI = "https://archive.ics.uci.edu/dataset/199"
ROWS = 36_488
COLUMNS = 43
# UCI's file begins with the numbers of signal and background events; the signal comes first.
SIGNAL = 36_499
TABLE = Table(tuple(f"{i}" for i in range(50)), max_rows=SIGNAL)


class Miniboone(TabularFiles):
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
        seed, device, batch_size, evaluation_size, state: as for ``TabularFiles``, and its errors.
    """

    name = "miniboone"

    @staticmethod
    def load(root: Path, scaling: Scaling | None) -> tuple[str, Splits, Scaling | None]:
        places = folders(root, "miniboone")
        path = find(places, ("data.npy", "MiniBooNE_PID.txt", "MiniBooNE_PID.txt.gz"))
        if path is not None:
            kept = None if scaling is None else scaling.columns
            if path.suffix == ".npy":
                x = read_array(path, COLUMNS)
            else:
                x, kept = clean(TABLE.read(path), path, kept)
            splits = head_tail_split(x, str(path))
            by = np.concatenate(splits[:2])
            scaling = scaling or z_score(by, str(path), columns=kept)
            return describe_part(len(x), ROWS), splits, scaling
        found = [find(places, (f"{split}.npy",)) for split in ("train", "val", "test")]
        if None in found[1:]:
            wanted = "data.npy, MiniBooNE_PID.txt, or val.npy, test.npy and perhaps train.npy"
            raise missing_file_error(places[0], wanted, f"{UCI} or {MAF}", root)
        arrays = [read_array(path, COLUMNS) for path in found if path is not None]
        rows = sum(map(len, arrays))
        if len(arrays) == 3:
            return describe_part(rows, ROWS), Splits(*arrays), None
        part = f"val + test ({describe_part(rows, ROWS)}), split again; "
        part += "not comparable with published figures"
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
