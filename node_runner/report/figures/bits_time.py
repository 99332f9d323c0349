"""Finlay et al. 2020: what is learned against the hours it takes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from numpy import interp

from ..curves import NothingToDraw, draw, of_training
from ..results import Result
from ..words import unit_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TITLE = "Validation against time of training"


def panel(axis: Axes, results: Sequence[Result]) -> None:
    """Time without pauses; bits/dim where runs have them, else the headline metric. Runs of the
    first task and data alone, since others' nats are not comparable.
    """
    trained = [result for result in results if result.mode == "train"]
    if not trained:
        raise NothingToDraw("no run has been trained")
    bits = "validation/bits_per_dim"
    first = next((result for result in trained if result.curve(bits)), trained[0])
    tag = bits if first.curve(bits) else f"validation/{first.headline['metric']}"

    def points(result: Result) -> list[tuple[float, ...]]:
        times = result.curve("time/trained_s")
        if not times or kind(result) != kind(first):
            return []
        steps, seconds = zip(*times, strict=True)
        return [(interp(step, steps, seconds), value) for step, value in result.curve(tag)]

    lines = of_training(trained, points, tag)
    unit, length = unit_of(max(x for line in lines for x in line.x))
    draw(axis, [line._replace(x=[x / length for x in line.x]) for line in lines], marker="")
    axis.set(xlabel=unit, ylabel=f"{tag}, {' on '.join(kind(first))}")


def kind(result: Result) -> tuple[str, str]:
    return result.task, result.data["name"]


PANELS = (panel,)
