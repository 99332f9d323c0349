"""Published figures by paper, table and cell: those of published.yaml, and of a user's own file."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import MISSING, dataclass, field, fields
from functools import lru_cache
from pathlib import Path
from typing import Any, get_type_hints

import yaml

from ..errors import UserError, unknown_name
from ..runs.annotations import conforms

__all__ = ["Budget", "Cell", "PaperTable", "cells", "load", "unit_of"]

FILE = Path(__file__).with_name("published.yaml")
# How a number is known, from surest to least; those after FIRM are marked wherever they are shown.
SURE = ("paper", "code", "derived", "thread", "secondary", "memory")
FIRM = 3


@dataclass(frozen=True)
class Budget:
    """Training of a published run.

    >>> Budget(epochs=160, sure="code").steps is None
    True
    """

    epochs: float | None = None
    steps: int | None = None
    sure: str = "paper"


@dataclass(frozen=True)
class Cell:
    """One published number.

    Attributes:
        name: paper.table.cell; a run belongs to it by the option ``cell``.
        metric: Name in result.json, such as test/error.
        value: In ``unit``: the metric times ``factor``.
        sd, runs: Standard deviation, and the number of runs that it is over.
        sure: How the number is known, one of ``SURE``.
        data: Data set whose own figures of this metric are given in ``unit``, too.
        other_methods: Figures of other methods: a number, or mean and sd.

    >>> Cell("node.table1.odenet", "ODE-Net", "test/error", 0.42, "paper", "%", 100).factor
    100
    """

    name: str
    label: str
    metric: str
    value: float
    sure: str
    unit: str = ""
    factor: float = 1.0
    sd: float | None = None
    runs: int | None = None
    parameters: int | None = None
    hours: float | None = None
    hours_sure: str = "paper"
    note: str | None = None
    data: str | None = None
    budget: Budget | None = None
    other_methods: dict[str, float | list[float]] = field(default_factory=dict)
    other_methods_sure: str = "paper"


@dataclass(frozen=True)
class PaperTable:
    """A table of a paper.

    Attributes:
        protocol: How its figures were obtained, where that matters for a comparison.

    >>> load()["node"][0].cells[-1].label
    'ODE-Net'
    """

    name: str
    title: str
    source: str
    protocol: str
    reference: str
    cells: tuple[Cell, ...]

    def decimals(self, unit: str) -> int:
        """Return the number of decimals published in a unit: 1.6 in a column of 0.41 is 1.60."""
        alike = (str(cell.value) for cell in self.cells if cell.unit == unit)
        return max(len(value.partition(".")[2]) for value in alike)


Papers = dict[str, list[PaperTable]]


@lru_cache(maxsize=8)
def load(own: Path | None = None) -> Papers:
    """Return the tables by paper, with those of a user's own file after the package's.

    Raises:
        UserError: naming file, key and value, if the own file is not of the schema of
            published.yaml, or has a paper that the package has.
    """
    papers = _read(FILE)
    added = {} if own is None else _read(own)
    for name in papers.keys() & added.keys():
        raise UserError(f"{own}: {name} is a paper of node_runner: choose another name")
    return papers | added


def cells() -> dict[str, Cell]:
    """Return every cell of published.yaml by its name."""
    return {
        cell.name: cell for tables in load().values() for table in tables for cell in table.cells
    }


def unit_of(data: str, metric: str) -> tuple[str, float] | None:
    """Return unit and factor in which the figures of a data set are published; None if none are."""
    alike = (cell for cell in cells().values() if (cell.data, cell.metric) == (data, metric))
    return next(((cell.unit, cell.factor) for cell in alike), None)


def _read(file: Path) -> Papers:
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(f"{file} cannot be read: {error}") from error
    try:
        return {
            paper: [
                _table(f"{paper}.{name}", node, about["reference"])
                for name, node in _mapping(about["tables"], f"{paper}.tables").items()
            ]
            for paper, about in _mapping(content, "the file").items()
            if _checked(about, paper, {"reference": str, "tables": dict}, ("reference", "tables"))
        }
    except UserError as error:
        raise UserError(f"{file}: {error}") from error


def _table(name: str, node: object, reference: str) -> PaperTable:
    """Read a table; its keys hold for all its cells, which may override them."""
    about = {"title": str, "source": str, "protocol": str, "cells": dict}
    _checked(node, name, about | _hints(Cell, "name"), tuple(about))
    shared = {key: value for key, value in node.items() if key not in about}
    rows = tuple(
        _cell(f"{name}.{key}", shared | _mapping(own, f"{name}.{key}"))
        for key, own in node["cells"].items()
    )
    if not rows:
        raise UserError(f"{name}.cells is empty, must hold a cell or more")
    return PaperTable(
        name, *(node[key] for key in ("title", "source", "protocol")), reference, rows
    )


def _cell(name: str, values: dict[str, Any]) -> Cell:
    hints = _hints(Cell, "name")
    required = [f.name for f in fields(Cell) if f.default is f.default_factory is MISSING]
    _checked(values, name, hints, [key for key in required if key != "name"])
    budget = values.get("budget")
    if budget is not None:
        values = values | {"budget": Budget(**_checked(budget, f"{name}.budget", _hints(Budget)))}
        _check_sure(values["budget"].sure, f"{name}.budget.sure")
    for key in ("sure", "hours_sure", "other_methods_sure"):
        _check_sure(values.get(key, SURE[0]), f"{name}.{key}")
    for method, figure in values.get("other_methods", {}).items():
        if not (conforms(figure, float) or (conforms(figure, list[float]) and len(figure) == 2)):
            raise UserError(
                f"{name}.other_methods.{method} is {figure!r}, must be a number or [mean, sd]"
            )
    return Cell(name, **values)


def _hints(kind: type, *skipped: str) -> dict[str, Any]:
    return {key: hint for key, hint in get_type_hints(kind).items() if key not in skipped}


def _mapping(node: object, name: str) -> dict[str, Any]:
    if not isinstance(node, Mapping):
        raise UserError(f"{name} is {node!r}, must be a mapping of names")
    return dict(node)


def _checked(
    node: object, name: str, hints: Mapping[str, Any], required: Collection[str] = ()
) -> dict[str, Any]:
    """Return a mapping whose keys and values are as annotated.

    Raises:
        UserError: naming key, value and what is possible.
    """
    node = _mapping(node, name)
    for key, value in node.items():
        if key not in hints:
            raise unknown_name(f"key {name}.{key}", list(hints), str(key))
        if hints[key] != Budget | None and not conforms(value, hints[key]):
            kind = getattr(hints[key], "__name__", hints[key])
            raise UserError(f"{name}.{key} is {value!r}, must be of type {kind}")
    if lacking := [key for key in required if key not in node]:
        raise UserError(f"{name} lacks {', '.join(lacking)}")
    return node


def _check_sure(value: str, name: str) -> None:
    if value not in SURE:
        raise UserError(f"{name} is {value!r}, must be one of {', '.join(SURE)}")
