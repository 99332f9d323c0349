"""HEPMASS: simulated particle collisions."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from .files import Table, find, folders, missing_file_error
from .scaling import Scaling, z_score
from .tabular import MAF, Splits, TabularFiles, continuous, describe_part, split_last_tenth

UCI = "https://archive.ics.uci.edu/dataset/347"
ROWS = 525_123  # of class 1
# The archive's test file has a bad column after these.
TABLE = Table(("label", *(f"f{i}" for i in range(27))), delimiter=",", wider=True)
# A tenth of UCI's, which the archive's files are.
MAX_ROWS = {"train": 700_000, "test": 350_000}


class Hepmass(TabularFiles):
    """21 of the 27 features of collisions in which a particle of mass 1000 was made.

    The preprocessing of Papamakarios et al. 2017: the rows of class 1 in the first tenth of UCI's
    files, without the label; features whose smallest value occurs more than five times in the
    training file are dropped; mean and sample deviation are those of the training file; its last
    tenth is for validation.

    Args:
        root: folder that holds ``hepmass`` or ``HEPMASS``, with 1000_train.csv and 1000_test.csv,
            or their .gz, of UCI or of the archive.
        seed, device, batch_size, evaluation_size, state: as for ``TabularFiles``, and its errors.
    """

    name = "hepmass"

    @staticmethod
    def load(root: Path, scaling: Scaling | None) -> tuple[str, Splits, Scaling | None]:
        (train_path, train), (test_path, test) = (
            signal(root, split) for split in ("train", "test")
        )
        if scaling is None or scaling.columns is None:
            kept = continuous(train)
            if not len(kept):
                raise ValueError(
                    f"{train_path}: the smallest value of every feature occurs over 5 times"
                )
            scaling = z_score(train[:, kept], str(train_path), ddof=1, columns=kept)
        train, test = train[:, scaling.columns], test[:, scaling.columns]
        rest, validation = split_last_tenth(train, str(train_path))
        splits = Splits(rest, validation, test)
        return describe_part(len(train) + len(test), ROWS), splits, scaling


def signal(root: Path, split: str) -> tuple[Path, np.ndarray]:
    """A file and its rows of class 1 without their label, (rows, 27)."""
    places, name = folders(root, "hepmass"), f"1000_{split}.csv"
    path = find(places, (name, f"{name}.gz"))
    if path is None:
        raise missing_file_error(places[0], f"{name} or {name}.gz", f"{UCI} or {MAF}", root)
    cells = replace(TABLE, max_rows=MAX_ROWS[split]).read(path)
    x = cells[cells[:, 0] == 1, 1:]
    if len(x) == 0:
        raise ValueError(f"{path} holds no rows of class 1, the signal, by its first column")
    return path, x
