"""Finlay et al. 2020: what is learned against the hours it takes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from numpy import interp

from ..curves import draw, of_training
from ..results import Result
from ..words import unit_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TITLE = "Validation against time of training"


def panel(axis: Axes, results: Sequence[Result]) -> None:
    """Time without pauses; bits/dim where a task has them, else its headline metric. Of one task
    and data set, that with the most points: the nats of others are not comparable.
    """
    found: dict[str, int] = {}
    for result in results:
        if result.mode == "train":
            found[kind(result)] = found.get(kind(result), 0) + len(points(result))
    chosen = max(found, key=found.get, default="")
    lines = of_training(results, lambda r: points(r) if kind(r) == chosen else [], "validation/")
    unit, length = unit_of(max(x for line in lines for x in line.x))
    draw(axis, [line._replace(x=[x / length for x in line.x]) for line in lines])
    axis.set(xlabel=unit, ylabel=chosen)


def points(result: Result) -> list[tuple[float, ...]]:
    """Seconds of training and validation, where both were recorded."""
    times = result.curve("time/trained_s")
    if not times:
        return []
    steps, seconds = zip(*times, strict=True)
    return [(interp(step, steps, seconds), value) for step, value in result.curve(tag(result))]


def tag(result: Result) -> str:
    bits = "validation/bits_per_dim"
    return bits if result.curve(bits) else f"validation/{result.headline['metric']}"


def kind(result: Result) -> str:
    return f"{tag(result)}, {result.task} on {result.data['name']}"


PANELS = (panel,)
