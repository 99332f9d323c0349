"""Finlay et al. 2020: validation metric against training time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from numpy import interp

from ..curves import draw_curves, split_by, training_curves
from ..formatting import time_unit, with_unit
from ..results import Result
from ..table_rows import main_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TITLE = "Validation against training time"
BITS = "validation/bits_per_dim"


def split(results: Sequence[Result]) -> list[list[Result]]:
    """Split trained runs by metric, task and data set: values of others are not comparable."""
    trained = [result for result in results if result.mode == "train" and _points(result)]
    return split_by(trained, lambda r: (_tag(r), r.task, r.data["name"]))


def panel(axis: Axes, results: Sequence[Result]) -> None:
    """Draw bits/dim, or else the task's main metric, against time without pauses."""
    curves = training_curves(results, _points, "validation/ and time/trained_s")
    unit, length = time_unit(max(x for curve in curves for x in curve.x))
    draw_curves(axis, [curve._replace(x=[x / length for x in curve.x]) for curve in curves])
    first, tag = results[0], _tag(results[0])
    name = f"{tag.replace('/', ' ')} on {first.data['name']}"
    axis.set(xlabel=f"training time ({unit})", ylabel=with_unit(name, _unit(first, tag)[0]))


def _points(result: Result) -> list[tuple[float, ...]]:
    """Return step, seconds of training and metric, where both were recorded."""
    times, tag = result.curve("time/trained_s"), _tag(result)
    if not times:
        return []
    steps, seconds = zip(*times, strict=True)
    factor = _unit(result, tag)[1]
    return [(step, interp(step, steps, seconds), factor * y) for step, y in result.curve(tag)]


def _tag(result: Result) -> str:
    return BITS if result.curve(BITS) else f"validation/{result.headline['metric']}"


def _unit(result: Result, tag: str) -> tuple[str, float]:
    if tag == BITS:
        return "bits/dim", 1.0
    _, factor, unit = main_figure(result)
    return unit, factor


PANELS = (panel,)
