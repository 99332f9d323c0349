"""PhysioNet 2012: vital signs and laboratory values of 48 hours in intensive care."""

from __future__ import annotations

import tarfile
import zlib
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch

from .files import Table, absent, damaged, find, is_number
from .irregular import Measured, averaged, by_range, packed, released_scaling
from .series import Batch, Batches, window

SOURCE = "https://physionet.org/content/challenge-2012"
HOURS = 48
FIXED = ("Age", "Gender", "Height", "ICUType", "Weight")  # where -1 means that it is not known
MEASURED = (
    *("Albumin", "ALP", "ALT", "AST", "Bilirubin", "BUN", "Cholesterol", "Creatinine", "DiasABP"),
    *("FiO2", "GCS", "Glucose", "HCO3", "HCT", "HR", "K", "Lactate", "Mg", "MAP", "MechVent", "Na"),
    *("NIDiasABP", "NIMAP", "NISysABP", "PaCO2", "PaO2", "pH", "Platelets", "RespRate", "SaO2"),
    *("SysABP", "Temp", "TroponinI", "TroponinT", "Urine", "WBC"),
)
FEATURES = {name: i for i, name in enumerate((*FIXED, *MEASURED))}
OUTCOMES = Table(
    ("RecordID", "SAPS-I", "SOFA", "Length_of_stay", "Survival", "In-hospital_death"), delimiter=","
)
SEED = 42  # of the split, the same for every seed of a run


class Record(NamedTuple):
    """What was measured of one patient, row by row, (M,) each: minutes, features, values."""

    minutes: list[int]
    features: list[int]
    values: list[float]


