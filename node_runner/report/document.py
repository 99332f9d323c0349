"""What a report holds, whatever it is written in."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Table:
    """A header and rows of as many cells."""

    header: list[str]
    rows: list[list[str]]


@dataclass(frozen=True)
class Section:
    """A heading, paragraphs before its tables, and paragraphs after them."""

    title: str
    before: list[str] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    after: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Picture:
    """A figure as it was written.

    Attributes:
        name: of its files, without .png and .svg.
        svg: the drawing, to be put into a page.
    """

    title: str
    name: str
    svg: str


@dataclass(frozen=True)
class Report:
    """Sections for a reader, records for a program (one name to one value), pictures for both."""

    sections: list[Section]
    records: list[dict[str, object]]
    pictures: list[Picture] = field(default_factory=list)
