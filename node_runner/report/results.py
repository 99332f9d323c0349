"""result.json files: found, read, and put together over seeds."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, fields
from math import nan, sqrt
from pathlib import Path
from typing import Any

from ..schema import UserError

Complain = Callable[[str], None]


@dataclass(frozen=True)
class Result:
    """One run: the content of its result.json, as ``node_runner.result`` writes it.

    Attributes:
        folder: of the run.
        typed: the overrides that it was started with.
        options: its whole configuration but for where and how long a call may run.
        run: what an evaluation evaluated.
    """

    folder: Path
    state: str
    message: str | None
    mode: str
    task: str
    cell: str | None
    seed: int
    run: str | None
    typed: list[str]
    options: dict[str, Any]
    headline: dict[str, Any]
    metrics: dict[str, dict[str, float]]
    training: dict[str, float]
    protocol: dict[str, Any]
    data: dict[str, Any]
    parameters: int
    nfe: dict[str, float | None]
    memory: dict[str, float | None]
    steps: int
    epochs: float
    wall_seconds: float
    device: str
    versions: dict[str, str]
    revision: str | None

    def metric(self, name: str) -> float:
        """The mean of a metric; NaN where there is none."""
        return self.metrics.get(name, {}).get("mean", nan)

    def curve(self, *tags: str) -> list[tuple[float, ...]]:
        """The points (step, value of each tag) of metrics.jsonl that have all of these tags."""
        path, points = self.folder / "metrics.jsonl", []
        for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
            with suppress(ValueError):  # a run that was killed may have cut the last
                point = json.loads(line)
                if all(tag in point for tag in tags):
                    points.append((point["step"], *(point[tag] for tag in tags)))
        return points


FIELDS = [each.name for each in fields(Result) if each.name != "folder"]


@dataclass(frozen=True)
class Spread:
    """A metric over seeds.

    Attributes:
        sd: over n seeds, with n - 1 in its denominator; NaN for one.
        standard_error: of one seed's mean, over the samples that it was tested on.
    """

    mean: float
    sd: float
    n: int
    standard_error: float


@dataclass(frozen=True)
class Group:
    """Results that differ in their seed alone, in its order."""

    results: tuple[Result, ...]

    @property
    def first(self) -> Result:
        return self.results[0]

    def numbers(self, of: Callable[[Result], float | None]) -> list[float]:
        """A number of each result that has it."""
        return [value for value in map(of, self.results) if value is not None]

    def mean(self, of: Callable[[Result], float | None]) -> float:
        values = self.numbers(of)
        return sum(values) / len(values) if values else nan

    def spread(self, metric: str, factor: float = 1.0) -> Spread | None:
        """A metric in units of 1 / factor; None where no result has it."""
        found = [r.metrics[metric] for r in self.results if metric in r.metrics]
        if not found:
            return None
        values = [factor * each["mean"] for each in found]
        n, mean = len(values), sum(values) / len(values)
        sd = sqrt(sum((v - mean) ** 2 for v in values) / (n - 1)) if n > 1 else nan
        error = factor * found[0].get("standard_error", nan) if n == 1 else nan
        return Spread(mean, sd, n, error)


@dataclass(frozen=True)
class Unusable:
    """A run without figures, and why."""

    folder: Path
    state: str
    message: str


def find(paths: Iterable[str], complain: Complain) -> list[Path]:
    """The result.json files that are named or lie below the folders named, each once."""
    found: dict[Path, Path] = {}
    for path in map(Path, paths):
        files = [path] if path.is_file() else sorted(path.rglob("result.json"), key=by_number)
        if not path.exists():
            complain(f"{path}: there is no such file or folder")
        elif not files:
            complain(
                f"{path} holds no result.json; name a run's folder, a sweep's, or paths.out of "
                "node-run (outputs)"
            )
        for file in files:
            found.setdefault(file.resolve(), file)
    return list(found.values())


def by_number(file: Path) -> list[tuple[int, str]]:
    """Jobs of a sweep in their order: 2 before 10."""
    return [(int(part) if part.isdecimal() else -1, part) for part in file.parts]


def read(files: Iterable[Path], complain: Complain) -> tuple[list[Result], list[Unusable]]:
    """The results in files, and the runs that came to nothing."""
    results, unusable = [], []
    for file in files:
        try:
            content = parse(file)
            missing = [name for name in FIELDS if name not in content]
            if missing and content.get("state") == "failed":
                unusable.append(Unusable(file.parent, "failed", str(content.get("message"))))
            elif missing:
                raise UserError(
                    f"{file} lacks {', '.join(missing)}: another version of node_runner wrote it; "
                    f"node-run mode=evaluate run={file.parent} writes a new one"
                )
            else:
                results.append(Result(file.parent, **{name: content[name] for name in FIELDS}))
        except UserError as error:
            complain(str(error))
    return results, unusable


def parse(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{file} cannot be read: {error}") from error
    if not isinstance(content, dict):
        raise UserError(f"{file} holds no result of a run")
    return content


def groups(results: Iterable[Result], complain: Complain) -> list[Group]:
    """Results by all that they have in common but the seed. A seed counts once."""
    found: dict[str, dict[int, Result]] = {}
    for result in results:
        seeds = found.setdefault(key(result), {})
        other = seeds.setdefault(result.seed, result)
        if other is not result:
            complain(
                f"seed {result.seed} is there twice with one configuration, in {other.folder} and "
                f"in {result.folder}; the second is left out"
            )
    return [Group(tuple(seeds[seed] for seed in sorted(seeds))) for seeds in found.values()]


def key(result: Result) -> str:
    """What has to be equal for two results to be averaged."""
    options = {name: value for name, value in result.options.items() if name != "seed"}
    weights = Path(result.run).name if (result.run or "").endswith(".pt") else None
    alike = [result.mode, result.state, result.cell, result.task, result.data, result.parameters]
    return json.dumps([*alike, options, weights], sort_keys=True)


def left_running(paths: Iterable[str]) -> Iterator[Unusable]:
    """Runs that have begun and have no result yet."""
    for path in map(Path, paths):
        for file in sorted(path.rglob("command.yaml"), key=by_number) if path.is_dir() else ():
            if not (file.parent / "result.json").exists():
                yield Unusable(file.parent, "unfinished", "no result yet: running, or killed")
