"""Help and completion beyond Hydra's: meaning of keys, folders of runs, a user's folder."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from ..runs.config import FOLDER
from .overrides import CommandLine

__all__ = ["completed_runs", "config_dir_of", "explained_keys"]

_EXPLAINED = re.compile(r"(?P<indent> *)(?P<key>\w+):[^#]*# (?P<comment>.+)")


def explained_keys() -> str:
    """Return the options outside of groups with the comments of conf/config.yaml."""
    lines = (FOLDER / "config.yaml").read_text(encoding="utf-8").splitlines()
    matches = [match for line in lines if (match := _EXPLAINED.fullmatch(line))]
    options = [(m["key"], m["comment"]) for m in matches if not m["indent"]]
    return "\n".join(["Options:", *(f"  {key:<14}{comment}" for key, comment in options)])


def _words(environment: Mapping[str, str]) -> list[str]:
    """Return the words of the command line that is being completed."""
    return environment.get("COMP_LINE", "").split()


def config_dir_of(line: CommandLine, environment: Mapping[str, str]) -> str | None:
    """Return the folder of ``--config-dir``, also of a command line that is being completed."""
    words = _words(environment) if line.completes else []
    for flag, folder in zip(words, words[1:], strict=False):
        if flag in ("--config-dir", "-cd") and Path(folder).is_dir():
            return folder
    return line.config_dir


def completed_runs(line: CommandLine, environment: Mapping[str, str]) -> list[str] | None:
    """Return the completions of ``run=`` and ``resume=``: folders of runs, the newest first; None
    for another word.
    """
    word = (_words(environment) or [""])[-1]
    key, equals, start = word.partition("=")
    if not (line.completes and equals and key in ("run", "resume")):
        return None
    words = [w.removeprefix("paths.out=") for w in _words(environment) if "paths.out=" in w]
    out = Path((words or ["outputs"])[-1])
    files = sorted(out.rglob("command.yaml"), key=lambda f: f.stat().st_mtime, reverse=True)
    return [f"{key}={file.parent}" for file in files if str(file.parent).startswith(start)]
