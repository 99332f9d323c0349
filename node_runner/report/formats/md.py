"""Markdown."""

from __future__ import annotations

from ..document import Report, Table


def render(report: Report) -> str:
    parts = []
    for section in report.sections:
        parts += [f"## {section.title}", *section.before]
        parts += [table_of(table) for table in section.tables]
        parts += section.after
    for picture in report.pictures:
        parts += [f"## {picture.title}", f"![{picture.title}]({picture.name}.png)"]
    return "\n\n".join(parts) + "\n"


def table_of(table: Table) -> str:
    """Columns padded, so that it reads as plain text too."""
    rows = [[cell.replace("|", "\\|").replace("\n", " ") for cell in row] for row in table.rows]
    widths = [max(3, *map(len, column)) for column in zip(table.header, *rows, strict=True)]
    rule = ["-" * width for width in widths]
    padded = [
        [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        for row in (table.header, rule, *rows)
    ]
    return "\n".join(f"| {' | '.join(row)} |" for row in padded)
