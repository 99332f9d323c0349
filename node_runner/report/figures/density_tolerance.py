"""Grathwohl et al. 2018, figure 8: by how much the integral of a density differs from one."""

from ..curves import evaluation_panel, tolerance
from ..results import Result

TITLE = "Integral of the density against the tolerance"


def _error(result: Result) -> float:
    return abs(result.metric("density/integral") - 1)


panel = evaluation_panel(
    tolerance,
    _error,
    "density/integral",
    xlabel="tolerance",
    ylabel="|integral of p - 1|",
    xscale="log",
    yscale="log",
)
PANELS = (panel,)
