"""The figure of a test against the tolerance that it is solved at."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..curves import draw, evaluations, tolerance
from ..results import Result

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TITLE = "Test metric against the tolerance of its evaluation"


def panel(axis: Axes, results: Sequence[Result]) -> None:
    """A trained net, tested at several tolerances: where its likelihood, or its error, stops
    depending on the solver.
    """

    def metric(result: Result) -> float:
        headline = result.headline
        return headline["factor"] * result.metric(f"test/{headline['metric']}")

    draw(axis, evaluations(results, tolerance, metric, "test metric"))
    units = {f"{r.headline['metric']}, {r.headline['unit']}" for r in results}
    axis.set(xlabel="tolerance", ylabel="; ".join(sorted(units)), xscale="log")


PANELS = (panel,)
