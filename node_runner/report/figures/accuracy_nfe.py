"""Speed for accuracy at test time, without training again (Chen et al. 2018, section 3.1)."""

from __future__ import annotations

from collections.abc import Sequence
from math import nan
from typing import TYPE_CHECKING

from ..curves import draw, evaluations
from ..results import Result

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TITLE = "Accuracy against evaluations at test time"


def panel(axis: Axes, results: Sequence[Result]) -> None:
    """A trained classifier, tested at several tolerances."""

    def nfe(result: Result) -> float:
        return result.nfe["evaluation"] or nan

    draw(
        axis,
        evaluations(results, nfe, lambda r: 100 * (1 - r.metric("test/error")), "test/error"),
    )
    axis.set(xlabel="NFE of a test batch", ylabel="accuracy, %")


PANELS = (panel,)
