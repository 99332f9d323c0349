"""A trajectory of the user's own, from a table of comma-separated values."""

from __future__ import annotations

import csv
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from io import StringIO
from math import nan
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .files import is_number, read_text
from .series import Batch, Series
from .trajectory import Trajectories

log = logging.getLogger(__name__)

MISSING = ("", "nan", "na")  # in any case
EXAMPLE = "such as t,x1,x2"
DELIMITERS = (",", ";", "\t")  # the one that gives the header the most columns, the first if equal
LARGEST, SMALLEST = (float(getattr(np.finfo(np.float32), name)) for name in ("max", "tiny"))


@dataclass(frozen=True)
class Observations:
    """One trajectory as a file tells it.

    Attributes:
        names: of the columns behind the first.
        times: (T,) in float64, increasing.
        values: (T, D) in float64, nan where missing, a value at each time at least.
    """

    names: tuple[str, ...]
    times: Tensor
    values: Tensor


class Csv(Trajectories):
    """The trajectory of a file, or of a .gz: a header ``t,x1,...,xD`` of any names, then a row for
    each time, in any unit and at any distance, as long as they increase. An empty cell, nan or NA
    is a value that is missing. Commas, semicolons or tabs separate the cells; the text is UTF-8, or
    UTF-16 with a byte order mark.

    The last ``held_out`` of the times are ``beyond``: the test's future, of which nothing is
    learned. Of the others every ``validate_every``-th, never the first, is for validation, and what
    the test asks for inside. Not the last of them: the future would then begin where the model's
    own extrapolation is half over, and what is observed would not reach it.

    Times and values are as in the file, in float64, times less ``origin``, the first one.

    A run that is evaluated on another file has the columns and the origin of its training. A file
    that begins while the run's lasts is taken for the same trajectory, unless it begins at the same
    time with other values; one that begins otherwise for ``another``, whose time counts from its
    own first row.

    Args:
        file: path.
        held_out: share of the times, none if 0.
        validate_every: as above.
        same_trajectory: whether the file is of the run's trajectory; as above if None.
        state: ``state_dict()`` of the run that is evaluated or resumed.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: for a value out of range; for a file that is not so, naming line and column.
    """

    def __init__(
        self,
        seed: int,
        device: torch.device,
        file: str = "data/trajectory.csv",
        held_out: float = 0.2,
        validate_every: int = 5,
        same_trajectory: bool | None = None,
        state: Mapping[str, Any] | None = None,
    ) -> None:
        if not 0 <= held_out < 1:
            raise ValueError(f"held_out is {held_out}, must be from 0 to below 1")
        if validate_every < 2:
            raise ValueError(f"validate_every is {validate_every}, must be at least 2")
        found = read(Path(file))
        if state is not None:
            found = chosen_columns(file, found, tuple(state["states"]))
        count = len(found.times)
        index = torch.arange(count)
        inside = index < count - round(held_out * count)
        every = inside & (index % validate_every == validate_every - 1)
        trained = inside & ~every
        check_columns(file, found, trained)
        if trained.sum() < 2 or not bool(every.any()):
            raise ValueError(
                f"{file} has {count} rows with a value: with held_out={held_out:g} and "
                f"validate_every={validate_every}, {int(trained.sum())} are left to learn "
                f"from (must be at least 2) and {int(every.sum())} for validation (at least 1)"
            )
        another = state is not None and begins_otherwise(file, found, state, same_trajectory)
        origin = float(found.times[0]) if another or state is None else float(state["origin"])
        observed, others = (part(found, origin, chosen, device) for chosen in (trained, every))
        beyond = None if bool(inside.all()) else part(found, origin, ~inside, device)
        splits = {
            "train": Batch(observed, observed),
            "validation": Batch(observed, others),
            "test": Batch(observed, others, beyond),
        }
        own: dict[str, Any] = {"start": found.values[:1], "run": state, "another": another}
        super().__init__("csv", Path(file).name, found.names, splits, origin, **own)
        self.run = {"end": float(found.times[-1]), **self.run}


