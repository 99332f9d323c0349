"""Sweeps: a folder that the same command finds again, and what its jobs came to."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from hydra.core.override_parser.types import Override
from omegaconf import DictConfig

from . import stored
from .schema import UserError

# What does not make another sweep of it.
PLACES = ("paths", "resume", "hydra", "runtime.device", "runtime.threads")


def folder_of(base: str, overrides: Sequence[Override]) -> Path:
    """Where the jobs of a command lie: ``base``, what is swept, and a sum of all that was typed."""
    kept = sorted(o.input_line for o in overrides if not stored.within(o.key_or_group, PLACES))
    digest = hashlib.sha256("\n".join(kept).encode()).hexdigest()[:8]
    swept = [o.key_or_group for o in overrides if o.is_sweep_override()]
    swept += [str(o.value()) for o in overrides if o.key_or_group == "sweep"]
    name = "_".join([*(key.replace("/", ".") for key in swept), digest])
    return Path(f"{base}_{name}")


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


def summary(folder: Path) -> list[str]:
    """One line for each job under a sweep's folder: its number, state, what is its own of the
    command, and its figures or what went wrong.
    """
    jobs = [stored.read(file.parent, "sweep") for file in folder.glob("*/command.yaml")]
    jobs.sort(key=lambda job: (len(job.folder.name), job.folder.name))  # 2 before 10
    common = set.intersection(*(set(job.overrides) for job in jobs)) if len(jobs) > 1 else set()
    lines = []
    for job in jobs:
        own = " ".join(override for override in job.overrides if override not in common)
        state, told = outcome(job.folder)
        lines.append(f"{job.folder.name:>4}  {state:<10}  {own}  {told}".rstrip())
    return lines


def outcome(folder: Path) -> tuple[str, str]:
    """State and main figures of a job, or its message where it has none."""
    result = stored.result_of(folder)
    if not result:
        return "unfinished", ""
    metrics = {k: v["mean"] for k, v in result["metrics"].items() if k.startswith("test/")}
    figures = [f"{k.removeprefix('test/')} {mean:.4g}" for k, mean in metrics.items()]
    return result["state"], "  ".join(figures) or (result["message"] or "")[:100]
