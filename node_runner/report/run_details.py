"""Training details of the runs in a table."""

from __future__ import annotations

from collections.abc import Sequence
from math import isnan

from . import formatting
from .document import Table
from .published import Budget, Cell
from .results import Result
from .table_rows import TableRow, number_rows

NFE = "NFE forward / backward / test"


def run_details(
    rows: Sequence[TableRow], skip: Sequence[str] = ()
) -> tuple[list[Table], list[str]]:
    """Return a table of the details in which the numbered rows differ, if any, and a line of those
    that all have in common.

    Args:
        skip: Names of details to leave out.
    """
    runs = [(number, row) for number, row in number_rows(rows) if row.group is not None]
    columns = {
        name: [text(row) for _, row in runs] for name, text in DETAILS.items() if name not in skip
    }
    same = [name for name, cells in columns.items() if len(set(cells)) == 1 < len(runs)]
    common = [f"{name}: {columns.pop(name)[0]}" for name in same]
    lines = [f"In all {len(runs)} rows of own figures, {'; '.join(common)}."] if common else []
    body = [
        [number, row.label, *cells]
        for (number, row), *cells in zip(runs, *columns.values(), strict=True)
    ]
    return ([Table(["", "", *columns], body)] if columns and runs else []), lines


def format_nfe(row: TableRow) -> str:
    """Give the function evaluations forward, backward and of the test."""
    means = [row.group.mean(lambda r, k=k: r.nfe[k]) for k in ("forward", "backward", "evaluation")]
    none = all(map(isnan, means))
    return formatting.NONE if none else " / ".join(map(formatting.format_count, means))


def _budget(row: TableRow) -> str:
    return formatting.format_budget(row.group) + _published_budget(row.cell)


def _published_budget(cell: Cell | None) -> str:
    if cell is None:
        return ""
    parts = [] if cell.budget is None else _spent(cell.budget)
    if cell.hours is not None:
        parts.append(f"{cell.hours:g} h{formatting.source_mark(cell.hours_sure)}")
    return f" (published: {', '.join(parts) or 'not known'})"


def _spent(budget: Budget) -> list[str]:
    mark = formatting.source_mark(budget.sure)
    spent = [(getattr(budget, unit), unit) for unit in ("epochs", "steps")]
    return [f"{n:g} {unit}{mark}" for n, unit in spent if n is not None]


def _parameters(row: TableRow) -> str:
    published = None if row.cell is None else row.cell.parameters
    addition = "" if published is None else f" (published: {published:,})"
    return f"{row.group.first.parameters:,}{addition}"


def _memory(row: TableRow) -> str:
    means = [row.group.mean(lambda r, k=k: r.memory[k]) for k in ("saved_mib", "peak_mib")]
    return " / ".join(map(formatting.format_short, means))


def _code(result: Result) -> str:
    return f"torch {result.versions.get('torch')}, revision {result.revision or 'not known'}"


def _state(result: Result) -> str:
    return result.state if result.message is None else f"{result.state}: {result.message}"


DETAILS = {
    "budget": _budget,
    "data": lambda row: formatting.join_unique([*map(formatting.format_data, row.group.results)]),
    "solver and gradient": lambda row: formatting.format_solves(row.group.first),
    "training": lambda row: formatting.format_training(row.group.first),
    "weights tested": lambda row: formatting.join_unique(
        [*map(formatting.format_weights, row.group.results)]
    ),
    "parameters": _parameters,
    NFE: format_nfe,
    "MiB held / peak": _memory,
    "device": lambda row: formatting.join_unique([r.device for r in row.group.results]),
    "code": lambda row: formatting.join_unique([*map(_code, row.group.results)]),
    "state": lambda row: formatting.join_unique([*map(_state, row.group.results)]),
}
