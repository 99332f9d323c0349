"""Figures of the papers, one file each: ``TITLE``, and ``PANELS`` that draw on one axis each.

A panel is ``(axis, results) -> None`` and raises ``NothingToDraw`` where no result has what it
shows. A figure whose axes depend on what there is has ``paint``, ``(figure, results) -> None``, in
their place.
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

    Panel = Callable[[Axes, Sequence[Result]], None]

PANEL = (5.4, 3.9)  # inches


def names() -> list[str]:
    """The files of this folder."""
    return sorted(module.name for module in iter_modules(__path__))


def get(name: str) -> ModuleType:
    return import_module(f"{__name__}.{name}")


def draw(name: str, results: Sequence[Result]) -> Figure:
    """A figure.

    Raises:
        NothingToDraw: if no result has what it shows.
    """
    from matplotlib.figure import Figure  # half a second that a table should not cost

    module = get(name)
    figure = Figure(layout="constrained")
    figure.suptitle(module.TITLE)
    paint = getattr(module, "paint", None) or partial(paint_panels, module.PANELS)
    paint(figure, results)
    return figure


def paint_panels(panels: Sequence[Panel], figure: Figure, results: Sequence[Result]) -> None:
    """Three side by side; two by two where there are four."""
    columns = 2 if len(panels) == 4 else min(3, len(panels))
    rows = ceil(len(panels) / columns)
    figure.set_size_inches(columns * PANEL[0], rows * PANEL[1])
    for i, panel in enumerate(panels):
        axis = figure.add_subplot(rows, columns, i + 1)
        panel(axis, results)
        axis.grid(alpha=0.3)


def save(name: str, results: Sequence[Result], folder: Path) -> Picture:
    """Draw into ``folder``, as PNG and SVG.

    Raises:
        NothingToDraw, OSError: if there is nothing to draw, or the folder cannot be written to.
    """
    figure = draw(name, results)
    figure.savefig(folder / f"{name}.png", dpi=150)
    figure.savefig(folder / f"{name}.svg")
    return Picture(get(name).TITLE, name, (folder / f"{name}.svg").read_text(encoding="utf-8"))
