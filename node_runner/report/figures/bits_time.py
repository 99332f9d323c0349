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
    """Bits/dim where runs have them, else the first one's headline metric; time without pauses."""
    bits = "validation/bits_per_dim"
    tag = bits
    if not any(result.curve(bits) for result in results):
        tag = f"validation/{results[0].headline['metric']}"

    def points(result: Result) -> list[tuple[float, ...]]:
        steps, seconds = zip(*result.curve("time/trained_s") or [(0, 0.0)], strict=True)
        return [(interp(step, steps, seconds), value) for step, value in result.curve(tag)]

    lines = of_training(results, points, tag)
    unit, length = unit_of(max(x for line in lines for x in line.x))
    draw(axis, [line._replace(x=[x / length for x in line.x]) for line in lines], marker="")
    axis.set(xlabel=unit, ylabel=tag)


PANELS = (panel,)
