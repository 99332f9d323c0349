"""Figures of the papers, one file each: ``TITLE``, and ``PANELS`` that draw on one axis each.

A panel is ``(axis, results) -> None`` and raises ``NothingToDraw`` where no result has what it
shows.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from math import ceil
from pathlib import Path
from pkgutil import iter_modules
from types import ModuleType
from typing import TYPE_CHECKING

from ..document import Picture
from ..results import Result

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PANEL = (5.4, 3.9)  # inches


def names() -> list[str]:
    """The files of this folder."""
    return sorted(module.name for module in iter_modules(__path__))


def get(name: str) -> ModuleType:
    return import_module(f"{__name__}.{name}")


def draw(name: str, results: Sequence[Result]) -> Figure:
    """A figure, its panels in two columns.

    Raises:
        NothingToDraw: if no result has what it shows.
    """
    from matplotlib.figure import Figure  # half a second that a table should not cost

    module = get(name)
    columns = min(2, len(module.PANELS))
    rows = ceil(len(module.PANELS) / columns)
    figure = Figure(figsize=(columns * PANEL[0], rows * PANEL[1]), layout="constrained")
    figure.suptitle(module.TITLE)
    for i, panel in enumerate(module.PANELS):
        axis = figure.add_subplot(rows, columns, i + 1)
        panel(axis, results)
        axis.grid(alpha=0.3)
    return figure


def save(name: str, results: Sequence[Result], folder: Path) -> Picture:
    """Draw into ``folder``, as PNG and SVG.

    Raises:
        NothingToDraw, OSError: if there is nothing to draw, or the folder cannot be written to.
    """
    figure = draw(name, results)
    figure.savefig(folder / f"{name}.png", dpi=150)
    figure.savefig(folder / f"{name}.svg")
    return Picture(get(name).TITLE, name, (folder / f"{name}.svg").read_text(encoding="utf-8"))
