"""Grathwohl et al. 2018, figure 8."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..curves import draw, evaluations, tolerance
from ..results import Result

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TITLE = "Sum of the density against the tolerance"


def panel(axis: Axes, results: Sequence[Result]) -> None:
    """A trained flow in two dimensions: how far from one its density sums."""

    def miss(result: Result) -> float:
        return abs(result.metric("density/integral") - 1)

    draw(axis, evaluations(results, tolerance, miss, "density/integral"))
    axis.set(xlabel="tolerance", ylabel="|sum of the density - 1|", xscale="log", yscale="log")


PANELS = (panel,)
