"""Published figures, by cell of a paper's table. published.yaml is the one place that holds any."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

FILE = Path(__file__).with_name("published.yaml")
# How a number is known, from surest to least; those after FIRM are marked wherever they are shown.
SURE = ("paper", "code", "derived", "thread", "secondary", "memory")
FIRM = 3


@dataclass(frozen=True)
class Budget:
    """What a published run was trained for."""

    epochs: float | None = None
    steps: int | None = None
    sure: str = "paper"


@dataclass(frozen=True)
class Cell:
    """One published number.

    Attributes:
        value: in ``unit``: the metric of result.json times ``factor``.
        sd, runs: its spread, and over how many runs.
        sure: one of ``SURE``.
        beside: what the paper gives for others: a number, or mean and sd.
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
    budget: Budget | None = None
    beside: dict[str, float | list[float]] = field(default_factory=dict)
    beside_sure: str = "paper"


@dataclass(frozen=True)
class PaperTable:
    """A table of a paper.

    Attributes:
        protocol: how its figures came about, where that matters for a comparison.
    """

    name: str
    title: str
    source: str
    protocol: str
    reference: str
    cells: tuple[Cell, ...]

    def decimals(self, unit: str) -> int:
        """Digits after the point that were published: 1.6 in a column of 0.41 is 1.60."""
        alike = (str(cell.value) for cell in self.cells if cell.unit == unit)
        return max(len(value.partition(".")[2]) for value in alike)


@lru_cache(maxsize=1)
def load() -> dict[str, list[PaperTable]]:
    """The tables by paper."""
    content = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    return {
        paper: [
            table(f"{paper}.{name}", node, about["reference"])
            for name, node in about["tables"].items()
        ]
        for paper, about in content.items()
    }


def table(name: str, node: dict[str, Any], reference: str) -> PaperTable:
    """A table of the file; what it says of all its cells, a cell may say otherwise."""
    about = ("title", "source", "protocol")
    shared = {key: value for key, value in node.items() if key not in (*about, "cells")}
    cells = tuple(cell(f"{name}.{key}", {**shared, **own}) for key, own in node["cells"].items())
    return PaperTable(name, *(node[key] for key in about), reference, cells)


def cell(name: str, values: dict[str, Any]) -> Cell:
    budget = values.pop("budget", None)
    return Cell(name, **values, budget=Budget(**budget) if budget else None)


def cells() -> dict[str, Cell]:
    """Every published cell by its name."""
    return {
        cell.name: cell for tables in load().values() for table in tables for cell in table.cells
    }
