"""Main metric of the test against the tolerance of its solves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..curves import draw_curves, evaluation_curves, split_by, tolerance
from ..formatting import with_unit
from ..results import Result
from ..table_rows import main_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TITLE = "Test metric against the tolerance of its evaluation"


def split(results: Sequence[Result]) -> list[list[Result]]:
    """Split evaluations by data set, metric and unit, which no axis may mix."""
    tested = [r for r in results if r.mode == "evaluate" and main_figure(r)[0] in r.metrics]
    return split_by(tested, lambda r: (r.data["name"], main_figure(r)))


def panel(axis: Axes, results: Sequence[Result]) -> None:
    """Draw the metric of trained nets, tested at several tolerances."""

    def value(result: Result) -> float:
        metric, factor, _ = main_figure(result)
        return factor * result.metric(metric)

    draw_curves(axis, evaluation_curves(results, tolerance, value, "a main test metric"))
    metric, _, unit = main_figure(results[0])
    name = f"{metric.removeprefix('test/')} on {results[0].data['name']}"
    axis.set(xlabel="tolerance", ylabel=with_unit(name, unit), xscale="log")


PANELS = (panel,)
