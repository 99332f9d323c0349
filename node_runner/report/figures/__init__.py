"""Figures of the papers, a file each: ``TITLE``, and ``PANELS`` that draw on one axis each.

A panel is ``(axis, results) -> None`` and raises ``NothingToDraw`` if no result has what it shows.
A figure that shows unlike quantities has ``split(results) -> list of results``, and its panels are
drawn for each part; a figure with a layout of its own has ``paint(figure, results)`` instead.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
from math import ceil
from pathlib import Path
from pkgutil import iter_modules
from types import ModuleType
from typing import TYPE_CHECKING

from ..document import Picture
from ..results import Result

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    Panel = Callable[[Axes], None]

__all__ = ["draw", "get", "names", "save"]

PANEL = (5.4, 4.2)  # inches
FILES = ("png", "svg", "pdf")


def names() -> list[str]:
    """Return the names of the files of this folder."""
    return sorted(module.name for module in iter_modules(__path__))


def get(name: str) -> ModuleType:
    """Import the module of a figure."""
    return import_module(f"{__name__}.{name}")


def draw(name: str, results: Sequence[Result]) -> Figure:
    """Draw a figure.

    Raises:
        NothingToDraw: if no result has what it shows.
    """
    from matplotlib.figure import Figure  # imported late: takes half a second

    module = get(name)
    figure = Figure(layout="constrained")
    figure.suptitle(module.TITLE)
    if hasattr(module, "paint"):
        module.paint(figure, results)
    else:
        parts = module.split(results) if hasattr(module, "split") else [results]
        _paint_panels(
            [partial(panel, results=part) for part in parts for panel in module.PANELS], figure
        )
    return figure


def _paint_panels(panels: Sequence[Panel], figure: Figure) -> None:
    """Draw panels three to a row, or two if there are four."""
    columns = 2 if len(panels) == 4 else min(3, len(panels))
    rows = ceil(len(panels) / columns)
    figure.set_size_inches(columns * PANEL[0], rows * PANEL[1])
    for i, panel in enumerate(panels):
        axis = figure.add_subplot(rows, columns, i + 1)
        panel(axis)
        axis.grid(alpha=0.3)


def save(name: str, results: Sequence[Result], folder: Path) -> Picture:
    """Draw a figure into ``folder``, as PNG, SVG and PDF.

    Raises:
        NothingToDraw, OSError: if there is nothing to draw, or the folder cannot be written to.
    """
    figure = draw(name, results)
    figure.draw_without_rendering()  # a legend's place depends on the size of its axes
    for kind in FILES:
        figure.savefig(folder / f"{name}.{kind}", dpi=150)
    return Picture(get(name).TITLE, name, (folder / f"{name}.svg").read_text(encoding="utf-8"))
