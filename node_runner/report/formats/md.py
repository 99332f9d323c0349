"""Markdown, in lines of at most 160 characters."""

from __future__ import annotations

import re
from collections.abc import Sequence
from textwrap import wrap

from ..document import Report, Table
from ..formatting import NONE

WIDTH = 160  # characters of a line; words longer than that are cut in two
LABEL_WIDTH = 60  # of a label in a table; the details have it in full


def render(report: Report) -> str:
    """Render a report: what is too wide for a table follows it as a list of details."""
    parts = []
    for section in report.sections:
        parts += map(_paragraph, (f"## {section.title}", *section.before))
        parts += [part for table in section.tables for part in _render_table(table)]
        parts += map(_paragraph, section.after)
    for picture in report.pictures:
        title = escape(picture.title)
        parts += [f"## {title}", f"![{title}]({picture.name}.png)"]
    return "\n\n".join(parts) + "\n"


def escape(text: str) -> str:
    """Escape tags, links and pictures, which a run's folder of unknown origin may hold."""
    return re.sub(r"<(?=[A-Za-z/!?])", "&lt;", text).replace("](", "]\\(")


def _paragraph(text: str, first: str = "", later: str = "") -> str:
    """Wrap a text; a line of it must not read as a list, a heading or a quotation."""
    if text.startswith("## "):
        return escape(" ".join(text.split()))[:WIDTH]
    lines = wrap(escape(text), WIDTH - 1 - len(later), break_on_hyphens=False) or [""]
    starts = re.compile(r"([-+*#>|=]|\d+[.)](?=\s|$))")
    marked = [lines[0], *(starts.sub(r"\\\1", x, 1) if starts.match(x) else x for x in lines[1:])]
    return "\n".join((first if i == 0 else later) + line for i, line in enumerate(marked))


def _render_table(table: Table) -> list[str]:
    """Render the columns that fit as a table, and the others as a list below it."""
    rows = [[escape(cell).replace("|", "\\|").replace("\n", " ") for cell in r] for r in table.rows]
    header = [escape(cell).replace("|", "\\|") for cell in table.header]
    labels = [_shorten(row[1], LABEL_WIDTH) for row in rows]
    shortened = [i for i, row in enumerate(rows) if row[1] != labels[i]]
    columns = [[name, *cells] for name, *cells in zip(header, *rows, strict=True)]
    columns[1] = [header[1], *labels]
    widths = [max(3, *map(len, column)) for column in columns]
    fitting, room = [], WIDTH - 1
    for i, width in enumerate(widths):
        if width + 3 <= room:
            fitting.append(i)
            room -= width + 3
    moved = [i for i in range(len(columns)) if i not in fitting]
    parts = (
        [_aligned([columns[i] for i in fitting], [widths[i] for i in fitting])] if fitting else []
    )
    details = []
    for i, row in enumerate(table.rows):
        name = row[1] if 0 in fitting else row[0]
        entries = [(table.header[j], row[j]) for j in moved if row[j] != NONE and j > 0]
        if entries or i in shortened:
            number = "" if row[0] in ("", NONE) or 0 not in fitting else f"{row[0]}: "
            details.append(_paragraph(f"{number}{name}", "- ", "  "))
            details += [_paragraph(f"{key}: {value}", "  - ", "    ") for key, value in entries]
    return parts + (["\n".join(details)] if details else [])


def _aligned(columns: Sequence[Sequence[str]], widths: Sequence[int]) -> str:
    """Pad columns, so that the table reads as plain text, too."""
    padded = [
        [column[0].ljust(width), "-" * width, *(cell.ljust(width) for cell in column[1:])]
        for column, width in zip(columns, widths, strict=True)
    ]
    return "\n".join(f"| {' | '.join(row)} |" for row in zip(*padded, strict=True))


def _shorten(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"
