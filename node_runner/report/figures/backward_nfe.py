"""Chen et al. 2018, figure 3c."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..curves import draw, evaluations
from ..results import Result

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TITLE = "Backward against forward evaluations"


def panel(axis: Axes, results: Sequence[Result]) -> None:
    """A trained net, solved and differentiated at several tolerances; the paper finds a half."""
    forward, backward = "solve/nfe_forward", "solve/nfe_backward"
    lines = evaluations(
        results, lambda r: r.metric(forward), lambda r: r.metric(backward), backward
    )
    draw(axis, lines)
    widest = max(x for line in lines for x in line.x)
    highest = max(y for line in lines for y in line.y)
    for slope, name in ((1.0, "as many"), (0.5, "half as many")):
        axis.axline((0, 0), slope=slope, color="gray", linewidth=0.8, linestyle=":")
        x = min(widest, highest / slope)
        axis.annotate(name, (x, slope * x), color="gray", fontsize=7, ha="right", va="bottom")
    axis.set(xlabel="NFE forward", ylabel="NFE backward")
    axis.set_xlim(left=0)
    axis.set_ylim(bottom=0)


PANELS = (panel,)