class PhysioNet:
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

    Raises:
        FileNotFoundError: saying what to place where.
        ValueError: for files that hold something else, naming file, line and column.
    """

    name, shape, classes = "physionet", (len(FEATURES),), 2

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
    ) -> None:
        if not quantisation > 0:
            raise ValueError(f"data.quantisation is {quantisation}, must be positive (hours)")
        records, deaths = load(Path(root), sets)
        series = [measured(record, quantisation, released) for record in records]
        if task == "extrapolation":
            both = np.array([s.times[0] < 0.5 <= s.times[-1] for s in series])
            series, deaths = [series[i] for i in np.flatnonzero(both)], deaths[both]
        order = np.random.RandomState(SEED).permutation(len(series))
        test, held_out = len(order) // 5, len(order) // 10
        parts = {
            "train": order[test + held_out :],
            "validation": order[test : test + held_out],
            "test": order[:test],
        }
        self.sizes = {split: len(chosen) for split, chosen in parts.items()}
        self.deal = Batches(seed, device, self.sizes, batch_size, evaluation_size)
        self.steps_per_epoch, self.task = self.deal.order.steps_per_epoch, task
        ordered = [series[i] for i in np.concatenate(list(parts.values()))]
        scale = released_scaling if released else by_range
        scaled = scale(ordered, self.sizes["train"], tuple(FEATURES), self.name)
        self.records = packed(scaled).to(device)
        labels = np.concatenate([deaths[chosen] for chosen in parts.values()])
        self.labels = torch.from_numpy(labels).to(device)
        self.first = {"train": 0, "validation": self.sizes["train"]}
        self.first["test"] = self.first["validation"] + self.sizes["validation"]
        scaling = "as released" if released else "by training range"
        self.part = f"set{'s' if len(sets) > 1 else ''} {sets}, {len(series)} records, {scaling}"

    def batch(self, split: str, chosen: torch.Tensor) -> Batch:
        chosen = chosen + self.first[split]
        series = self.records.batch(chosen)
        labels = self.labels[chosen]
        if self.task == "interpolation":
            return Batch(series, series, None, labels)
        early, late = window(series, 0.0, 0.5), window(series, 0.5, 2.0)
        return Batch(early, late, None, labels)

    def train_batch(self, step: int) -> Batch:
        """Records, and 1 for those who died; a function of the seed and the step alone."""
        return self.batch("train", self.deal.of_step(step))

    def batches(self, split: str) -> Iterator[Batch]:
        """ "validation" or "test" in order."""
        for chosen in self.deal.of_split(split):
            yield self.batch(split, chosen)


@lru_cache(maxsize=1)  # ten seconds; a sweep in one process reads once
def load(root: Path, sets: str) -> tuple[list[Record], np.ndarray]:
    """The records in order of their numbers, and whether each died, (N,) of 0 and 1.

    Raises:
        FileNotFoundError, ValueError: as ``PhysioNet``.
    """
    folder, records, deaths = root / "physionet" / "PhysioNet" / "raw", [], []
    for letter in sets:
        name = f"set-{letter}.tar.gz"
        archive = find([folder], (name, f"{name}?download"))
        outcomes = find([folder], (f"Outcomes-{letter}.txt",))
        if archive is None or outcomes is None:
            wanted = f"{name} or Outcomes-{letter}.txt"
            raise absent(folder, wanted, SOURCE, root)
        found, rows = read_archive(archive), OUTCOMES.read(outcomes)
        death = dict(zip(rows[:, 0].astype(int).tolist(), rows[:, 5], strict=True))
        for number, record in sorted(found.items()):
            if number not in death:
                raise ValueError(f"{outcomes} has no row of record {number}, which {archive} has")
            records.append(record)
            deaths.append(death[number])
    return records, np.array(deaths, dtype=np.int64)


def read_archive(path: Path) -> dict[int, Record]:
    """All records of an archive by number."""
    found = {}
    try:
        with tarfile.open(path, "r:gz") as archive:
            for member in archive:
                if member.isfile() and member.name.endswith(".txt"):
                    text = archive.extractfile(member).read().decode("utf-8", errors="replace")
                    record = parse(text, f"{path}: {member.name}")
                    found[int(Path(member.name).stem)] = record
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        raise damaged(path, error) from error
    if not found:
        raise ValueError(f"{path} holds no records; they are files named <RecordID>.txt")
    return found


def parse(text: str, source: str) -> Record:
    """The rows "HH:MM,feature,value" of one record.

    Raises:
        ValueError: naming the line of the first that is something else.
    """
    record, previous = Record([], [], []), 0
    for number, line in enumerate(text.splitlines()[1:], 2):
        cells = line.split(",")
        try:
            time, name, value = cells
            hours, minutes = time.split(":")
            minute, measured = 60 * int(hours) + int(minutes), float(value)
        except ValueError:
            raise ValueError(f"{source}, line {number}: {wrong(cells)}") from None
        if name in FEATURES:
            if not previous <= minute <= 60 * HOURS:
                raise ValueError(
                    f"{source}, line {number}, column Time: {time} is before the line above or "
                    f"after {HOURS}:00"
                )
            if not np.isfinite(measured):
                raise ValueError(f"{source}, line {number}: {wrong(cells)}")
            previous = minute
            record.minutes.append(minute)
            record.features.append(FEATURES[name])
            record.values.append(measured)
        elif name not in ("RecordID", ""):
            raise ValueError(f"{source}, line {number}, column Parameter: unknown {name!r}")
    if not record.minutes:
        raise ValueError(f"{source} holds no measurement")
    return record


def measured(record: Record, quantisation: float, released: bool) -> Measured:
    """The series of a record, in units of 48 hours."""
    features, values = np.array(record.features), np.array(record.values)
    unknown = (features < len(FIXED)) & (values == -1)
    known = slice(None) if released else ~unknown
    hours = np.array(record.minutes)[known] / 60
    found = averaged(hours, features[known], values[known], len(FEATURES), quantisation)
    return found._replace(times=found.times / HOURS)


def wrong(cells: list[str]) -> str:
    """What is the matter with a row."""
    if len(cells) != 3:
        return f"{len(cells)} cells, must be 3 (Time, Parameter, Value)"
    if not is_number(cells[2]):
        return f"column Value: {cells[2]!r} is no finite number"
    return f"column Time: {cells[0]!r} is not HH:MM"
