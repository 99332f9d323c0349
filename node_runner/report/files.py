"""Find, read and check result.json files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import nan
from pathlib import Path
from typing import Any, get_type_hints

from ..annotation import conforms
from ..disk import read_json
from ..schema import UserError
from .results import Complain, Result

FIELDS = {name: hint for name, hint in get_type_hints(Result).items() if name != "folder"}
NUMBER = float | None
NESTED = {
    "headline": {"metric": str, "unit": str, "factor": float},
    "data": {"name": str, "part": str, "sizes": dict},
    "nfe": dict.fromkeys(("forward", "backward", "evaluation"), NUMBER),
    "memory": dict.fromkeys(("peak_mib", "saved_mib"), NUMBER),
}


@dataclass(frozen=True)
class Unusable:
    """A run without figures: its state and the reason."""

    folder: Path
    state: str
    message: str


def find_results(paths: Iterable[str], complain: Complain) -> list[Path]:
    """Return the result.json files named or below the folders named, without duplicates."""
    unique: dict[Path, Path] = {}
    for path in map(Path, paths):
        files = [path] if path.is_file() else sorted(path.rglob("result.json"), key=_by_number)
        if not path.exists():
            complain(f"{path}: there is no such file or folder")
        elif not files and not list(path.rglob("command.yaml")):
            complain(
                f"{path} holds no result.json; name a run's folder, a sweep's, or paths.out of "
                "node-run (outputs)"
            )
        for file in files:
            unique.setdefault(file.resolve(), file)
    return list(unique.values())


def _by_number(file: Path) -> list[tuple[int, str]]:
    """Order the jobs of a sweep by number: 2 before 10."""
    return [(int(part) if part.isdecimal() else -1, part) for part in file.parts]


def unfinished_runs(paths: Iterable[str]) -> Iterator[Unusable]:
    """Yield the runs that were started and have no result yet."""
    begun = {
        file.parent.resolve(): file.parent
        for path in paths
        for file in sorted(Path(path).rglob("command.yaml"), key=_by_number)
        if not (file.parent / "result.json").exists()
    }
    for folder in begun.values():
        yield Unusable(folder, "unfinished", "no result yet: running, or killed")


def read_results(files: Iterable[Path], complain: Complain) -> tuple[list[Result], list[Unusable]]:
    """Read results, and the runs that failed before they had one. Folders of mode=sample are left
    out: nothing was tested there.
    """
    results, unusable = [], []
    for file in files:
        try:
            content = _parse(file)
            if content.get("mode") == "sample":
                continue
            missing = [name for name in FIELDS if name not in content]
            if missing and content.get("state") == "failed":
                unusable.append(Unusable(file.parent, "failed", str(content.get("message"))))
                continue
            if missing:
                raise UserError(
                    f"{file} lacks {', '.join(missing)}: another version of node_runner wrote it; "
                    "run it again, or leave it out"
                )
            if wrong := _faults(content):
                raise UserError(f"{file} is damaged or of another version in {', '.join(wrong)}")
            results.append(Result(file.parent, **{name: content[name] for name in FIELDS}))
        except UserError as error:
            complain(str(error))
    return results, unusable


def _parse(file: Path) -> dict[str, Any]:
    try:
        content = _without_controls(read_json(file))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{file} cannot be read: {error}") from error
    if not isinstance(content, dict):
        raise UserError(f"{file} holds no result of a run")
    metrics = content.get("metrics")
    for metric in metrics.values() if isinstance(metrics, dict) else ():
        if isinstance(metric, dict) and metric.get("mean", nan) is None:
            metric["mean"] = nan  # JSON has no other word for it
    return content


def _without_controls(content: Any) -> Any:
    """Remove control characters, which a terminal would obey, from nested values."""
    if isinstance(content, dict):
        return {_without_controls(k): _without_controls(v) for k, v in content.items()}
    if isinstance(content, list):
        return [_without_controls(value) for value in content]
    if isinstance(content, str):
        return "".join(sign if sign.isprintable() or sign == "\n" else " " for sign in content)
    return content


def _faults(content: dict[str, Any]) -> list[str]:
    """Return the fields, also nested ones, whose values are not of their type."""
    wrong = [name for name, hint in FIELDS.items() if not conforms(content[name], hint)]
    for name, inner in NESTED.items():
        if name not in wrong:
            node = content[name]
            absent = object()
            entries = ((key, node.get(key, absent), hint) for key, hint in inner.items())
            wrong += [
                f"{name}.{k}" for k, v, hint in entries if v is absent or not conforms(v, hint)
            ]
    if "metrics" not in wrong:
        for name, metric in content["metrics"].items():
            if not isinstance(metric, dict) or not conforms(metric.get("mean"), float):
                wrong.append(f"metrics.{name}")
    return wrong
