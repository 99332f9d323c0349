"""Results of runs, and groups of results over seeds."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from math import nan
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from ..disk import from_json, open_regular
from ..runs.record import RunRecord

Complain = Callable[[str], None]


@dataclass(frozen=True)
class Result(RunRecord):
    """Record of a run in its folder, with its curves.

    Attributes:
        folder: Folder of the run.
    """

    folder: Path = Path()

    @classmethod
    def read(cls, file: Path) -> Result:
        """Return the record in a file; errors are those of ``RunRecord.read``."""
        return replace(super().read(file), folder=file.parent)

    def metric(self, name: str) -> float:
        """Return the mean of a metric, nan if there is none."""
        return self.metrics.get(name, {}).get("mean", nan)

    def curve(self, *tags: str) -> list[tuple[float, ...]]:
        """Return the points (step, value of each tag) of metrics.jsonl that have all the tags."""
        wanted = ("step", *tags)
        return [
            tuple(nan if point[tag] is None else point[tag] for tag in wanted)
            for point in self.lines
            if isinstance(point, dict) and point.keys() >= set(wanted)
        ]

    @cached_property
    def lines(self) -> list[Any]:
        """The content of metrics.jsonl, read once."""
        found = []
        try:
            with open_regular(self.folder / "metrics.jsonl") as file:
                content = file.read()
        except OSError:
            return []
        for line in content.splitlines():
            with suppress(ValueError):  # a run that was killed may have cut the last
                found.append(from_json(line))
        return found


@dataclass(frozen=True)
class Spread:
    """A metric over seeds.

    Attributes:
        sd: Over n seeds, with n - 1 in its denominator; nan for one.
        standard_error: Of the mean of one seed, over the test samples.

    >>> Spread(0.42, 0.02, 3, nan).n
    3
    """

    mean: float
    sd: float
    n: int
    standard_error: float


@dataclass(frozen=True)
class Group:
    """Results that differ in their seed alone, in the order of seeds."""

    results: tuple[Result, ...]

    @property
    def first(self) -> Result:
        return self.results[0]

    def mean(self, of: Callable[[Result], float | None]) -> float:
        """Return the mean of a number over the results that have it, nan if none has."""
        values = [value for value in map(of, self.results) if value is not None]
        return mean(values) if values else nan

    def spread(self, metric: str, factor: float = 1.0) -> Spread | None:
        """Return the spread of a metric times ``factor``; None if no result has the metric."""
        measured = [r.metrics[metric] for r in self.results if metric in r.metrics]
        if not measured:
            return None
        values = [factor * value["mean"] for value in measured]
        n = len(values)
        error = factor * measured[0].get("standard_error", nan) if n == 1 else nan
        return Spread(mean(values), stdev(values) if n > 1 else nan, n, error)


def groups(results: Iterable[Result], complain: Complain) -> list[Group]:
    """Group results that differ in their seed alone. A seed counts once."""
    alike: dict[str, dict[int, Result]] = {}
    for result in results:
        seeds = alike.setdefault(key(result), {})
        other = seeds.setdefault(result.seed, result)
        if other is not result:
            complain(
                f"seed {result.seed} was run twice with one configuration, in {other.folder} and "
                f"in {result.folder}: the second is left out"
            )
    together = [tuple(seeds[seed] for seed in sorted(seeds)) for seeds in alike.values()]
    return [Group(part) for whole in together for part in _split_repeated_nets(whole)]


def _split_repeated_nets(results: tuple[Result, ...]) -> list[tuple[Result, ...]]:
    """Split evaluations of the same net with several seeds, which are not several seeds of it."""
    nets = {result.run for result in results}
    if results[0].mode == "evaluate" and len(nets) < len(results):
        return [(result,) for result in results]
    return [results]


def key(result: Result) -> str:
    """Return all that two results must have in common to be averaged."""
    options = {name: value for name, value in result.options.items() if name != "seed"}
    alike = [result.mode, result.state, result.cell, result.task, result.data, result.parameters]
    if result.mode == "evaluate":  # it is done, however long the net that it tests was trained
        alike += [result.epochs, Path(result.run or "").suffix]
    return json.dumps([*alike, options], sort_keys=True)
