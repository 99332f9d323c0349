"""Curves for figures, over tolerances or training: means and ranges over seeds."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from math import isfinite, nan
from pathlib import Path
from statistics import mean
from textwrap import fill
from typing import TYPE_CHECKING, Any, NamedTuple

from ..runs.config import has_prefix
from .formatting import IRRELEVANT, labels
from .results import Result, key

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MAX_LEGEND, LABEL_WIDTH = 8, 60  # curves that one legend can tell apart; characters per line
OF_TRAINING = tuple(name for name in IRRELEVANT if name != "seed")
EVALUATED = ("mode", "eval_tol", "eval_solver")
ACCURACY = ("rtol", "atol", "step_size")

Number = Callable[[Result], float]
Panel = Callable[["Axes", Sequence[Result]], None]


class NothingToDraw(ValueError):
    """No result has what a figure shows: says which results would have."""


class _Run(NamedTuple):
    """A run with its points (x, y) by training step, or by tolerance of its evaluations."""

    result: Result
    points: dict[Any, tuple[float, float]]


class Curve(NamedTuple):
    """Means over seeds in the order of x, and the range of y over them.

    >>> Curve("rk4", [1.0, 2.0], [0.1, 0.2], [0.1, 0.1], [0.1, 0.3], 2).seeds
    2
    """

    label: str
    x: list[float]
    y: list[float]
    low: list[float]
    high: list[float]
    seeds: int


def evaluation_curves(results: Sequence[Result], x: Number, y: Number, need: str) -> list[Curve]:
    """Return a curve for each net, or for nets that differ in their seed alone, through
    evaluations that differ in their tolerance alone.

    Args:
        need: What an evaluation must have, for the message.

    Raises:
        NothingToDraw: if no evaluation has both x and y.
    """
    alike: dict[str, dict[tuple[str, int], _Run]] = {}
    for result in results:
        solver = result.protocol.get("eval_solver")
        if result.mode == "evaluate" and solver and isfinite(x(result)) and isfinite(y(result)):
            nets = alike.setdefault(_alike(result), {})
            net = nets.setdefault((str(result.run), result.seed), _Run(result, {}))
            at = str([solver.get(name) for name in ACCURACY])
            net.points.setdefault(at, (x(result), y(result)))
    if not alike:
        raise NothingToDraw(
            f"no evaluation has {need}: node-run -m mode=evaluate run=FOLDER "
            "eval_tol=1e-1,1e-2,1e-3,1e-4 makes some"
        )
    groups = [group for nets in alike.values() for group in _seeds(nets.values())]
    firsts = [group[0].result for group in groups]
    methods = [first.protocol["eval_solver"]["method"] for first in firsts]
    names = labels(firsts, (*IRRELEVANT, *EVALUATED))
    named = [f"{name}, {method}" for name, method in zip(names, methods, strict=True)]
    if len(set(named)) < len(named):  # the typed options do not tell these nets apart
        named = [f"{first.run}, {method}" for first, method in zip(firsts, methods, strict=True)]
    return [_curve(name, group, by_x=True) for name, group in zip(named, groups, strict=True)]


def training_curves(
    results: Sequence[Result],
    points: Callable[[Result], Sequence[tuple[float, ...]]],
    need: str,
    keep_empty: bool = False,
) -> list[Curve]:
    """Return a curve for each trained configuration that has points, mean and range over its seeds.

    Args:
        points: Result to its points (step, x, y).
        need: What a run must have, for the message.
        keep_empty: Whether to return curves without points for those that have none.

    Raises:
        NothingToDraw: if no run has points.
    """
    alike: dict[str, list[_Run]] = {}
    for result in results:
        if result.mode == "train":
            at = {step: (x, y) for step, x, y in points(result)}
            if at or keep_empty:
                alike.setdefault(key(result), []).append(_Run(result, at))
    groups = [group for runs in alike.values() for group in _seeds(runs)]
    if not any(run.points for group in groups for run in group):
        raise NothingToDraw(f"no run has {need} in the metrics.jsonl of its folder")
    firsts = [group[0].result for group in groups]
    names = labels(firsts)
    if len(set(names)) < len(names):  # repeated runs of one seed, or seeds without a common step
        names = labels(firsts, OF_TRAINING)
    return [_curve(name, group) for name, group in zip(names, groups, strict=True)]


def draw_curves(
    axis: Axes, curves: Sequence[Curve], marker: str = "o", joined: bool = True
) -> None:
    """Draw curves, each with a band from the least to the largest over its seeds, and a legend
    below the axes. The i-th curve has the i-th colour, whether or not the others have points.
    """
    for i, curve in enumerate(curves):
        if not curve.x:
            continue
        over = f" (mean of {curve.seeds} seeds, min to max)" if curve.seeds > 1 else ""
        style = {"color": f"C{i % 10}", "marker": marker, "markersize": 4, "linewidth": 1.2}
        style |= {} if joined else {"linestyle": "", "alpha": 0.6}
        axis.plot(curve.x, curve.y, label=fill(curve.label + over, LABEL_WIDTH), **style)
        if curve.seeds > 1 and joined:
            band = {"color": style["color"], "alpha": 0.2, "linewidth": 0}
            axis.fill_between(curve.x, curve.low, curve.high, **band)
    count = sum(bool(curve.x) for curve in curves)
    if count <= MAX_LEGEND:
        add_legend_below(axis)
    else:
        axis.set_title(f"{count} runs", fontsize=8)


def split_by(results: Sequence[Result], kind: Callable[[Result], object]) -> list[list[Result]]:
    """Split results by a hashable kind, or return one empty part if there are none."""
    parts: dict[object, list[Result]] = {}
    for result in results:
        parts.setdefault(kind(result), []).append(result)
    return list(parts.values()) or [[]]


def evaluation_panel(x: str | Number, y: str | Number, need: str = "", **labels: Any) -> Panel:
    """Return a panel of ``evaluation_curves``.

    Args:
        x, y: Name of a metric, or a function of a result.
        need: What an evaluation must have (default: the metric y).
        labels: Passed on to ``axis.set``.
    """

    def panel(axis: Axes, results: Sequence[Result]) -> None:
        draw_curves(axis, evaluation_curves(results, _number(x), _number(y), need or str(y)))
        axis.set(**labels)

    return panel


def training_panel(tag: str, ylabel: str) -> Panel:
    """Return a panel of a tag of metrics.jsonl over training."""

    def panel(axis: Axes, results: Sequence[Result]) -> None:
        def points(result: Result) -> list[tuple[float, ...]]:
            return [(step, step, value) for step, value in result.curve(tag)]

        curves = training_curves(results, points, tag, keep_empty=True)
        draw_curves(axis, curves, marker="")
        axis.set(xlabel="training step", ylabel=ylabel)

    return panel


def _number(of: str | Number) -> Number:
    return (lambda result: result.metric(of)) if isinstance(of, str) else of


def add_legend_below(axis: Axes) -> None:
    """Add a legend below the axes, where it covers nothing."""
    place = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.16)}
    axis.legend(fontsize=7, frameon=False, **place)


def tolerance(result: Result) -> float:
    """Return the tolerance of an evaluation; nan for fixed steps, or if it has several."""
    solver = result.protocol["eval_solver"]
    one = solver.get("step_size") is None and not isinstance(solver["rtol"], list)
    return solver["rtol"] if one else nan


def net_options(result: Result) -> dict[str, Any]:
    """Return the options but those of evaluation: a run and its evaluations have the same."""
    return {k: v for k, v in result.options.items() if not has_prefix(k, EVALUATED)}


def _alike(result: Result) -> str:
    """Return all that evaluations on one curve have in common."""
    solver = result.protocol["eval_solver"]
    rtol, atol = solver.get("rtol"), solver.get("atol")
    if solver.get("step_size") is not None:
        kind: object = "fixed"
    else:
        numbers = isinstance(rtol, int | float) and isinstance(atol, int | float) and rtol
        kind = round(atol / rtol, 9) if numbers else [rtol, atol]
    parts = [{k: v for k, v in net_options(result).items() if k != "seed"}, kind]
    parts.append({k: v for k, v in solver.items() if k not in ACCURACY})
    parts += [result.task, result.data, result.parameters, result.epochs]
    return json.dumps([*parts, Path(result.run or "").suffix], sort_keys=True)


def _seeds(runs: Iterable[_Run]) -> list[list[_Run]]:
    """Group runs that are alike into seeds of one curve: of different seeds and, if evaluations, of
    different nets, with points in common.
    """
    groups: list[list[_Run]] = []
    for run in sorted(runs, key=lambda run: run.result.seed):

        def fits(group: list[_Run], run: _Run = run) -> bool:
            return all(
                run.result.seed != other.result.seed
                and (run.result.mode == "train" or run.result.run != other.result.run)
                and bool(run.points.keys() & other.points.keys() or run.points == other.points)
                for other in group
            )

        group = next(filter(fits, groups), None)
        if group is None:
            groups.append([run])
        else:
            group.append(run)
    return groups


def _curve(label: str, seeds: Sequence[_Run], by_x: bool = False) -> Curve:
    """Average over seeds at the points that all have."""
    shared = [at for at in seeds[0].points if all(at in run.points for run in seeds)]
    rows = []
    for at in shared:
        xs, ys = zip(*(run.points[at] for run in seeds), strict=True)
        rows.append((mean(xs), mean(ys), min(ys), max(ys)))
    columns = zip(*(sorted(rows) if by_x else rows), strict=True) if rows else ([], [], [], [])
    return Curve(label, *map(list, columns), len(seeds))
