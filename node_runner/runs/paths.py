"""Paths and options as a person would type them."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path
from shutil import which

from hydra.core.override_parser.types import Quote, QuotedString

__all__ = ["quoted", "relative", "tensorboard", "typed_option"]


def relative(path: Path) -> Path:
    """Return the path relative to the current folder, where it lies in there."""
    try:
        return path.absolute().relative_to(Path.cwd())
    except ValueError:
        return path


def quoted(text: str | Path) -> str:
    """Return a text in quotes of Hydra's grammar, in which no mark has a meaning."""
    return QuotedString(str(text).replace("${", r"\${"), Quote.single).with_quotes()


def typed_option(option: str, path: Path) -> str:
    """Return ``option=path`` for a shell: Hydra and the shell both have marks of their own."""
    if re.fullmatch(r"[\w./:-]+", str(path)):
        return f"{option}={path}"
    return shlex.quote(f"{option}={quoted(path)}")


def tensorboard() -> str:
    """Return the command that opens TensorBoard, whether or not its folder is on the PATH."""
    installed = Path(sys.executable).with_name("tensorboard")
    missing = which("tensorboard") is None and installed.exists()
    return str(relative(installed)) if missing else "tensorboard"
