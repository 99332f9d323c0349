"""Schema of result.json."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, fields
from math import nan
from pathlib import Path
from typing import Any, TypedDict, get_type_hints, is_typeddict

from ..disk import read_json, write_json
from ..errors import UserError
from .annotations import conforms

__all__ = ["FILE", "IncompleteRecord", "RunRecord"]

FILE = "result.json"
Number = float | None


class Headline(TypedDict):
    """Main metric of a task, its unit, and the factor from its value to that unit."""

    metric: str
    unit: str
    factor: float


class DataSummary(TypedDict):
    """Data set, the part of it that was used, and its sizes by split."""

    name: str
    part: str
    sizes: dict[str, int]


class Nfe(TypedDict):
    """Mean numbers of function evaluations of a solve."""

    forward: Number
    backward: Number
    evaluation: Number


class Memory(TypedDict):
    """Memory of a training step, in MiB."""

    peak_mib: Number
    saved_mib: Number


@dataclass(frozen=True)
class RunRecord:
    """Result of a run: the content of its result.json.

    Attributes:
        state: "done", "stopped", "diverged" or "failed".
        message: Reason of the state, if there is one.
        mode: "train", "evaluate" or "sample".
        task, cell, seed: As configured.
        run: Run or checkpoint that an evaluation evaluated.
        typed: Overrides that it was started with.
        options: All values of the configuration that make the run what it is, by dotted key.
        headline: Main metric.
        metrics: "mean" of each metric, with "standard_error" and "n" where it is over samples.
        protocol: Resolved solver, estimator and optimizer, and the weights that were tested.
        data: Data set; with ``scaling`` or state where these belong to the run.
        parameters: Number of parameters.
        nfe, memory: Means over training and evaluation.
        steps, epochs: Length of training so far.
        wall_seconds: Seconds of training so far.
        device, versions, revision: Where and with what it ran.
        training: Means of the curves of training.
        world_size, global_batch: Number of processes and samples of a step.
        exit_code: Exit code of a job that failed.

    Fields with a default may be absent in the file of an earlier version.
    """

    state: str
    message: str | None
    mode: str
    task: str
    cell: str | None
    seed: int
    run: str | None
    typed: list[str]
    options: dict[str, Any]
    headline: Headline
    metrics: dict[str, Any]
    protocol: dict[str, Any]
    data: DataSummary
    parameters: int
    nfe: Nfe
    memory: Memory
    steps: int
    epochs: float
    wall_seconds: float
    device: str
    versions: dict[str, str]
    revision: str | None
    training: dict[str, float] | None = None
    world_size: int = 1
    global_batch: int | None = None
    exit_code: int | None = None

    def write(self, folder: Path) -> None:
        """Write result.json, whole or not at all.

        Raises:
            OSError: If there is no room for it or no right to write it.
        """
        content = asdict(self)
        if self.exit_code is None:
            del content["exit_code"]
        write_json(folder / FILE, content)

    @classmethod
    def read(cls, file: Path) -> RunRecord:
        """Return the record in a file.

        Raises:
            IncompleteRecord: If the run failed before it had figures.
            UserError: If the file cannot be read, or is not a record of this version.
        """
        content = _content(file)
        absent = [f.name for f in fields(cls) if f.default is MISSING and f.name not in content]
        if absent and content.get("state") == "failed":
            message, mode = str(content.get("message")), str(content.get("mode"))
            raise IncompleteRecord(file.parent, message, mode)
        if absent:
            raise UserError(
                f"{file} lacks {', '.join(absent)}: another version of node_runner wrote it",
                suggestion="run it again, or leave it out",
            )
        hints = get_type_hints(cls)
        values = {name: content[name] for name in hints if name in content}
        wrong = [f for name, value in values.items() for f in _faults(name, value, hints[name])]
        if "metrics" not in wrong:
            for name, metric in values["metrics"].items():
                mean = metric.get("mean") if isinstance(metric, Mapping) else None
                wrong += [] if conforms(mean, float) else [f"metrics.{name}"]
        if wrong:
            raise UserError(f"{file} is damaged or of another version in {', '.join(wrong)}")
        return cls(**values)


class IncompleteRecord(Exception):
    """The record of a run that failed before it had figures.

    Attributes:
        folder: Folder of the run.
        message: Reason of the failure.
        mode: Mode of the run, if it is known.
    """

    def __init__(self, folder: Path, message: str, mode: str = "") -> None:
        super().__init__(message)
        self.folder, self.message, self.mode = folder, message, mode


def _faults(name: str, value: object, hint: Any) -> list[str]:
    """Return the fields, also nested ones, whose values are not of their type."""
    if not is_typeddict(hint) or not isinstance(value, Mapping):
        return [] if conforms(value, hint) else [name]
    hints, absent = get_type_hints(hint), object()
    entries = [(key, value.get(key, absent)) for key in hint.__required_keys__]
    return sorted(f for key, v in entries for f in _faults(f"{name}.{key}", v, hints[key]))


def _content(file: Path) -> dict[str, Any]:
    """Return the mapping in a file of JSON."""
    try:
        content = _printable(read_json(file))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{file} cannot be read: {error}") from error
    if not isinstance(content, dict):
        raise UserError(f"{file} holds no result of a run")
    metrics = content.get("metrics")
    for metric in metrics.values() if isinstance(metrics, dict) else ():
        if isinstance(metric, dict) and metric.get("mean", nan) is None:
            metric["mean"] = nan  # JSON cannot hold NaN, and earlier versions wrote null
    return content


def _printable(content: Any) -> Any:
    """Return nested values without the characters that a terminal would obey."""
    if isinstance(content, dict):
        return {_printable(k): _printable(v) for k, v in content.items()}
    if isinstance(content, list):
        return [_printable(value) for value in content]
    if isinstance(content, str):
        return "".join(sign if sign.isprintable() or sign == "\n" else " " for sign in content)
    return content
