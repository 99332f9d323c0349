"""The configuration that a run was made with, to detect edits of config.yaml.

``origin.json`` holds every value that may not change while it is the same run, and a SHA-256 digest
of them all.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ..disk import read_json, to_json
from ..errors import UserError

FILE = "origin.json"

# File name to key to value: of config.yaml by dotted key, of command.yaml as it is.
Origin = Mapping[str, Mapping[str, Any]]


class Edit(NamedTuple):
    """An edited value; None for a key that was absent before, or is absent now."""

    file: str
    key: str
    was: object
    now: object

    def __str__(self) -> str:
        return f"{self.key} of {self.file} was {self.was}, is {self.now}"


def content(origin: Origin) -> str:
    """Return the content of origin.json."""
    return to_json(json.loads(_json({"sha256": digest(origin), **origin})), indent=1) + "\n"


def digest(origin: Origin) -> str:
    return hashlib.sha256(_json(origin).encode()).hexdigest()


def _json(value: object) -> str:
    return json.dumps(value, sort_keys=True, default=str)


def edits(
    folder: Path, origin: Origin, may_change: Callable[[str], bool] = lambda key: False
) -> list[Edit] | None:
    """Return the differences from the run's origin.json; None if the run has none.

    Args:
        origin: Present values of config.yaml and command.yaml.
        may_change: Return whether a key of config.yaml may differ.

    Raises:
        UserError: If origin.json itself was edited or is damaged.
    """
    path = folder / FILE
    if not path.exists():
        return None
    try:
        made = read_json(path)
        recorded = made.pop("sha256")
        intact = recorded == digest(made) and all(isinstance(made[file], dict) for file in origin)
    except (OSError, ValueError, LookupError, AttributeError, TypeError):
        intact = False
    if not intact:
        raise UserError(
            f"{path} was edited or is damaged, so edits of config.yaml cannot be detected; delete "
            "it if you trust the folder"
        )
    every = (edit for file in origin for edit in _differences(file, made[file], origin[file]))
    return [edit for edit in every if edit.file != "config.yaml" or not may_change(edit.key)]


def _differences(file: str, was: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[Edit]:
    """Yield the values that differ as JSON, in which NaN equals NaN."""
    for key in {**was, **now}:
        if _json(was.get(key)) != _json(now.get(key)):
            yield Edit(file, key, was.get(key), now.get(key))
