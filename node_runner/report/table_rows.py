"""Rows of a report's tables: published cells with the runs made for them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from . import formatting
from .deviations import deviations
from .published import Cell, unit_of
from .results import Group, Result

MISSING = "missing"


class TableRow(NamedTuple):
    """A row of a table: a published cell, a group of own results, or both.

    >>> TableRow("ODE-Net", None).state
    'missing'
    """

    label: str
    group: Group | None
    cell: Cell | None = None

    @property
    def state(self) -> str:
        return MISSING if self.group is None else self.group.first.state

    @property
    def deviations(self) -> list[str]:
        """Deviations of the runs from the published protocol."""
        return [] if self.group is None or self.cell is None else deviations(self.group, self.cell)

    @property
    def deviates_in(self) -> str:
        """The deviations as text."""
        return formatting.NONE if self.group is None else "; ".join(self.deviations) or "nothing"


def rows_of_cell(cell: Cell, groups: Sequence[Group]) -> list[TableRow]:
    """Return a row for each configuration run for a cell, or one row without a run."""
    runs = [g for g in groups if g.first.cell == cell.name and g.first.mode == "train"]
    return [TableRow(cell.label, group, cell) for group in runs] or [
        TableRow(cell.label, None, cell)
    ]


def rows_without_cell(groups: Sequence[Group]) -> dict[str, list[TableRow]]:
    """Return rows of runs that belong to no published table, by task, mode and unit."""
    kinds: dict[tuple[str, str], list[Group]] = {}
    for group in groups:
        verb = "evaluations" if group.first.mode == "evaluate" else "runs"
        unit = main_figure(group.first)[2]
        kinds.setdefault((f"{group.first.task}: {verb}", unit), []).append(group)
    titles = [title for title, _ in kinds]
    return {
        title if titles.count(title) == 1 else f"{title} in {unit or 'units of the data'}": [
            TableRow(label, group)
            for label, group in zip(formatting.labels([g.first for g in kind]), kind, strict=True)
        ]
        for (title, unit), kind in kinds.items()
    }


def main_figure(result: Result, cell: Cell | None = None) -> tuple[str, float, str]:
    """Return the metric that sums a run up, the factor to its unit, and the unit: those of the
    cell; or the task's metric, in the unit in which figures of this data set are published.
    """
    if cell is not None:
        return cell.metric, cell.factor, cell.unit
    metric, unit = f"test/{result.headline['metric']}", result.headline["unit"]
    unit, factor = unit_of(result.data["name"], metric) or (unit, result.headline["factor"])
    return metric, factor, unit


def number_rows(rows: Sequence[TableRow]) -> list[tuple[str, TableRow]]:
    """Number the rows that have a run, so that other tables can refer to them."""
    count = iter(range(1, len(rows) + 1))
    return [(formatting.NONE if row.group is None else str(next(count)), row) for row in rows]
