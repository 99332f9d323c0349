"""Comma-separated values: a line for each row, raw numbers, empty where there is none."""

from __future__ import annotations

import csv
import io
from math import isnan

from ..document import Report


def render(report: Report) -> str:
    """The columns are those of all records."""
    columns = list(dict.fromkeys(name for record in report.records for name in record))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    for record in report.records:
        writer.writerow({name: plain(value) for name, value in record.items()})
    return text.getvalue()


def plain(value: object) -> object:
    """Text that a spreadsheet would compute, it is to show."""
    if isinstance(value, str) and value.startswith(("=", "+", "-", "@")):
        return f"'{value}"
    return "" if value is None or (isinstance(value, float) and isnan(value)) else value
