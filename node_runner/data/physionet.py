"""PhysioNet 2012: vital signs and laboratory values of 48 hours in intensive care."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from .irregular import SparseSeries, average_duplicates, by_range, packed, released_scaling, scaled
from .physionet_files import FEATURES, HOURS, LABELS, Record, load, unknown
from .sampler import IndexedData
from .scaling import scaling_of
from .series import Batch, window

SEED = 42  # of the split, the same for every seed of a run


class PhysioNet(IndexedData):
    """Series of 41 features, five of them fixed and given at time 0, with times in units of 48
    hours, and whether the patient died in hospital.

    Values of a feature at one time, rounded to ``quantisation``, are averaged. Each feature is
    scaled to [0, 1] by its range in the training records. A seeded fifth of the records is the test
    set, an eighth of the others is for validation.

    With ``released`` all is scaled as in the released code of Rubanova et al. 2019: (x - min) / max
    with both from all records, the test's too, and what is not known of a patient's height, weight
    or gender counts as a value of -1. Published errors depend on it.

    Args:
        root: folder that holds ``physionet/PhysioNet/raw`` with set-a.tar.gz, set-b.tar.gz (with
            ``?download`` behind it, too) and Outcomes-a.txt, Outcomes-b.txt.
        sets: "ab" (8000 records) or "a" (4000; the only ones that the papers have labels of).
        task: "interpolation" asks for what is observed; "extrapolation" shows the first 24 hours
            and asks for the rest, of records that have both.
        quantisation: of times, in hours.
        released: scale as the released code.
        batch_size: of training; the last, smaller batch of an epoch is dropped.
        evaluation_size: batch size of evaluation.
        state: ``state_dict()`` of the run that is evaluated or resumed, whose scaling is then used.

    Raises:
        FileNotFoundError: saying what to place where.
        ValueError: for files that hold something else, naming file, line and column.
    """

    name, shape, classes = "physionet", (len(FEATURES),), 2

    features, time_axis = LABELS, ("time since admission (h)", float(HOURS))
    class_names = ("survived", "died")

    def __init__(
        self,
        seed: int,
        device: torch.device,
        root: str = "data",
        sets: Literal["ab", "a"] = "ab",
        task: Literal["interpolation", "extrapolation"] = "interpolation",
        quantisation: float = 0.016,
        released: bool = False,
        batch_size: int = 50,
        evaluation_size: int = 100,
        state: Mapping[str, Any] | None = None,
    ) -> None:
        if not quantisation > 0:
            raise ValueError(f"quantisation is {quantisation}, must be positive (hours)")
        records, deaths = load(Path(root), sets)
        series = [measured(record, quantisation, released) for record in records]
        if task == "extrapolation":
            halves = np.float32(0.5)  # as ``batch`` cuts them
            both = np.array([s.times[0] < halves <= s.times[-1] for s in series])
            series, deaths = [series[i] for i in np.flatnonzero(both)], deaths[both]
        if len(series) < 10:
            raise ValueError(
                f"{root}/physionet holds {len(series)} records for task={task}, must be at least 10"
            )
        order = np.random.RandomState(SEED).permutation(len(series))
        test, held_out = len(order) // 5, len(order) // 10
        parts = {
            "train": order[test + held_out :],
            "validation": order[test : test + held_out],
            "test": order[:test],
        }
        sizes = {split: len(indices) for split, indices in parts.items()}
        super().__init__(seed, device, sizes, batch_size, evaluation_size)
        self.task = task
        ordered = [series[i] for i in np.concatenate(list(parts.values()))]
        scale = released_scaling if released else by_range
        own = (ordered, self.sizes["train"], tuple(FEATURES), self.name)
        self.scaling = scaling_of(state) or scale(*own)
        self.records = packed(scaled(ordered, self.scaling)).to(device)
        labels = np.concatenate([deaths[indices] for indices in parts.values()])
        self.labels = torch.from_numpy(labels).to(device)
        self.first = {"train": 0, "validation": self.sizes["train"]}
        self.first["test"] = self.first["validation"] + self.sizes["validation"]
        scaling = "as released" if released else "by training range"
        self.part = f"set{'s' if len(sets) > 1 else ''} {sets}, {len(series)} records, {scaling}"

    def batch(self, split: str, indices: Tensor, step: int = 0) -> Batch:
        """Return records, and 1 for those who died."""
        indices = indices + self.first[split]
        series, labels = self.records.batch(indices), self.labels[indices]
        if self.task == "interpolation":
            return Batch(series, series, None, labels)
        early, late = window(series, 0.0, 0.5), window(series, 0.5, 2.0)
        return Batch(early, late, None, labels)


def measured(record: Record, quantisation: float, released: bool) -> SparseSeries:
    """The series of a record, in units of 48 hours."""
    known = slice(None) if released else ~unknown(record)
    minutes, features, values = (part[known] for part in record)
    found = average_duplicates(minutes / 60, features, values, len(FEATURES), quantisation)
    return found._replace(times=(found.times / HOURS).astype(np.float32))
