"""Localization data for person activity: tags worn by people, read at irregular times."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from .files import UNPACKING, damaged, find, is_number, missing_file_error, open_text
from .irregular import SparseSeries, average_duplicates, packed
from .sampler import IndexedData, check_positive
from .series import Batch

SOURCE = "https://archive.ics.uci.edu/dataset/196"
ROWS = 164_860  # of the whole file
TAGS = ("010-000-024-033", "010-000-030-096", "020-000-033-111", "020-000-032-221")
DIM = 3 * len(TAGS)
# Eleven labels, of which Rubanova et al. 2019 do not tell apart those in one line.
LABELS = {
    label: i
    for i, labels in enumerate(
        (
            ("walking",),
            ("falling",),
            ("lying", "lying down"),
            ("sitting", "sitting down"),
            (
                "standing up from lying",
                "standing up from sitting",
                "standing up from sitting on the ground",
            ),
            ("on all fours",),
            ("sitting on the ground",),
        )
    )
    for label in labels
}
CLASS_NAMES: tuple[str, ...] = ("walking", "falling", "lying", "sitting", "standing up")
CLASS_NAMES += ("on all fours", "sitting on the ground")
COLUMNS = ("sequence", "tag", "timestamp", "date", "x", "y", "z", "activity")
TICK = 1e-7  # seconds of a timestamp
SEED = 42  # of the split, the same for every seed of a run


class Activity(IndexedData):
    """Windows of ``window`` times of a sequence, 12 features (three coordinates of four tags, as
    they are, in metres), and the activity at each time, one of 7. Times count from a window's
    start, in seconds.

    Times are rounded to ``step``, what a tag has more than once in it averaged; of several
    activities the last counts. Rubanova et al. 2019 and their code's comments speak of 0.1 s, but
    the code rounds to 0.01 s, which leaves one tag at a time: a tenth of the file gives 655
    windows, and the paper counts 6554. At 0.1 s there are a third as many, with most features at
    each time.

    A fifth of the sequences is for the test and a tenth for validation, at least one each, so that
    no time is on both sides. With ``released`` windows are dealt out instead, whatever their
    sequence: half of each training window is then in another one, as often as not of the test, and
    the accuracy is flattered (the released code of Rubanova et al. 2019).

    Args:
        root: folder that holds ``PersonActivity/PersonActivity/raw/ConfLongDemo_JSI.txt``.
        step: of time, in seconds.
        window: times in a window.
        stride: times between the starts of two windows.
        released: split as the released code.
        batch_size: of training; the last, smaller batch of an epoch is dropped.
        evaluation_size: batch size of evaluation.

    Raises:
        FileNotFoundError: saying what to place where.
        ValueError: for a file that holds something else, naming line and column.
    """

    name, shape, classes = "activity", (DIM,), 7

    class_names = CLASS_NAMES

    def __init__(
        self,
        seed: int,
        device: torch.device,
        root: str = "data",
        step: float = 0.01,
        window: int = 50,
        stride: int = 25,
        released: bool = False,
        batch_size: int = 50,
        evaluation_size: int = 200,
    ) -> None:
        check_positive(window=window, stride=stride)
        if not step > 0:
            raise ValueError(f"step is {step}, must be positive (seconds)")
        rows, sequences = load(Path(root), step)
        cut = [windows(sequence, window, stride) for sequence in sequences]
        if released:
            cut = [[one] for some in cut for one in some]
        parts = split(cut, f"window={window}, stride={stride}")
        sizes = {name: len(some) for name, some in parts.items()}
        super().__init__(seed, device, sizes, batch_size, evaluation_size)
        self.splits = {
            name: (
                packed([one.series for one in some]).to(device),
                torch.from_numpy(np.stack([one.labels for one in some])).to(device),
            )
            for name, some in parts.items()
        }
        part = "whole" if rows == ROWS else f"first {rows} of {ROWS} rows"
        by = "windows" if released else "sequences"
        self.part = f"{part}, {len(sequences)} sequences, split by {by}"

    def batch(self, split: str, indices: Tensor, step: int = 0) -> Batch:
        """Return windows and the activity at each of their times."""
        series, labels = self.splits[split]
        observed = series.batch(indices)
        return Batch(observed, observed, None, labels[indices])


class Labelled(NamedTuple):
    """A series and the label of each of its times, (n,)."""

    series: SparseSeries
    labels: np.ndarray


class Row(NamedTuple):
    """One reading of one tag."""

    sequence: str
    tag: int
    ticks: int
    place: tuple[float, ...]
    label: int


def load(root: Path, step: float) -> tuple[int, list[Labelled]]:
    """How many rows there are, and the sequences in order of their names, times in seconds.

    Raises:
        FileNotFoundError, ValueError: as ``Activity``.
    """
    folder = root / "PersonActivity" / "PersonActivity" / "raw"
    path = find([folder], ("ConfLongDemo_JSI.txt", "ConfLongDemo_JSI.txt.gz"))
    if path is None:
        raise missing_file_error(folder, "ConfLongDemo_JSI.txt", SOURCE, root)
    rows: dict[str, list[Row]] = {}
    try:
        with open_text(path) as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    row = parse(line.strip(), f"{path}, line {number}")
                    rows.setdefault(row.sequence, []).append(row)
    except UNPACKING as error:
        raise damaged(path, error) from error
    if not rows:
        raise ValueError(f"{path} holds no rows")
    found = [labelled(some, step) for _, some in sorted(rows.items())]
    return sum(map(len, rows.values())), found


def parse(line: str, source: str) -> Row:
    """One row of the file.

    Raises:
        ValueError: naming the column that is wrong.
    """
    cells = line.split(",")
    if len(cells) != len(COLUMNS):
        raise ValueError(
            f"{source}: {len(cells)} cells, must be {len(COLUMNS)} ({', '.join(COLUMNS)})"
        )
    name, tag, ticks, _, *place, label = cells
    for column, cell, known in (("tag", tag, TAGS), ("activity", label, LABELS)):
        if cell not in known:
            raise ValueError(f"{source}, column {column}: {cell!r}; known are {', '.join(known)}")
    if not (ticks.isascii() and ticks.isdecimal() and len(ticks) <= 18):
        raise ValueError(f"{source}, column timestamp: {ticks!r} is no integer below 10^18")
    for column, cell in zip("xyz", place, strict=True):
        if not is_number(cell):
            raise ValueError(f"{source}, column {column}: {cell!r} is no finite number")
    return Row(name, TAGS.index(tag), int(ticks), tuple(map(float, place)), LABELS[label])


def labelled(rows: list[Row], step: float) -> Labelled:
    """The series of one sequence, counted in seconds from its first reading, and at each time the
    label of the last reading.
    """
    rows = sorted(rows, key=lambda row: row.ticks)
    seconds = np.array([row.ticks - rows[0].ticks for row in rows]) * TICK
    tags = np.array([row.tag for row in rows])
    features = 3 * tags[:, None] + np.arange(3)
    places = np.array([row.place for row in rows])
    times = np.repeat(seconds, 3)
    series = average_duplicates(times, features.ravel(), places.ravel(), DIM, step)
    _, last = np.unique(np.rint(seconds[::-1] / step), return_index=True)
    return Labelled(series, np.array([row.label for row in rows])[::-1][last])


def windows(sequence: Labelled, length: int, stride: int) -> list[Labelled]:
    """Runs of ``length`` times, each counted from its start."""
    (times, values, mask), labels = sequence
    found = []
    for start in range(0, len(times) - length + 1, stride):
        part = slice(start, start + length)
        moved = times[part] - times[start]
        found.append(Labelled(SparseSeries(moved, values[part], mask[part]), labels[part]))
    return found


def split(groups: list[list[Labelled]], source: str) -> dict[str, list[Labelled]]:
    """The windows of each split, groups kept together, dealt out in a fixed random order.

    Raises:
        ValueError: if a split would be empty.
    """
    groups = [group for group in groups if group]
    test, held_out = max(1, len(groups) // 5), max(1, len(groups) // 10)
    if len(groups) <= test + held_out:
        raise ValueError(
            f"{source}: {len(groups)} sequences are as long as a window, too few for training, "
            "validation and test"
        )
    order = np.random.RandomState(SEED).permutation(len(groups))
    chosen = {
        "train": order[test + held_out :],
        "validation": order[test : test + held_out],
        "test": order[:test],
    }
    return {name: [one for i in some for one in groups[i]] for name, some in chosen.items()}
