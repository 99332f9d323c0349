"""Chen et al. 2018, figure 3b."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..curves import draw_curves, evaluation_curves
from ..results import Result

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TITLE = "Time against function evaluations"


def panel(axis: Axes, results: Sequence[Result]) -> None:
    """Draw the time of a solve of trained nets at several tolerances; the axes start at zero."""
    nfe, time = "solve/nfe_forward", "solve/forward_ms"
    curves = evaluation_curves(results, lambda r: r.metric(nfe), lambda r: r.metric(time), time)
    draw_curves(axis, curves)
    axis.set(xlabel="NFE forward", ylabel="time per solve (ms)")
    axis.set_xlim(left=0)
    axis.set_ylim(bottom=0)


PANELS = (panel,)
