"""A report from results: the papers' tables, and all other runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from . import formatting
from .document import Report, RunFolder, Section, Table
from .files import Unusable
from .flat_records import flat_record
from .published import Papers, PaperTable
from .results import Group
from .run_details import NFE, format_nfe, run_details
from .table_rows import (
    MISSING,
    TableRow,
    main_figure,
    number_rows,
    rows_of_cell,
    rows_without_cell,
)

LEGEND = (
    "± is the standard deviation over seeds (n - 1); s.e. the standard error over the test samples "
    "of one seed; * marks runs that deviate from the published protocol. NFE forward and backward "
    "and memory are those of a training step at the end of training (means of the last points of "
    "the log), test NFE those of the weights tested, of one batch each. Published figures were "
    "read in the paper or the authors' code unless marked otherwise."
)


def compose(
    groups: Sequence[Group], unusable: Sequence[Unusable], papers: Papers, paper: str | None
) -> Report:
    """Compose the tables of one paper; or all tables that have own results, and all other runs."""
    sections, records = [], []
    placed: set[int] = set()
    for name, tables in papers.items():
        for table in tables if paper in (None, name) else ():
            rows = [row for cell in table.cells for row in rows_of_cell(cell, groups)]
            own = {id(row.group) for row in rows if row.group is not None}
            placed |= own
            if own or paper is not None:
                sections.append(_paper_section(table, rows))
                records += [flat_record(row, name, table) for row in rows]
    if paper is None:
        others = rows_without_cell([group for group in groups if id(group) not in placed])
        for title, rows in others.items():
            sections.append(_run_section(title, rows))
            records += [flat_record(row) for row in rows]
    if unusable:
        body = [[str(run.folder), run.state, run.message] for run in unusable]
        table = Table(["run", "state", "message"], body)
        sections.append(Section("Runs without figures", tables=[table]))
    sections.append(Section("How to read this", [LEGEND]))
    return Report(sections, records)


def _paper_section(table: PaperTable, rows: list[TableRow]) -> Section:
    """Compose published and own figures, and the training behind both."""
    body = []
    for number, row in number_rows(rows):
        cell, decimals = row.cell, table.decimals(row.cell.unit)
        published = formatting.format_published(cell, decimals)
        body.append([number, row.label, published, _own(row, decimals), _seeds(row)])
        body[-1] += [row.deviates_in, formatting.format_other_methods(cell)]
    header = ["", "", "published", "own", "seeds", "own deviates in", "other methods"]
    if all(line[-1] == formatting.NONE for line in body):
        header, body = header[:-1], [line[:-1] for line in body]
    notes = [f"{cell.label}: {cell.note}." for cell in table.cells if cell.note]
    details, common = run_details(rows)
    return Section(
        f"{table.name}: {table.title}",
        [f"{table.reference}; {table.source}."],
        [Table(header, body), *details],
        [*common, f"As published: {table.protocol}", *notes],
        _folders(rows),
    )


def _run_section(title: str, rows: list[TableRow]) -> Section:
    """Compose the runs of a task with every metric of their tests."""
    main, _, unit = main_figure(rows[0].group.first)
    names = dict.fromkeys(name for row in rows for name in row.group.first.metrics)
    others = [name for name in names if name not in (main, "test/nfe")]
    shown = [name.removeprefix("test/") for name in others]
    figure = formatting.with_unit(main.removeprefix("test/"), unit)
    header = ["", "", figure, "seeds", NFE, *shown]
    body = []
    for number, row in number_rows(rows):
        spreads = [row.group.spread(name) for name in others]
        cells = [formatting.NONE if s is None else formatting.format_spread(s) for s in spreads]
        body.append([number, row.label, _own(row), _seeds(row), format_nfe(row), *cells])
    details, common = run_details(rows, skip=(NFE,))
    return Section(title, [], [Table(header, body), *details], common, _folders(rows))


def _own(row: TableRow, decimals: int = 0) -> str:
    """Format the main figure of the runs, marked where they deviate from the published protocol."""
    if row.group is None:
        return MISSING
    first = row.group.first
    metric, factor, _ = main_figure(first, row.cell)
    spread = row.group.spread(metric, factor)
    if spread is None:
        return first.state if first.state != "done" else f"no {metric}"
    lacking = "" if spread.n == len(row.group.results) else f" ({spread.n} of its seeds)"
    mark = " *" if row.deviations else ""
    return formatting.format_spread(spread, decimals) + lacking + mark


def _seeds(row: TableRow) -> str:
    return formatting.NONE if row.group is None else formatting.format_seeds(row.group)


def _folders(rows: list[TableRow]) -> list[RunFolder]:
    """List the folders and pictures of the runs of numbered rows."""
    return [
        RunFolder(f"{number}: {row.label}, seed {result.seed}", result.folder, pictures)
        for number, row in number_rows(rows)
        for result in (row.group.results if row.group else ())
        for pictures in [_pictures(result.folder)]
    ]


def _pictures(folder: Path) -> list[Path]:
    files = (folder / "figures").glob("*")
    return sorted(file for file in files if file.suffix in (".png", ".gif"))
