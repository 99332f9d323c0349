"""The configuration that a run was made with, to tell whether config.yaml was edited since.

``origin.json`` holds every value that may not change while it is the same run, and a SHA-256 digest
of them all.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from .disk import read_json, to_json
from .schema import UserError

FILE = "origin.json"

# File name to key to value: of config.yaml by dotted key, of command.yaml as it is.
Origin = Mapping[str, Mapping[str, Any]]


class Edit(NamedTuple):
    """A value that was edited; None where there was, or is, none."""

    file: str
    key: str
    was: object
    now: object

    def __str__(self) -> str:
        return f"{self.key} of {self.file} was {self.was}, is {self.now}"


def content(origin: Origin) -> str:
    """The content of origin.json."""
    return to_json(json.loads(_json({"sha256": digest(origin), **origin})), indent=1) + "\n"


def digest(origin: Origin) -> str:
    return hashlib.sha256(_json(origin).encode()).hexdigest()


def _json(value: object) -> str:
    return json.dumps(value, sort_keys=True, default=str)


def edits(
    folder: Path, origin: Origin, may_change: Callable[[str], bool] = lambda key: False
) -> list[Edit] | None:
    """What differs from the run's origin.json; None if the run has none.

    Args:
        origin: what config.yaml and command.yaml hold now.
        may_change: whether a key of config.yaml does not count.

    Raises:
        UserError: if origin.json itself was edited or is damaged.
    """
    path = folder / FILE
    if not path.exists():
        return None
    try:
        made = read_json(path)
        known = made.pop("sha256")
        intact = known == digest(made) and all(isinstance(made[file], dict) for file in origin)
    except (OSError, ValueError, LookupError, AttributeError, TypeError):
        intact = False
    if not intact:
        raise UserError(
            f"{path} was edited or is damaged, so that edits of config.yaml cannot be told; delete "
            "it if you trust the folder"
        )
    found = (edit for file in origin for edit in _differences(file, made[file], origin[file]))
    return [edit for edit in found if edit.file != "config.yaml" or not may_change(edit.key)]


def _differences(file: str, was: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[Edit]:
    """Compared as JSON, in which NaN equals NaN."""
    for key in {**was, **now}:
        if _json(was.get(key)) != _json(now.get(key)):
            yield Edit(file, key, was.get(key), now.get(key))