def part(found: Observations, origin: float, chosen: Tensor, device: torch.device) -> Series:
    """The rows of a mask, times counted from ``origin``."""
    times = (found.times - origin)[chosen]
    mask = found.values[chosen].isfinite()
    values = found.values[chosen].nan_to_num(nan=0.0)
    return Series(*(each[None].to(device) for each in (times, values, mask)))


def chosen_columns(file: str, found: Observations, names: tuple[str, ...]) -> Observations:
    """The columns that a run has learned, in its order.

    Raises:
        ValueError: naming the first that is absent.
    """
    for name in names:
        if name not in found.names:
            raise ValueError(
                f"{file} has no column {name}, which the run has learned; its columns are "
                f"{', '.join(found.names)}"
            )
    values = found.values[:, [found.names.index(name) for name in names]]
    some = values.isfinite().any(1)
    if not bool(some.any()):
        raise ValueError(f"{file}, column {names[0]}: no value in any row")
    return Observations(names, found.times[some], values[some])


def begins_otherwise(
    file: str, found: Observations, run: Mapping[str, Any], same: bool | None
) -> bool:
    """Whether a file is of another trajectory than the run's: what is assumed is logged, unless the
    file begins as the run's did.

    Raises:
        ValueError: if it is said to be of the run's, and begins before it.
    """
    after = float(found.times[0]) - run["origin"]
    where = (
        f"{file} begins at {float(found.times[0]):.12g}, the run's data went from "
        f"{run['origin']:.12g} to {run['end']:.12g}"
    )
    if same is not None:
        if same and after < 0:
            raise ValueError(f"{where}, so it is another trajectory: same_trajectory=false")
        return not same
    near = 1e-3 * spread(found.values)  # as rounded by another program
    miss = (found.values[0] - run["start"][0].to(found.values)).abs()
    differs = bool((miss > near).any())  # not where a value is missing, nan
    if after == 0 and not differs:
        return False
    another = after <= 0 or found.times[0] > run["end"]
    if another:
        remedy = "another trajectory, predicted from its first values; same_trajectory=true"
    else:
        remedy = "the same trajectory, predicted from the run's start; same_trajectory=false"
    log.warning("%s: it is taken for %s says otherwise", where, remedy)
    return bool(another)


def spread(values: Tensor) -> Tensor:
    """Largest less smallest of each column, (D,), nan left out."""
    return values.nan_to_num(-torch.inf).amax(0) - values.nan_to_num(torch.inf).amin(0)


def check_columns(file: str, found: Observations, trained: Tensor) -> None:
    """There is something to learn of each column, and its values differ by what float32 can hold.

    Raises:
        ValueError: naming the first column that has no value, or none that could be told apart.
    """
    for name, anywhere, there, wide in zip(
        found.names,
        found.values.isfinite().any(0),
        found.values[trained].isfinite().any(0),
        spread(found.values).tolist(),
        strict=True,
    ):
        if not there:
            where = "any row" if not anywhere else "a row that is learned from"
            raise ValueError(f"{file}, column {name}: no value in {where}; leave the column out")
        if 0 < wide < SMALLEST:
            raise ValueError(
                f"{file}, column {name}: its values differ by {wide:.3g}, less than float32 holds "
                f"({SMALLEST:.3g}); give it in another unit"
            )


