"""Files that are written whole or not at all, read only if they are regular, and strict JSON.

JSON has no NaN and no infinity. Such a number is written as null, and "not_finite" beside it, at
the top of the document, holds which one it was, by its dotted key:

    {"test/nll": {"mean": null}, "not_finite": {"test/nll.mean": "nan"}}
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import suppress
from math import inf, isfinite, nan
from pathlib import Path
from typing import Any, BinaryIO

__all__ = [
    "AppendOnlyFile",
    "from_json",
    "open_regular",
    "read_json",
    "remove_partial_files",
    "to_json",
    "write_json",
    "write_whole",
]

PARTIAL = ".partial"  # suffix of a file that is being written
NOT_FINITE = "not_finite"
_VALUES = {"nan": nan, "inf": inf, "-inf": -inf}


def write_whole(path: Path, content: bytes | memoryview | str) -> None:
    """Write beside ``path`` and move it there: a crash, or a full disk, leaves the old file.

    Raises:
        OSError: naming the file, if there is no room for it or no right to write it.
    """
    partial = path.with_name(path.name + PARTIAL)
    try:
        with open(partial, "wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except BaseException as error:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise _cannot_write(path, error) from error
        raise


def _cannot_write(path: Path, error: OSError) -> OSError:
    kept = "; the one there stays as it was" if path.exists() else ""
    named = OSError(f"cannot write {path}: {error.strerror or error}{kept}")
    named.errno = error.errno
    return named


def remove_partial_files(folder: Path) -> None:
    """Remove what a process that was killed while it wrote a file has left below ``folder``."""
    for partial in folder.rglob(f"*{PARTIAL}"):
        with suppress(OSError):
            partial.unlink()


def open_regular(path: Path) -> BinaryIO:
    """Open a file to read its bytes.

    Raises:
        OSError: if it is not a regular file. To open a FIFO waits for a writer, and a device such
            as /dev/zero never ends.
    """
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError("it is not a file")
        return open(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


class AppendOnlyFile:
    """A file that grows by whole records; one that does not fit is taken back.

    Args:
        path: The file; made if it is absent.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = open(path, "ab", buffering=0)

    def append(self, record: bytes) -> None:
        """Hand a record to the operating system.

        Raises:
            OSError: naming the file, if there is no room for it.
        """
        end = os.fstat(self._file.fileno()).st_size
        left = memoryview(record)
        try:
            while left:
                left = left[self._file.write(left) :]
        except BaseException as error:
            with suppress(OSError):
                self._file.truncate(end)
            if isinstance(error, OSError):
                raise _cannot_write(self.path, error) from error
            raise

    def sync(self) -> None:
        """Wait until all records are on the disk."""
        os.fsync(self._file.fileno())

    def close(self) -> None:
        self._file.close()


def to_json(content: Any, indent: int | None = None) -> str:
    """JSON that any parser reads: NaN and infinities as the module's docstring says."""
    found: dict[str, str] = {}
    finite = _without_infinities(content, "", found)
    if found and isinstance(finite, dict):
        finite = {**finite, NOT_FINITE: found}
    return json.dumps(finite, indent=indent, allow_nan=False)


def _without_infinities(node: Any, path: str, found: dict[str, str]) -> Any:
    """The node with None for each number that is not finite, which is added to ``found``."""
    if isinstance(node, float) and not isfinite(node):
        found[path] = str(float(node))
        return None
    if isinstance(node, dict | list | tuple):
        parts = {key: _without_infinities(part, at, found) for key, part, at in _parts(node, path)}
        return parts if isinstance(node, dict) else list(parts.values())
    return node


def from_json(text: str | bytes) -> Any:
    """The content of ``to_json``'s text, and of earlier versions', which wrote NaN and Infinity.

    Raises:
        ValueError: if it is not JSON.
    """
    try:
        content = json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if isinstance(content, dict) and isinstance(content.get(NOT_FINITE), dict):
        content = _with_infinities(content, "", content.pop(NOT_FINITE))
    return content


def _with_infinities(node: Any, path: str, found: dict[str, Any]) -> Any:
    if node is None and path in found:
        return _VALUES.get(str(found[path]), nan)
    if isinstance(node, dict | list):
        parts = {key: _with_infinities(part, at, found) for key, part, at in _parts(node, path)}
        return parts if isinstance(node, dict) else list(parts.values())
    return node


def _parts(node: dict | list | tuple, path: str) -> Iterator[tuple[Any, Any, str]]:
    """Key, value and dotted key of each entry."""
    for key, part in node.items() if isinstance(node, dict) else enumerate(node):
        yield key, part, f"{path}.{key}" if path else str(key)


def write_json(path: Path, content: Mapping[str, object]) -> None:
    """Write a document whole or not at all.

    Raises:
        OSError: as ``write_whole``.
    """
    write_whole(path, to_json(content, indent=2) + "\n")


def read_json(path: Path) -> Any:
    """The content of a document that ``write_json``, or an earlier version, wrote.

    Raises:
        OSError: if it cannot be read.
        ValueError: if it is not JSON.
    """
    with open_regular(path) as file:
        return from_json(file.read().decode("utf-8"))
