"""How the runs of a table came about."""

from __future__ import annotations

from collections.abc import Sequence
from math import isnan

from . import words
from .document import Table
from .published import Budget, Cell
from .results import Result
from .rows import Row, numbered

NFE = "NFE forward / backward / test"


def how(rows: Sequence[Row], but: Sequence[str] = ()) -> tuple[list[Table], list[str]]:
    """How the runs of the numbered rows came about: a table of what differs, if anything does, and
    a line of what does not.
    """
    runs = [(number, row) for number, row in numbered(rows) if row.group is not None]
    columns = {name: [of(row) for _, row in runs] for name, of in HOW.items() if name not in but}
    same = [name for name, cells in columns.items() if len(set(cells)) == 1 < len(runs)]
    common = [f"{name}: {columns.pop(name)[0]}" for name in same]
    lines = [f"In all {len(runs)} rows of own figures, {'; '.join(common)}."] if common else []
    body = [
        [number, row.label, *cells]
        for (number, row), *cells in zip(runs, *columns.values(), strict=True)
    ]
    return ([Table(["", "", *columns], body)] if columns and runs else []), lines


def budget(row: Row) -> str:
    return words.budget(row.group) + published_budget(row.cell)


def published_budget(cell: Cell | None) -> str:
    """What the published run was trained for, as far as that is known."""
    if cell is None:
        return ""
    known = [] if cell.budget is None else spent(cell.budget)
    known += [] if cell.hours is None else [f"{cell.hours:g} h{words.doubt(cell.hours_sure)}"]
    return f" (published: {', '.join(known) or 'not known'})"


def spent(budget: Budget) -> list[str]:
    found = [(getattr(budget, unit), unit) for unit in ("epochs", "steps")]
    return [f"{n:g} {unit}{words.doubt(budget.sure)}" for n, unit in found if n is not None]


def parameters(row: Row) -> str:
    published = None if row.cell is None else row.cell.parameters
    beside = "" if published is None else f" (published: {published:,})"
    return f"{row.group.first.parameters:,}{beside}"


def evaluations(row: Row) -> str:
    means = [row.group.mean(lambda r, k=k: r.nfe[k]) for k in ("forward", "backward", "evaluation")]
    return words.NONE if all(map(isnan, means)) else " / ".join(map(words.count, means))


def memory(row: Row) -> str:
    means = [row.group.mean(lambda r, k=k: r.memory[k]) for k in ("saved_mib", "peak_mib")]
    return " / ".join(map(words.short, means))


def code(result: Result) -> str:
    return f"torch {result.versions.get('torch')}, revision {result.revision or 'not known'}"


def state(result: Result) -> str:
    return result.state if result.message is None else f"{result.state}: {result.message}"


HOW = {
    "budget": budget,
    "data": lambda row: words.each([words.data(r) for r in row.group.results]),
    "solver and gradient": lambda row: words.solving(row.group.first),
    "training": lambda row: words.training(row.group.first),
    "weights tested": lambda row: words.each([words.weights(r) for r in row.group.results]),
    "parameters": parameters,
    NFE: evaluations,
    "MiB held / peak": memory,
    "device": lambda row: words.each([r.device for r in row.group.results]),
    "code": lambda row: words.each([code(r) for r in row.group.results]),
    "state": lambda row: words.each([state(r) for r in row.group.results]),
}
