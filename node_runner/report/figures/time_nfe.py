"""Chen et al. 2018, figure 3b."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..curves import draw, evaluations
from ..results import Result

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TITLE = "Time against evaluations"


def panel(axis: Axes, results: Sequence[Result]) -> None:
    """A trained net, solved at several tolerances; the axes begin at zero."""
    nfe, time = "solve/nfe_forward", "solve/forward_ms"
    draw(axis, evaluations(results, lambda r: r.metric(nfe), lambda r: r.metric(time), time))
    axis.set(xlabel="NFE forward", ylabel="ms of a solve")
    axis.set_xlim(left=0)
    axis.set_ylim(bottom=0)


PANELS = (panel,)
