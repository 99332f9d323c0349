"""Lines of a report's tables: published cells beside the runs that were made for them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from . import words
from .marks import marks
from .published import Cell
from .results import Group

MISSING = "missing"


class Row(NamedTuple):
    """A line of a table: a published cell, a group of own results, or one beside the other."""

    label: str
    group: Group | None
    cell: Cell | None = None

    @property
    def state(self) -> str:
        return MISSING if self.group is None else self.group.first.state

    @property
    def marks(self) -> list[str]:
        """In what the runs are less than the published one, or other."""
        return [] if self.group is None or self.cell is None else marks(self.group, self.cell)

    @property
    def less(self) -> str:
        """The marks in words."""
        return words.NONE if self.group is None else "; ".join(self.marks) or "nothing"


def rows_of(cell: Cell, groups: Sequence[Group]) -> list[Row]:
    """The runs of a cell, one row for each configuration; a row without a run if there is none."""
    found = [g for g in groups if g.first.cell == cell.name and g.first.mode == "train"]
    return [Row(cell.label, group, cell) for group in found] or [Row(cell.label, None, cell)]


def others(groups: Sequence[Group]) -> dict[str, list[Row]]:
    """Runs that belong to no published table, by task and mode, each by what was its own."""
    kinds: dict[str, list[Group]] = {}
    for group in groups:
        verb = "evaluations" if group.first.mode == "evaluate" else "runs"
        kinds.setdefault(f"{group.first.task}: {verb}", []).append(group)
    return {
        title: [
            Row(label, group)
            for label, group in zip(words.labels([g.first for g in found]), found, strict=True)
        ]
        for title, found in kinds.items()
    }


def figure_of(group: Group, cell: Cell | None) -> tuple[str, float, str]:
    """The metric that sums the runs up, the factor to its unit, and the unit: those of the cell,
    or of the task.
    """
    if cell is not None:
        return cell.metric, cell.factor, cell.unit
    headline = group.first.headline
    return f"test/{headline['metric']}", headline["factor"], headline["unit"]


def numbered(rows: Sequence[Row]) -> list[tuple[str, Row]]:
    """Rows that have a run, numbered: the second table tells of the first one's numbers."""
    count = iter(range(1, len(rows) + 1))
    return [(words.NONE if row.group is None else str(next(count)), row) for row in rows]
