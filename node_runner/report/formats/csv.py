"""Comma-separated values: a line for each row, raw numbers, empty for missing ones."""

from __future__ import annotations

import csv
import io
from math import isnan

from ..document import Report


def render(report: Report) -> str:
    """Render the records; the columns are those of all of them."""
    columns = list(dict.fromkeys(name for record in report.records for name in record))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    for record in report.records:
        writer.writerow({name: _plain(value) for name, value in record.items()})
    return text.getvalue()


def _plain(value: object) -> object:
    """Return a value as text; a spreadsheet must not evaluate it as a formula."""
    if isinstance(value, str) and value.startswith(("=", "+", "-", "@")):
        return f"'{value}"
    return "" if value is None or (isinstance(value, float) and isnan(value)) else value
