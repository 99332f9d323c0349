"""Parts shared by figures: colour bars and legends outside the axes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.cm import ScalarMappable
    from matplotlib.figure import FigureBase

__all__ = ["add_colour_bar", "add_legend"]


def add_colour_bar(mappable: ScalarMappable, axes: Axes | Sequence[Axes], label: str) -> None:
    """Add a labelled colour bar to the right of one or several axes."""
    figure = (axes if not isinstance(axes, Sequence) else axes[0]).figure
    bar = figure.colorbar(mappable, ax=axes, aspect=30, pad=0.02)
    bar.set_label(label)
    bar.outline.set_linewidth(0.5)


def add_legend(figure: FigureBase, columns: int = 4) -> None:
    """Add one legend above all axes, outside of them, with one entry per label."""
    entries: dict[str, Any] = {}
    for axis in figure.axes:
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True):
            entries.setdefault(label, handle)
    if entries:
        figure.legend(
            entries.values(),
            entries.keys(),
            loc="outside upper center",
            ncols=min(columns, len(entries)),
            frameon=False,
        )