def read(path: Path) -> Observations:
    """What a file holds, without the rows that have no value.

    Raises:
        FileNotFoundError, ValueError: as ``Csv``.
    """
    if not path.is_file():
        what = "is not a file" if path.exists() else "there is no such file"
        raise FileNotFoundError(f"{path}: {what}; set file to a CSV file with a header {EXAMPLE}")
    text = read_text(path)
    first = next((line for line in StringIO(text, newline="") if line.strip()), "")
    delimiter = max(DELIMITERS, key=lambda one: len(next(csv.reader([first], delimiter=one), [])))
    reader = csv.reader(StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True)
    lines = rows_of(path, reader)
    names = header(path, next(lines, (1, []))[1])
    times: list[float] = []
    values: list[list[float]] = []
    for number, cells in lines:
        t, row = parse(path, number, names, cells)
        where = f"{path}, line {number}, column {names[0]}: {t:.12g}"
        if times and t <= times[-1]:
            raise ValueError(
                f"{where} does not come after {times[-1]:.12g}, the time before; times must "
                "increase"
            )
        if times and t - times[0] > LARGEST:
            raise ValueError(f"{where} is too far from the first time for float32 ({LARGEST:.3g})")
        times.append(t)
        values.append(row)
    if not times:
        raise ValueError(f"{path} holds no rows below its header")
    if 0 < times[-1] - times[0] < SMALLEST:
        raise ValueError(
            f"{where} is too near the first time, {times[0]:.12g}, for float32 ({SMALLEST:.3g})"
        )
    x = torch.tensor(values, dtype=torch.float64)
    some = x.isfinite().any(1)
    if not bool(some.any()):
        raise ValueError(f"{path}, column {names[1]}: no value in any row; leave the column out")
    return Observations(tuple(names[1:]), torch.tensor(times, dtype=x.dtype)[some], x[some])


def rows_of(path: Path, reader: Any) -> Iterator[tuple[int, list[str]]]:
    """Line numbers and cells of the lines that are not blank."""
    try:
        for cells in reader:
            cells = [cell.strip() for cell in cells]
            if len(cells) > 1 or any(cells):
                yield reader.line_num, cells
    except csv.Error as error:
        raise ValueError(f"{path}, line {reader.line_num}: {error}") from error


def header(path: Path, cells: list[str]) -> list[str]:
    """The names of the columns.

    Raises:
        ValueError: where there are none, less than two, or two of one name.
    """
    if not cells:
        raise ValueError(f"{path} is empty; it must have a header {EXAMPLE}, and rows below it")
    if all(is_number(cell) or cell.lower() in MISSING for cell in cells):
        raise ValueError(f"{path}, line 1: the header is missing, {EXAMPLE}")
    if len(cells) < 2:
        raise ValueError(
            f"{path}, line 1: one column, {cells[0]!r}; there must be a time and at least one "
            "state, with commas, semicolons or tabs between them"
        )
    for i, cell in enumerate(cells):
        if not cell or cell in cells[:i]:
            problem = "has no name" if not cell else f"has the name of an earlier one, {cell}"
            raise ValueError(f"{path}, line 1: column {i + 1} {problem}; name each column")
    return cells


def parse(path: Path, number: int, names: list[str], cells: list[str]) -> tuple[float, list[float]]:
    """Time and values of a row, nan where missing.

    Raises:
        ValueError: for another number of cells, and for what is no number or beyond float32.
    """
    if len(cells) != len(names):
        raise ValueError(
            f"{path}, line {number}: {len(cells)} cells, must be {len(names)} ({', '.join(names)})"
        )
    numbers = []
    for i, (name, cell) in enumerate(zip(names, cells, strict=True)):
        missing = cell.lower() in MISSING
        if not is_number(cell) and not (missing and i):
            wanted = "a finite number, or be empty" if i else "a finite number"
            hint = ", with a point for the comma" if is_number(cell.replace(",", ".", 1)) else ""
            raise ValueError(
                f"{path}, line {number}, column {name}: {cell!r} must be {wanted}{hint}"
            )
        if i and not missing and abs(float(cell)) > LARGEST:
            raise ValueError(
                f"{path}, line {number}, column {name}: {cell} is beyond float32 ({LARGEST:.3g}); "
                "give the column in another unit"
            )
        numbers.append(nan if missing else float(cell))
    return numbers[0], numbers[1:]
