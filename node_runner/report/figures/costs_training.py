"""Finlay et al. 2020, the ablation: what a flow costs, and what keeps that low."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from .. import words
from ..curves import OF_TRAINING, NothingToDraw, draw, line
from ..results import Result

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TITLE = "Evaluations, Jacobian and kinetic energy over training"
COSTS = ("cost/jacobian", "cost/kinetic")
MEASURE = (
    "regularizer=rnode has both; regularizer.jacobian.weight=0 and regularizer.kinetic.weight=0 "
    "only measure them"
)


def panel(tag: str, ylabel: str, axis: Axes, results: Sequence[Result]) -> None:
    """A curve, of the tasks of which a run has a cost. A run has one colour in all panels, and is
    left out where it has no such curve. A regularizer of weight 0 is measured and changes nothing,
    so that runs without it can stand beside those with it.
    """
    trained = [result for result in results if result.mode == "train"]
    tasks = {result.task for result in trained if any(map(result.curve, COSTS))}
    runs = [result for result in trained if result.task in tasks]
    if not any(result.curve(tag) for result in runs):
        raise NothingToDraw(f"no run has {tag} in its metrics.jsonl: {MEASURE}")
    labels = words.labels(runs, OF_TRAINING)
    lines = [line(label, run.curve(tag)) for label, run in zip(labels, runs, strict=True)]
    draw(axis, lines, marker="")
    for drawn in list(axis.lines):
        if not len(drawn.get_xdata()):
            drawn.remove()
    if axis.get_legend():
        axis.legend(fontsize=7)
    axis.set(xlabel="step", ylabel=ylabel)


def of(tag: str, ylabel: str) -> Callable[[Axes, Sequence[Result]], None]:
    return partial(panel, tag, ylabel)


PANELS = (
    of("nfe/forward", "NFE forward"),
    of("cost/jacobian", "mean squared norm of the Jacobian"),
    of("cost/kinetic", "kinetic energy"),
)
