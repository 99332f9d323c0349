"""Lines for figures: evaluations of one net at several tolerances, and curves of training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import isfinite, nan
from textwrap import fill
from typing import TYPE_CHECKING, NamedTuple

from ..runs.config import has_prefix
from . import words
from .results import Result

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FEW, WIDE = 8, 60  # lines that one legend can tell apart, and characters of one entry
OF_TRAINING = tuple(name for name in words.ASIDE if name != "seed")
EVALUATED = ("mode", "eval_tol", "eval_solver")
OF_EVALUATION = (*OF_TRAINING, *EVALUATED)


class NothingToDraw(ValueError):
    """No result has what a figure shows: says which results would have."""


class Line(NamedTuple):
    """Points in order, and what they are of."""

    label: str
    x: list[float]
    y: list[float]


def evaluations(
    results: Sequence[Result], x: Callable[[Result], float], y: Callable[[Result], float], need: str
) -> list[Line]:
    """A line through the evaluations of one run that differ in their tolerance alone, by x.

    Raises:
        NothingToDraw: naming ``need``, if there are none with both.
    """
    found: dict[tuple[str, str, str], list[Result]] = {}
    for result in results:
        solver = result.protocol.get("eval_solver")
        if result.mode == "evaluate" and solver and isfinite(x(result)) and isfinite(y(result)):
            same = (str(result.run), solver["method"], str(net_of(result)))
            found.setdefault(same, []).append(result)
    if not found:
        raise NothingToDraw(
            f"no evaluation has {need}: node-run -m mode=evaluate run=FOLDER "
            "eval_tol=1e-1,1e-2,1e-3,1e-4 makes some"
        )
    typed = words.labels([of_net[0] for of_net in found.values()], OF_EVALUATION)
    labels = [f"{label}, {method}" for label, (_, method, _) in zip(typed, found, strict=True)]
    if len(set(labels)) < len(labels):  # nothing typed tells these runs apart
        labels = [f"{run}, {method}" for run, method, _ in found]
    points = [sorted((x(result), y(result)) for result in of_net) for of_net in found.values()]
    return list(map(line, labels, points))


def tolerance(result: Result) -> float:
    """Of an evaluation; NaN where steps are fixed, or where it has several."""
    solver = result.protocol["eval_solver"]
    one = solver.get("step_size") is None and not isinstance(solver["rtol"], list)
    return solver["rtol"] if one else nan


def net_of(result: Result) -> dict[str, object]:
    """The configuration but for how it is evaluated: a run and its evaluations have one."""
    return {k: v for k, v in result.options.items() if not has_prefix(k, EVALUATED)}


def line(label: str, points: Sequence[tuple[float, ...]]) -> Line:
    """Through points (x, y)."""
    return Line(label, [x for x, _ in points], [y for _, y in points])


def of_training(
    results: Sequence[Result], points_of: Callable[[Result], Sequence[tuple[float, ...]]], need: str
) -> list[Line]:
    """A line through the points (x, y) of each trained run that has any.

    Raises:
        NothingToDraw: naming ``need``, if none has.
    """
    trained = [(result, points_of(result)) for result in results if result.mode == "train"]
    found = [(result, points) for result, points in trained if points]
    if not found:
        raise NothingToDraw(f"no run has {need} in the metrics.jsonl beside its result.json")
    labels = words.labels([result for result, _ in found], OF_TRAINING)
    return [line(label, points) for label, (_, points) in zip(labels, found, strict=True)]


def draw(axis: Axes, lines: Sequence[Line], marker: str = "o") -> None:
    """All lines, with a legend where it can be read."""
    for label, x, y in lines:
        axis.plot(x, y, marker=marker, markersize=4, linewidth=1.2, label=fill(label, WIDE))
    if len(lines) <= FEW:
        axis.legend(fontsize=7)
    else:
        axis.set_title(f"{len(lines)} runs", fontsize=8)
