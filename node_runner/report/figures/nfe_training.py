"""Chen et al. 2018, figure 3d."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..curves import draw, of_training
from ..results import Result

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TITLE = "Evaluations over training"


def panel(axis: Axes, results: Sequence[Result]) -> None:
    """Means over the steps between two points of the log."""
    tag = "nfe/forward"
    draw(axis, of_training(results, lambda r: r.curve(tag), tag), marker="")
    axis.set(xlabel="step", ylabel="NFE forward")


PANELS = (panel,)
