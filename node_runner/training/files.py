"""Files that are either whole or as they were."""

from __future__ import annotations

import os
from pathlib import Path


def write_whole(path: Path, content: bytes | str) -> None:
    """Write beside ``path`` and move it there: a crash, or a full disk, leaves the old file.

    Raises:
        OSError: naming the file, if there is no room for it or no right to write it.
    """
    partial = path.with_name(path.name + ".partial")
    try:
        with open(partial, "wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        kept = "; the one there stays as it was" if path.exists() else ""
        raise OSError(f"cannot write {path}: {error.strerror}{kept}") from error
