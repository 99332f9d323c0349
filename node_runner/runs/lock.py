"""Exclusive right to write to a run's folder, and nowhere else."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path

from filelock import BaseFileLock, FileLock, Timeout

from ..errors import UserError

__all__ = ["acquire_lock", "refuse_links"]


def acquire_lock(folder: Path) -> BaseFileLock | None:
    """Return a lock on the folder, held until it is released or this process ends, however it
    ends; None if another process holds it.

    Raises:
        UserError: If something in the folder would be written to elsewhere.
        OSError: If the folder cannot be written to.
    """
    folder.mkdir(parents=True, exist_ok=True)
    refuse_links(folder)
    try:
        lock = FileLock(folder / ".lock", thread_local=False)
        lock.acquire(blocking=False)
    except Timeout:
        return None
    return lock


def refuse_links(folder: Path) -> None:
    """Check that a run writes within its folder alone, whatever came with the folder.

    Raises:
        UserError: For a link that leads out of it, and for what is neither a file nor a folder.
    """
    inside = folder.resolve()
    for parent, folders, files in os.walk(folder):
        for path in (Path(parent, name) for name in (*folders, *files)):
            with suppress(FileNotFoundError):  # removed meanwhile
                mode = path.lstat().st_mode
                if stat.S_ISLNK(mode) and not path.resolve().is_relative_to(inside):
                    raise UserError(
                        f"{path} is a link to {os.readlink(path)}: a run writes within its folder "
                        "alone; put what it leads to in its place"
                    )
                if not stat.S_ISLNK(mode) and not stat.S_ISDIR(mode) and not stat.S_ISREG(mode):
                    raise UserError(f"{path} is neither a file nor a folder; remove it")
