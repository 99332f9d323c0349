"""Chen et al. 2018, figure 3d."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..curves import draw_curves, training_curves
from ..results import Result

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TITLE = "Function evaluations over training"


def panel(axis: Axes, results: Sequence[Result]) -> None:
    """Draw means over the steps between two points of the log."""
    tag = "nfe/forward"
    curves = training_curves(
        results, lambda r: [(step, step, nfe) for step, nfe in r.curve(tag)], tag
    )
    draw_curves(axis, curves, marker="")
    axis.set(xlabel="training step", ylabel="NFE forward")


PANELS = (panel,)
