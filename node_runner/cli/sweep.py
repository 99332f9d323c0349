"""Sweeps: a folder that the same command finds again, and the states of its jobs.

Jobs may have run in other processes, on other machines or another day, so all that is said of them
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

from ..disk import write_json
from ..runs import origin, store
from ..runs.config import has_prefix
from ..runs.store import Call

OK, BUG, MISTAKE, DIVERGED, SIGNAL = 0, 1, 2, 3, 128  # exit codes
CODES = {"done": OK, "stopped": OK, "diverged": DIVERGED}

# Options that do not make another sweep of it.
_NEUTRAL: tuple[str, ...] = ("paths", "resume", "hydra", "hydra/launcher", "launcher")
_NEUTRAL += (*store.PERMISSION_KEYS, "runtime.device", "runtime.threads")
_LONGEST = 120  # characters of a folder's name that say what is swept
REJECTED_FILE = "refused.json"  # next to the result of a finished run, which is not to be touched


def sweep_folder(base: str, overrides: Sequence[Override]) -> Path:
    """Return the folder of a command's jobs: ``base``, what is swept, and a digest of what was
    typed.
    """
    typed = sorted(
        o.input_line or "" for o in overrides if not has_prefix(o.key_or_group, _NEUTRAL)
    )
    digest = hashlib.sha256("\n".join(typed).encode()).hexdigest()[:8]
    swept = [o.key_or_group for o in overrides if o.is_sweep_override()]
    swept += [str(o.value()) for o in overrides if o.key_or_group == "sweep"]
    name = "_".join(key.replace("/", ".") for key in swept)
    if len(name) > _LONGEST:  # a file system has 255 bytes for a name
        name = f"{name[:_LONGEST].rpartition('_')[0]}_and_more"
    return Path(f"{base}_{name}_{digest}" if name else f"{base}_{digest}")


def record_failure(call: Call, config: DictConfig, message: str, code: int) -> None:
    """Record a failed job, even if it failed before a run was created."""
    with suppress(OSError):
        if not (call.folder / "command.yaml").exists():
            store.write(config, call)
        result = store.result_of(call.folder)
        failed = {"state": "failed", "message": message, "exit_code": code}
        if result.get("state") in store.FINISHED:
            write_json(call.folder / REJECTED_FILE, failed | {"metrics": {}})
        else:
            write_json(call.folder / "result.json", failed | {"metrics": {}} | result | failed)


def clear_failure(folder: Path) -> None:
    """Clear the failure record of a job before it is retried."""
    (folder / REJECTED_FILE).unlink(missing_ok=True)
    if store.state_of(folder) == "failed" and not (folder / "env.json").exists():
        for name in (origin.FILE, "config.yaml", "command.yaml", "result.json"):
            (folder / name).unlink(missing_ok=True)


def _jobs_of(folder: Path) -> list[Path]:
    return [file.parent for file in folder.glob("*/command.yaml")]


def _job_result(job: Path) -> dict[str, Any]:
    """Return the result of a job's last call; empty while it is unfinished."""
    return store.result_of(job, REJECTED_FILE) or store.result_of(job)


def exit_code(folder: Path) -> int:
    """Return the worst exit code of a sweep's jobs; a killed job, without a result, counts as a
    bug.
    """
    results = [_job_result(job) for job in _jobs_of(folder)]
    codes = [r.get("exit_code", CODES.get(str(r.get("state")), BUG)) for r in results]
    return max(codes, default=OK)


def table(folder: Path) -> list[str]:
    """Return one line for each job of a sweep: number, state, the overrides that set it apart, and
    its figures or what went wrong.
    """
    jobs = [store.read(job, "sweep") for job in _jobs_of(folder)]
    jobs.sort(key=lambda job: (len(job.folder.name), job.folder.name))  # 2 before 10
    distinct = store.distinct_overrides([job.overrides for job in jobs])
    lines = []
    for job, overrides in zip(jobs, distinct, strict=True):
        state, text = _job_status(job.folder)
        lines.append(f"{job.folder.name:>4}  {state:<10}  {overrides}  {text}".rstrip())
    return lines


def _job_status(folder: Path) -> tuple[str, str]:
    """Return state and main figures of a job, or its message where it has no figures."""
    result = _job_result(folder)
    if not result:
        return "unfinished", ""
    metrics = {k: v["mean"] for k, v in result["metrics"].items() if k.startswith("test/")}
    figures = [
        f"{k.removeprefix('test/')} {nan if mean is None else mean:.4g}"
        for k, mean in metrics.items()
    ]
    return result["state"], "  ".join(figures) or (result["message"] or "")[:100]
