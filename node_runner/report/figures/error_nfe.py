"""Chen et al. 2018, figure 3a."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..curves import draw_curves, evaluation_curves
from ..results import Result

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TITLE = "Numerical error against function evaluations"


def panel(axis: Axes, results: Sequence[Result]) -> None:
    """Draw the error of trained nets, solved at several tolerances."""
    nfe, error = "solve/nfe_forward", "solve/error"
    curves = evaluation_curves(results, lambda r: r.metric(nfe), lambda r: r.metric(error), error)
    draw_curves(axis, curves)
    axis.set(xlabel="NFE forward", ylabel="relative error |y - y*| / |y*|", yscale="log")


PANELS = (panel,)
