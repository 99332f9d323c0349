"""Find, read and check result.json files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ..errors import UserError
from ..runs.record import IncompleteRecord
from .results import Complain, Result


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
            result = Result.read(file)
            if result.mode != "sample":
                results.append(result)
        except IncompleteRecord as error:
            if error.mode != "sample":
                unusable.append(Unusable(error.folder, "failed", error.message))
        except UserError as error:
            complain(str(error))
    return results, unusable
