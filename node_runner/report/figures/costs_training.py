"""Finlay et al. 2020, the ablation: cost of a flow over training, with and without regularizers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from ..curves import NothingToDraw, draw_curves, training_curves
from ..results import Result

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TITLE = "Function evaluations, Jacobian and kinetic energy over training"
COSTS = ("cost/jacobian", "cost/kinetic")
MEASURE = (
    "regularizer=rnode has both; regularizer.jacobian.weight=0 and regularizer.kinetic.weight=0 "
    "only measure them"
)


def split(results: Sequence[Result]) -> list[list[Result]]:
    """Split the trained runs by task and data set, of those in which a run has a cost."""
    kinds: dict[tuple[str, str], list[Result]] = {}
    for result in results:
        if result.mode == "train":
            kinds.setdefault((result.task, result.data["name"]), []).append(result)
    parts = [runs for runs in kinds.values() if any(run.curve(c) for run in runs for c in COSTS)]
    return parts or [[]]


def panel(tag: str, ylabel: str, axis: Axes, results: Sequence[Result]) -> None:
    """Draw one cost. A run has one colour in all panels, and is left out where it has no curve. A
    regularizer of weight 0 only measures, so that runs without it can be compared.
    """
    if not any(result.curve(tag) for result in results):
        raise NothingToDraw(f"no run has {tag} in its metrics.jsonl: {MEASURE}")

    def points(result: Result) -> list[tuple[float, ...]]:
        return [(step, step, value) for step, value in result.curve(tag)]

    draw_curves(axis, training_curves(results, points, tag, keep_empty=True), marker="")
    axis.set(xlabel="training step", ylabel=ylabel)


def _panel(tag: str, ylabel: str) -> Callable[..., None]:
    return partial(panel, tag, ylabel)


PANELS = (
    _panel("nfe/forward", "NFE forward"),
    _panel("cost/jacobian", "mean squared norm of the Jacobian"),
    _panel("cost/kinetic", "kinetic energy"),
)
