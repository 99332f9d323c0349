"""A trajectory of the user's own, from a table of comma-separated values."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from math import nan
from pathlib import Path

import torch
from torch import Tensor

from .files import UNPACKING, damaged, is_number, opened
from .series import Batch, Series
from .trajectory import Trajectories

MISSING = ("", "nan", "na")  # in any case
EXAMPLE = "such as t,x1,x2"


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
    is a value that is missing.

    The last ``held_out`` of the times are ``beyond``: the test's future, of which nothing is
    learned. Of the others every ``validate_every``-th, never the first, is for validation, and what
    the test asks for inside. Not the last of them: the future would then begin where the model's
    own extrapolation is half over, and what is observed would not reach it.

    Times and values are as in the file, times less the first one; ``origin`` is that one.

    Args:
        file: path.
        held_out: share of the times, none if 0.
        validate_every: as above.

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
    ) -> None:
        if not 0 <= held_out < 1:
            raise ValueError(f"data.held_out is {held_out}, must be from 0 to below 1")
        if validate_every < 2:
            raise ValueError(f"data.validate_every is {validate_every}, must be at least 2")
        found = read(Path(file))
        count = len(found.times)
        index = torch.arange(count)
        inside = index < count - round(held_out * count)
        every = inside & (index % validate_every == validate_every - 1)
        trained = inside & ~every
        check_columns(file, found, trained)
        if trained.sum() < 2 or not bool(every.any()):
            raise ValueError(
                f"{file} has {count} rows with a value: with data.held_out={held_out:g} and "
                f"data.validate_every={validate_every}, {int(trained.sum())} are left to learn "
                f"from (must be at least 2) and {int(every.sum())} for validation (at least 1)"
            )
        observed, others = (part(found, chosen, device) for chosen in (trained, every))
        beyond = None if bool(inside.all()) else part(found, ~inside, device)
        splits = {
            "train": Batch(observed, observed),
            "validation": Batch(observed, others),
            "test": Batch(observed, others, beyond),
        }
        super().__init__("csv", Path(file).name, found.names, splits, float(found.times[0]))


def part(found: Observations, chosen: Tensor, device: torch.device) -> Series:
    """The rows of a mask. Times are counted from the first in float64: float32 would merge those of
    a clock that began long ago.
    """
    times = (found.times - found.times[0])[chosen]
    mask = found.values[chosen].isfinite()
    values = found.values[chosen].nan_to_num(nan=0.0)
    return Series(
        times[None].to(device, torch.float32),
        values[None].to(device, torch.float32),
        mask[None].to(device),
    )


def check_columns(file: str, found: Observations, trained: Tensor) -> None:
    """There is something to learn of each column.

    Raises:
        ValueError: naming the first column that has no value.
    """
    for name, anywhere, there in zip(
        found.names,
        found.values.isfinite().any(0),
        found.values[trained].isfinite().any(0),
        strict=True,
    ):
        if not there:
            where = "any row" if not anywhere else "a row that is learned from"
            raise ValueError(f"{file}, column {name}: no value in {where}; leave the column out")


def read(path: Path) -> Observations:
    """What a file holds, without the rows that have no value.

    Raises:
        FileNotFoundError, ValueError: as ``Csv``.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"{path}: there is no such file; set data.file to a CSV file with a header {EXAMPLE}"
        )
    try:
        with opened(path) as file:
            text = (line.removeprefix("\ufeff") for line in file)  # with which some programs begin
            lines = rows_of(path, csv.reader(text, skipinitialspace=True))
            names = header(path, next(lines, (1, []))[1])
            times, values = [], []
            for number, cells in lines:
                t, row = parse(path, number, names, cells)
                if times and t <= times[-1]:
                    raise ValueError(
                        f"{path}, line {number}, column {names[0]}: {t:.12g} does not come after "
                        f"{times[-1]:.12g}, the time before; times must increase"
                    )
                times.append(t)
                values.append(row)
    except UNPACKING as error:
        raise damaged(path, error) from error
    if not times:
        raise ValueError(f"{path} holds no rows below its header")
    t, x = torch.tensor(times, dtype=torch.float64), torch.tensor(values, dtype=torch.float64)
    some = x.isfinite().any(1)
    if not bool(some.any()):
        raise ValueError(f"{path}, column {names[1]}: no value in any row; leave the column out")
    return Observations(tuple(names[1:]), t[some], x[some])


def rows_of(path: Path, reader: Iterator[list[str]]) -> Iterator[tuple[int, list[str]]]:
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
            "state, with commas between them"
        )
    for i, cell in enumerate(cells):
        if not cell or cell in cells[:i]:
            problem = "has no name" if not cell else f"has the name of an earlier one, {cell}"
            raise ValueError(f"{path}, line 1: column {i + 1} {problem}; name each column")
    return cells


def parse(path: Path, number: int, names: list[str], cells: list[str]) -> tuple[float, list[float]]:
    """Time and values of a row, nan where missing.

    Raises:
        ValueError: for another number of cells, and for what is no number.
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
            raise ValueError(f"{path}, line {number}, column {name}: {cell!r} must be {wanted}")
        numbers.append(nan if missing else float(cell))
    return numbers[0], numbers[1:]
