"""Sweeps: a folder that the same command finds again, and what its jobs came to.

Jobs may have run in other processes, on other machines or another day, so all that is told of them
is read from their folders.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import suppress
from math import nan
from pathlib import Path
from typing import Any

from hydra.core.override_parser.types import Override
from omegaconf import DictConfig

from . import origin, stored
from .disk import write_json
from .schema import UserError

OK, BUG, MISTAKE, DIVERGED, SIGNAL = 0, 1, 2, 3, 128
CODES = {"done": OK, "stopped": OK, "diverged": DIVERGED}

# What does not make another sweep of it.
PLACES = ("paths", "resume", "hydra", "hydra/launcher", "launcher", *stored.PERMITS)
PLACES += ("runtime.device", "runtime.threads")
LONGEST = 120  # of the part of a folder's name that says what is swept
REFUSED = "refused.json"  # beside the result of a finished run, which is not to be touched


def folder_of(base: str, overrides: Sequence[Override]) -> Path:
    """Where the jobs of a command lie: ``base``, what is swept, and a sum of all that was typed."""
    kept = sorted(o.input_line for o in overrides if not stored.within(o.key_or_group, PLACES))
    digest = hashlib.sha256("\n".join(kept).encode()).hexdigest()[:8]
    swept = [o.key_or_group for o in overrides if o.is_sweep_override()]
    swept += [str(o.value()) for o in overrides if o.key_or_group == "sweep"]
    name = "_".join(key.replace("/", ".") for key in swept)
    if len(name) > LONGEST:  # a file system has 255 bytes for a name
        name = f"{name[:LONGEST].rpartition('_')[0]}_and_more"
    return Path(f"{base}_{name}_{digest}" if name else f"{base}_{digest}")


def check_same(folder: Path, config: DictConfig) -> None:
    """The run in a job's folder is that of the job.

    Raises:
        UserError: if a file of conf/ has changed what the command means.
    """
    there = stored.comparable(stored.read(folder, "sweep").config)
    here = stored.comparable(config)
    for key in {**there, **here}:
        if there.get(key) != here.get(key):
            raise UserError(
                f"{folder} was run with {key}={there.get(key)}, and the same command now means "
                f"{here.get(key)}: move that folder away, or give hydra.sweep.dir="
            )


def record_failure(folder: Path, config: DictConfig, message: str, code: int) -> None:
    """Leave word of a job that failed, whether or not it came to be a run."""
    with suppress(OSError):
        if not (folder / "command.yaml").exists():
            stored.write(folder, config)
        there = stored.result_of(folder)
        failed = {"state": "failed", "message": message, "exit_code": code}
        if there.get("state") in stored.FINISHED:
            write_json(folder / REFUSED, failed | {"metrics": {}})
        else:
            write_json(folder / "result.json", failed | {"metrics": {}} | there | failed)


def forget_failure(folder: Path) -> None:
    """Take back the word of a job that is tried again; one that was no run leaves nothing."""
    (folder / REFUSED).unlink(missing_ok=True)
    if stored.state_of(folder) == "failed" and not (folder / "env.json").exists():
        for name in (origin.FILE, "config.yaml", "command.yaml", "result.json"):
            (folder / name).unlink(missing_ok=True)


def jobs_of(folder: Path) -> list[Path]:
    return [file.parent for file in folder.glob("*/command.yaml")]


def word_of(job: Path) -> dict[str, Any]:
    """What the last call of a job left of it; nothing while it is unfinished."""
    return stored.result_of(job, REFUSED) or stored.result_of(job)


def exit_code(folder: Path) -> int:
    """The worst of a sweep's jobs. One that was killed has left nothing, which is no good end."""
    found = [word_of(job) for job in jobs_of(folder)]
    return max((w.get("exit_code", CODES.get(w.get("state"), BUG)) for w in found), default=OK)


def summary(folder: Path) -> list[str]:
    """One line for each job under a sweep's folder: its number, state, what is its own of the
    command, and its figures or what went wrong.
    """
    jobs = [stored.read(job, "sweep") for job in jobs_of(folder)]
    jobs.sort(key=lambda job: (len(job.folder.name), job.folder.name))  # 2 before 10
    lines = []
    for job, own in zip(jobs, differing([job.overrides for job in jobs]), strict=True):
        state, told = outcome(job.folder)
        lines.append(f"{job.folder.name:>4}  {state:<10}  {own}  {told}".rstrip())
    return lines


def differing(typed: Sequence[Sequence[str]]) -> list[str]:
    """The overrides of each that are not those of all."""
    common = set.intersection(*map(set, typed)) if len(typed) > 1 else set()
    return [" ".join(o for o in overrides if o not in common) for overrides in typed]


def outcome(folder: Path) -> tuple[str, str]:
    """State and main figures of a job, or its message where it has none."""
    result = word_of(folder)
    if not result:
        return "unfinished", ""
    metrics = {k: v["mean"] for k, v in result["metrics"].items() if k.startswith("test/")}
    figures = [
        f"{k.removeprefix('test/')} {nan if mean is None else mean:.4g}"
        for k, mean in metrics.items()
    ]
    return result["state"], "  ".join(figures) or (result["message"] or "")[:100]
