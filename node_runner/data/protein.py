"""PROTEIN: physicochemical properties of protein decoys."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from .files import Table, check_unpacked_sum, find, missing_file_error
from .scaling import Scaling, z_score
from .tabular import SEED, Splits, TabularFiles, shuffled_tenths

UCI = "https://archive.ics.uci.edu/dataset/265"
SOURCE = f"https://github.com/treforevans/uci_datasets (its copy of {UCI})"
MD5 = "73959fedc7689bcd6c61d626db4b785d"  # of data.csv
COLUMNS = 10
TABLE = Table(tuple(f"{i}" for i in range(COLUMNS)), delimiter=",", header=0)

# The width of the last of five printed digits at each column's largest value; column 7 is an
# integer but for an offset.
STEPS = (1, 1, 1e-5, 0.01, 100, 0.01, 10, 1, 1e-3, 1e-4)


class Protein(TabularFiles):
    """All ten columns: nine properties and the deviation from the native structure, centred. Not
    one of the sets of Papamakarios et al. 2017: nothing is published to compare with.

    Two things would let a flow gain likelihood without bound, and are removed. 1712 of the 45730
    rows repeat an earlier one; a test row that was trained on is best remembered, so only the first
    of each is kept. The values are rounded, to five digits or, in column 7, to integers (341 of
    them), and 1 % share one value of column 8, 0.6 % one of column 9; uniform noise U(0, step), of
    the width of the rounding at each column's largest value, makes the density of a column at most
    its mass over that width, as for the sub-meters of POWER.

    Then rows are shuffled, split 80 / 10 / 10, and standardised by mean and deviation of the
    training rows. Shuffle and noise are the same for every seed.

    Args:
        root: folder that holds ``uci/protein``, with data.csv or its .gz, whose md5 sum is
            verified.
        seed, device, batch_size, evaluation_size, state: as for ``TabularFiles``, and its errors.
    """

    name = "protein"

    @staticmethod
    def load(root: Path, scaling: Scaling | None) -> tuple[str, Splits, Scaling | None]:
        folder = root / "uci" / "protein"
        path = find([folder], ("data.csv", "data.csv.gz"))
        if path is None:
            raise missing_file_error(folder, "data.csv or data.csv.gz", SOURCE, root)
        check_unpacked_sum(path, MD5)
        rows = TABLE.read(path)
        x = distinct(rows)
        x += np.random.RandomState(SEED).rand(*x.shape) * STEPS
        splits = shuffled_tenths(x, str(path))
        scaling = scaling or z_score(splits.train, str(path))
        return f"{len(x)} distinct of {len(rows)} rows", splits, scaling


def distinct(x: np.ndarray) -> np.ndarray:
    """The first of equal rows, in order."""
    first = np.unique(x, axis=0, return_index=True)[1]
    return x[np.sort(first)]
