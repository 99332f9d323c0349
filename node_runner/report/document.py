"""Parts of a report, independent of its format."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Table:
    """A header and rows of as many cells.

    >>> Table(["method", "error"], [["rk4", "0.1"]]).rows[0][1]
    '0.1'
    """

    header: list[str]
    rows: list[list[str]]


@dataclass(frozen=True)
class RunFolder:
    """A run of a table's row: a label, its folder and its pictures."""

    label: str
    folder: Path
    pictures: list[Path]


@dataclass(frozen=True)
class Section:
    """A heading, paragraphs before its tables and after them, and the runs of its rows."""

    title: str
    before: list[str] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    after: list[str] = field(default_factory=list)
    runs: list[RunFolder] = field(default_factory=list)


@dataclass(frozen=True)
class Picture:
    """A figure as it was written.

    Attributes:
        name: Of its files, without .png, .svg and .pdf.
        svg: The drawing, to be put into a page.
    """

    title: str
    name: str
    svg: str


@dataclass(frozen=True)
class Report:
    """Sections for a reader, records for a program (one name to one value), pictures for both.

    Attributes:
        folder: Folder that the report is written to, from which links lead.
    """

    sections: list[Section]
    records: list[dict[str, object]]
    pictures: list[Picture] = field(default_factory=list)
    folder: Path = Path()
