"""Finlay et al. 2020: evaluations and the norm of the Jacobian rise together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..curves import draw, of_training
from ..results import Result

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TITLE = "Evaluations against the Jacobian's norm, over training"
NEED = "cost/jacobian (regularizer=jacobian regularizer.jacobian.weight=0 only measures it)"


def panel(axis: Axes, results: Sequence[Result]) -> None:
    """A point for each point of the log."""

    def points(result: Result) -> list[tuple[float, ...]]:
        return [point[1:] for point in result.curve("cost/jacobian", "nfe/forward")]

    draw(axis, of_training(results, points, NEED))
    for line in axis.lines:
        line.set(linestyle="", alpha=0.6)
    axis.set(xlabel="mean squared Frobenius norm along the path", ylabel="NFE forward")


PANELS = (panel,)
