"""A report from results: the papers' tables, and what else was run."""

from __future__ import annotations

from collections.abc import Sequence

from . import words
from .document import Report, Section, Table
from .files import Unusable
from .how import NFE, evaluations, how
from .published import PaperTable, load
from .records import record
from .results import Group
from .rows import MISSING, Row, figure_of, numbered, others, rows_of

LEGEND = (
    "± is the standard deviation over seeds (n - 1); s.e. the standard error over the test samples "
    "of one seed. NFE forward and backward and memory are those of a training step at the end of "
    "training (means of the last points of the log), test NFE those of the weights tested, of one "
    "batch each. Published figures are read in the paper or the authors' code, or say how else "
    "they are known."
)


def compose(groups: Sequence[Group], unusable: Sequence[Unusable], paper: str | None) -> Report:
    """The tables of one paper, whole; or those tables that have own results, and all other runs."""
    sections, records = [], []
    placed: set[int] = set()
    for name, tables in load().items():
        for table in tables if paper in (None, name) else ():
            rows = [row for cell in table.cells for row in rows_of(cell, groups)]
            found = {id(row.group) for row in rows if row.group is not None}
            placed |= found
            if found or paper is not None:
                sections.append(of_paper(table, rows))
                records += [record(row, name, table) for row in rows]
    if paper is None:
        for title, rows in others([group for group in groups if id(group) not in placed]).items():
            sections.append(of_runs(title, rows))
            records += [record(row) for row in rows]
    if unusable:
        sections.append(of_unusable(unusable))
    sections.append(Section("How to read this", [LEGEND]))
    return Report(sections, records)


def of_paper(table: PaperTable, rows: list[Row]) -> Section:
    """Published beside own, and how either came about."""
    body = []
    for number, row in numbered(rows):
        cell, decimals = row.cell, table.decimals(row.cell.unit)
        unit = f" {cell.unit}".rstrip()
        figure = f"{words.published(cell, decimals)}{unit}"
        body.append([number, row.label, figure, own(row, decimals), seeds(row), row.less])
        body[-1].append(words.beside(cell))
    header = ["", "", "published", "own", "seeds", "own is less or other in", "published beside"]
    if all(line[-1] == words.NONE for line in body):
        header, body = header[:-1], [line[:-1] for line in body]
    notes = [f"{cell.label}: {cell.note}." for cell in table.cells if cell.note]
    before, after = [f"{table.reference}; {table.source}."], [f"As published: {table.protocol}"]
    ways, common = how(rows)
    return Section(
        f"{table.name}: {table.title}",
        before,
        [Table(header, body), *ways],
        [*common, *after, *notes],
    )


def of_runs(title: str, rows: list[Row]) -> Section:
    """Runs side by side, in every metric of their test."""
    main, _, unit = figure_of(rows[0].group, None)
    names = dict.fromkeys(name for row in rows for name in row.group.first.metrics)
    rest = [name for name in names if name not in (main, "test/nfe")]
    shown = [name.removeprefix("test/") for name in rest]
    header = ["", "", f"{main.removeprefix('test/')} ({unit})", NFE, *shown, "seeds"]
    body = []
    for number, row in numbered(rows):
        spreads = [row.group.spread(name) for name in rest]
        cells = [words.NONE if found is None else words.spread(found) for found in spreads]
        body.append([number, row.label, own(row), evaluations(row), *cells, seeds(row)])
    ways, common = how(rows, but=(NFE,))
    return Section(title, [], [Table(header, body), *ways], common)


def of_unusable(unusable: Sequence[Unusable]) -> Section:
    rows = [[str(each.folder), each.state, each.message] for each in unusable]
    return Section("Runs without figures", tables=[Table(["run", "state", "message"], rows)])


def own(row: Row, decimals: int = 0) -> str:
    """The headline figure of the runs, marked where they are less than the published one."""
    if row.group is None:
        return MISSING
    first = row.group.first
    metric, factor, _ = figure_of(row.group, row.cell)
    found = row.group.spread(metric, factor)
    if found is None:
        return first.state if first.state != "done" else f"no {metric}"
    lacking = "" if found.n == len(row.group.results) else f" ({found.n} of its seeds)"
    mark = " *" if row.marks else ""
    return words.spread(found, decimals) + lacking + mark


def seeds(row: Row) -> str:
    return words.NONE if row.group is None else ", ".join(str(r.seed) for r in row.group.results)
