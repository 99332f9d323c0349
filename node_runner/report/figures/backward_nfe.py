"""Chen et al. 2018, figure 3c: backward evaluations, which the paper reports to be a half."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..curves import add_legend_below, evaluation_panel
from ..results import Result

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TITLE = "Backward against forward function evaluations"

_curves = evaluation_panel(
    "solve/nfe_forward", "solve/nfe_backward", xlabel="NFE forward", ylabel="NFE backward"
)


def panel(axis: Axes, results: Sequence[Result]) -> None:
    """Draw the curves, and lines of equal and of half as many evaluations."""
    _curves(axis, results)
    for slope, name, style in ((1.0, "equal", ":"), (0.5, "half", "--")):
        line = {"color": "gray", "linewidth": 0.8, "linestyle": style}
        axis.axline((0, 0), slope=slope, label=name, **line)
    if axis.get_legend():
        add_legend_below(axis)
    axis.set(xlim=(0, None), ylim=(0, None))


PANELS = (panel,)
