"""Grathwohl et al. 2018, figure 8."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..curves import draw_curves, evaluation_curves, tolerance
from ..results import Result

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TITLE = "Integral of the density against the tolerance"


def panel(axis: Axes, results: Sequence[Result]) -> None:
    """Draw by how much the integral of a two-dimensional flow's density differs from one."""

    def error(result: Result) -> float:
        return abs(result.metric("density/integral") - 1)

    draw_curves(axis, evaluation_curves(results, tolerance, error, "density/integral"))
    axis.set(xlabel="tolerance", ylabel="|integral of p - 1|", xscale="log", yscale="log")


PANELS = (panel,)
