"""Markdown."""

from __future__ import annotations

import re

from ..document import Report, Table


def render(report: Report) -> str:
    parts = []
    for section in report.sections:
        parts += map(escape, (f"## {section.title}", *section.before))
        parts += [table_of(table) for table in section.tables]
        parts += map(escape, section.after)
    for picture in report.pictures:
        title = escape(picture.title)
        parts += [f"## {title}", f"![{title}]({picture.name}.png)"]
    return "\n\n".join(parts) + "\n"


def table_of(table: Table) -> str:
    """Columns padded, so that it reads as plain text too."""
    rows = [
        [escape(cell).replace("|", "\\|").replace("\n", " ") for cell in row] for row in table.rows
    ]
    widths = [max(3, *map(len, column)) for column in zip(table.header, *rows, strict=True)]
    rule = ["-" * width for width in widths]
    padded = [
        [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        for row in (table.header, rule, *rows)
    ]
    return "\n".join(f"| {' | '.join(row)} |" for row in padded)


def escape(text: str) -> str:
    """A text without the tags, links and pictures of a run's folder that somebody else made."""
    return re.sub(r"<(?=[A-Za-z/!?])", "&lt;", text).replace("](", "]\\(")
