"""The right to write to a run's folder: one process at a time, and nowhere else."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import TextIO

from .schema import UserError

try:
    import fcntl
except ImportError:  # not on Windows, where two processes in one folder are not noticed
    fcntl = None


def claim(folder: Path) -> TextIO | None:
    """A lock on the folder, held while the returned file is open; None if another process has it.

    The system gives it up when that process ends, however it ends.

    Raises:
        UserError: if something in the folder would be written to elsewhere.
    """
    folder.mkdir(parents=True, exist_ok=True)
    refuse_links(folder)
    file = open(folder / ".lock", "w")
    if fcntl is not None:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.close()
            return None
    return file


def refuse_links(folder: Path) -> None:
    """A run is written within its folder alone, whatever came with the folder.

    Raises:
        UserError: for a link that leads out of it, and for what is neither a file nor a folder.
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
