"""Chen et al. 2018, figure 3a."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..curves import draw, evaluations
from ..results import Result

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TITLE = "Numerical error against evaluations"


def panel(axis: Axes, results: Sequence[Result]) -> None:
    """A trained net, solved at several tolerances."""
    nfe, error = "solve/nfe_forward", "solve/error"
    draw(axis, evaluations(results, lambda r: r.metric(nfe), lambda r: r.metric(error), error))
    axis.set(xlabel="NFE forward", ylabel="|y - y*| / |y*|", yscale="log")


PANELS = (panel,)
