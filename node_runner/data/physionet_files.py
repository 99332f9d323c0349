"""The records of PhysioNet 2012 as they lie in its archives."""

from __future__ import annotations

import gzip
import tarfile
from functools import lru_cache
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np

from .files import UNPACKING, Table, damaged, find, is_number, missing_file_error

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
UNITS = {  # as on the challenge's page
    **{"years": "Age", "cm": "Height", "kg": "Weight", "g/dL": "Albumin", "IU/L": "ALP ALT AST"},
    **{"mg/dL": "Bilirubin BUN Cholesterol Creatinine Glucose", "mmol/L": "HCO3 Lactate Mg"},
    **{"mmHg": "DiasABP MAP NIDiasABP NIMAP NISysABP PaCO2 PaO2 SysABP", "%": "HCT SaO2"},
    **{"1/min": "HR RespRate", "mEq/L": "K Na", "cells/nL": "Platelets WBC", "°C": "Temp"},
    **{"µg/L": "TroponinI TroponinT", "mL": "Urine"},
}
UNIT_OF = {name: unit for unit, names in UNITS.items() for name in names.split()}
LABELS = tuple(f"{name} ({UNIT_OF[name]})" if name in UNIT_OF else name for name in FEATURES)
OUTCOMES = Table(
    ("RecordID", "SAPS-I", "SOFA", "Length_of_stay", "Survival", "In-hospital_death"), delimiter=","
)
HEADER = "Time,Parameter,Value"
MINUTES = {f"{i // 60:02}:{i % 60:02}": i for i in range(60 * HOURS + 1)}
UNMEASURED = -1  # feature of a row that is of none: the record's number
PARAMETERS = {**FEATURES, "RecordID": UNMEASURED}


class Record(NamedTuple):
    """What was measured of one patient, row by row, (M,) each: minutes, features, values."""

    minutes: np.ndarray
    features: np.ndarray
    values: np.ndarray


@lru_cache(maxsize=1)  # seconds; a sweep in one process reads once
def load(root: Path, sets: str) -> tuple[list[Record], np.ndarray]:
    """The records in order of their numbers, and whether each died, (N,) of 0 and 1.

    Raises:
        FileNotFoundError, ValueError: as ``physionet.PhysioNet``.
    """
    folder, records, deaths = root / "physionet" / "PhysioNet" / "raw", [], []
    for letter in sets:
        name = f"set-{letter}.tar.gz"
        archive = find([folder], (name, f"{name}?download"))
        outcomes = find([folder], (f"Outcomes-{letter}.txt",))
        if archive is None or outcomes is None:
            wanted = f"{name} or Outcomes-{letter}.txt"
            raise missing_file_error(folder, wanted, SOURCE, root)
        death, found = read_outcomes(outcomes), read_archive(archive)
        for number, record in sorted(found.items()):
            if number not in death:
                raise ValueError(f"{outcomes} has no row of record {number}, which {archive} has")
            records.append(record)
            deaths.append(death[number])
    return records, np.array(deaths, dtype=np.int64)


def read_outcomes(path: Path) -> dict[int, int]:
    """Whether each died, by number."""
    rows = OUTCOMES.read(path)
    odd = np.flatnonzero(~np.isin(rows[:, 5], (0, 1)))
    if len(odd):
        raise ValueError(
            f"{path}, line {odd[0] + 2}, column {OUTCOMES.columns[5]}: {rows[odd[0], 5]:g}, must "
            "be 0 or 1"
        )
    return dict(rows[:, (0, 5)].astype(int).tolist())


def read_archive(path: Path) -> dict[int, Record]:
    """All records of an archive by number.

    Raises:
        ValueError: for an archive that is damaged or holds something else.
    """
    found = {}
    try:  # whole: its sum is checked before anything is believed
        unpacked = BytesIO(gzip.decompress(path.read_bytes()))
        with tarfile.open(fileobj=unpacked, mode="r:") as archive:
            for member in archive:
                name = PurePosixPath(member.name)
                if member.isfile() and name.suffix == ".txt" and not name.name.startswith("."):
                    source = f"{path}: {name}"
                    if not name.stem.isdecimal():
                        raise ValueError(f"{source} is no record; they are named <RecordID>.txt")
                    file = archive.extractfile(member)
                    assert file is not None  # a regular file has content
                    text = file.read().decode("utf-8", errors="replace")
                    found[int(name.stem)] = parse(text, source)
    except (tarfile.TarError, *UNPACKING) as error:
        raise damaged(path, error) from error
    if not found:
        raise ValueError(f"{path} holds no records; they are files named <RecordID>.txt")
    return found


def parse(text: str, source: str) -> Record:
    """The rows "HH:MM,feature,value" of one record.

    Raises:
        ValueError: naming the line of the first that is something else.
    """
    header, *lines = text.splitlines() or [""]
    if header != HEADER:
        raise ValueError(f"{source}, line 1: {header!r}, must be {HEADER}")
    cells = ",\n,".join((*lines, "")).split(",")  # the fourth of a row is its end: faster than rows
    try:
        if cells[3::4] != ["\n"] * len(lines):
            raise ValueError("not three cells in each row")
        if not text.isascii() or "_" in text:  # which float reads in numbers
            raise ValueError("a character that no number has")
        minutes = np.array([MINUTES[time] for time in cells[:-1:4]])
        features = np.array([PARAMETERS[name] for name in cells[1::4]])
        values = np.array([float(value) for value in cells[2::4]])
    except (KeyError, ValueError):
        raise ValueError(f"{source}{fault(lines)}") from None
    known = features != UNMEASURED
    record = Record(minutes[known], features[known], values[known])
    if not np.isfinite(values).all() or (minutes[1:] < minutes[:-1]).any():
        raise ValueError(f"{source}{fault(lines)}")
    if unknown(record).all():
        raise ValueError(f"{source} holds no measurement")
    return record


def fault(lines: list[str]) -> str:
    """The first thing in a record that is not as it should be, looked for line by line only where
    there is one.
    """
    previous = 0
    for number, line in enumerate(lines, 2):
        cells = line.split(",")
        if len(cells) != 3:
            return f", line {number}: {len(cells)} cells, must be 3 ({HEADER})"
        time, name, value = cells
        if time not in MINUTES:
            return f", line {number}, column Time: {time!r} is not HH:MM, up to {HOURS}:00"
        if MINUTES[time] < previous:
            return f", line {number}, column Time: {time} is before the line above"
        if name not in PARAMETERS:
            return f", line {number}, column Parameter: unknown {name!r}"
        if not is_number(value):
            return f", line {number}, column Value: {value!r} is no finite number"
        previous = MINUTES[time]
    raise AssertionError("a record without a fault was refused")


def unknown(record: Record) -> np.ndarray:
    """Which values stand for what is not known, (M,)."""
    return (record.features < len(FIXED)) & (record.values == -1)
