"""Speed against accuracy at test time, without training again (Chen et al. 2018, section 3.1)."""

from __future__ import annotations

from collections.abc import Sequence
from math import nan
from typing import TYPE_CHECKING

from ..curves import draw_curves, evaluation_curves
from ..results import Result

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TITLE = "Accuracy against function evaluations at test time"


def panel(axis: Axes, results: Sequence[Result]) -> None:
    """Draw the accuracy of trained classifiers, tested at several tolerances."""

    def nfe(result: Result) -> float:
        return result.nfe["evaluation"] or nan

    def accuracy(result: Result) -> float:
        return 100 * (1 - result.metric("test/error"))

    draw_curves(axis, evaluation_curves(results, nfe, accuracy, "test/error"))
    axis.set(xlabel="NFE of a test batch", ylabel="accuracy (%)")


PANELS = (panel,)
