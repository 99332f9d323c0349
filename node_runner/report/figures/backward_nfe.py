"""Chen et al. 2018, figure 3c."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..curves import add_legend_below, draw_curves, evaluation_curves
from ..results import Result

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TITLE = "Backward against forward function evaluations"


def panel(axis: Axes, results: Sequence[Result]) -> None:
    """Draw the evaluations of trained nets at several tolerances; the paper reports a half."""
    forward, backward = "solve/nfe_forward", "solve/nfe_backward"
    curves = evaluation_curves(
        results, lambda r: r.metric(forward), lambda r: r.metric(backward), backward
    )
    draw_curves(axis, curves)
    for slope, name, style in ((1.0, "equal", ":"), (0.5, "half", "--")):
        line = {"color": "gray", "linewidth": 0.8, "linestyle": style}
        axis.axline((0, 0), slope=slope, label=name, **line)
    if axis.get_legend():
        add_legend_below(axis)
    axis.set(xlabel="NFE forward", ylabel="NFE backward")
    axis.set_xlim(left=0)
    axis.set_ylim(bottom=0)


PANELS = (panel,)
