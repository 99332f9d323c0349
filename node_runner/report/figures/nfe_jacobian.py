"""Finlay et al. 2020: function evaluations rise with the norm of the Jacobian."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..curves import draw_curves, training_curves
from ..results import Result

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TITLE = "Function evaluations against the Jacobian's norm, over training"
NEED = "cost/jacobian (regularizer=jacobian regularizer.jacobian.weight=0 only measures it)"


def panel(axis: Axes, results: Sequence[Result]) -> None:
    """Draw a point for each point of the log."""
    curves = training_curves(results, lambda r: r.curve("cost/jacobian", "nfe/forward"), NEED)
    draw_curves(axis, curves, joined=False)
    axis.set(xlabel="mean squared Frobenius norm along the path", ylabel="NFE forward")


PANELS = (panel,)
