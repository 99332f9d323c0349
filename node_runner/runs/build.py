"""Construction of a run from its configuration."""

from __future__ import annotations

import json
import logging
from contextlib import suppress
from pathlib import Path

import torch
from filelock import BaseFileLock
from omegaconf import DictConfig
from torch import nn
from torch.optim import Optimizer

from ..disk import remove_partial_files, write_json
from ..errors import UserError, as_user_error
from ..training import Checkpoints, Data, Logger, Runtime, Task, Trainer, TrainingState
from ..training.runtime import environment
from . import store
from .construct import Parts, check_kind
from .data_state import construct_data, state_of
from .lock import acquire_lock
from .paths import relative, typed_option
from .run import Run
from .store import Call

__all__ = ["build"]

log = logging.getLogger(__name__)


def build(
    config: DictConfig, call: Call, resumes: bool = False, lock: BaseFileLock | None = None
) -> Run:
    """Construct all objects of a run.

    Args:
        config: Checked configuration.
        call: Folder, task and overrides of the run.
        resumes: Resume the run in the folder from its last checkpoint.
        lock: Lock on the folder, if it is held already.

    Raises:
        UserError: For values that a constructor refuses, and for a checkpoint of something else.
        OSError: For folders that cannot be written to.
    """
    folder = call.folder
    if (folder / "command.yaml").exists() and not resumes:
        raise UserError(
            f"{folder} holds a run already", suggestion=f"{typed_option('resume', folder)} goes on"
        )
    parts = Parts(config)
    runtime, trainer = parts.make("runtime", Runtime), parts.make("trainer", Trainer)
    device = parts.apply("runtime", runtime.apply, config.seed)
    data = construct_data(parts, config, folder if resumes else None, device)
    check_kind(data, "data", Data)
    task = parts.make("task", nn.Module, Task).to(device)
    parts.apply("task", task.bind, data)
    _prepare(task, runtime)
    total = parts.apply("trainer", trainer.steps, data)
    state = trainer.begin(task, parts.make("optimizer")(task.parameters()))
    state.data = state_of(data)
    lock = lock or acquire_lock(folder)
    if lock is None:
        raise UserError(f"another process is writing to {relative(folder)}")
    if resumes:
        first = min(trainer.checkpoint_every or data.steps_per_epoch, total)
        _resume(state, folder, total, device, first)
    typed = store.write(config, call)
    machine = environment(device)
    write_json(folder / "env.json", machine)
    done = state.progress
    logger = Logger(folder, done.step, done.points) if resumes else Logger(folder)
    made = (device, runtime, data, trainer, state, logger, lock)
    return Run(call.task, folder, config, typed, machine, *made)


def _resume(
    state: TrainingState, folder: Path, total: int, device: torch.device, first: int
) -> None:
    """Load the newest checkpoint of a folder; start anew if the run never came to its first one.

    Args:
        total: Steps that the run is to take in all.
        first: Step of the first checkpoint at the latest.

    Raises:
        UserError: If the checkpoint is of something else, or of a later step than ``total``, or if
            there is none and something would be lost.
    """
    remove_partial_files(folder)
    checkpoints = Checkpoints(folder / "checkpoints")
    newest = None
    if checkpoints.exist():
        newest = as_user_error(checkpoints.newest, device)
        as_user_error(state.load_state_dict, newest, str(checkpoints.folder))
        _restore_options(state.optimizer)
    else:
        check_nothing_lost(folder, first)
        log.warning("%s has no checkpoint yet: it starts anew", relative(folder))
    step = state.progress.step
    if step > total:
        raise UserError(f"{folder} has done {step} steps, and the limits typed are {total}")
    if newest is not None:
        checkpoints.mend_best(newest)
    (folder / "result.json").unlink(missing_ok=True)  # it is no longer true
    log.info("%s goes on from step %d", relative(folder), step)


def _restore_options(optimizer: Optimizer) -> None:
    """Give a loaded optimizer the options of its construction: a checkpoint has those of a
    configuration that may have been edited.
    """
    options = optimizer.defaults
    for group in optimizer.param_groups:
        group.update({name: value for name, value in options.items() if name != "lr"})
        if "initial_lr" in group:  # the schedule multiplies it
            group["initial_lr"] = options["lr"]


def check_nothing_lost(folder: Path, first: int = 1) -> None:
    """Check that training from step 0 in a folder without a checkpoint writes over nothing.

    Args:
        first: Step of the first checkpoint at the latest.

    Raises:
        UserError: If there is a result, or there was a checkpoint.
    """
    result, reached = store.result_of(folder), _last_step(folder)
    state, steps = result.get("state"), result.get("steps")
    ended = state in store.FINISHED or result.get("metrics")
    ended = ended and result.get("mode") == "train"
    if not ended and reached < first and not (folder / "checkpoints" / "best.pt").exists():
        return
    content = f"the result of {steps} steps" if ended else f"curves to step {reached}"
    raise UserError(
        f"{relative(folder)} holds {content}, but no checkpoint to resume, and training from step "
        "0 would write over that: put checkpoints/last.pt back, or train in another folder"
    )


def _last_step(folder: Path) -> int:
    """Return the last step in metrics.jsonl; 0 while there is none."""
    path, steps = folder / "metrics.jsonl", [0]
    text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
    for line in text.splitlines():
        with suppress(ValueError, TypeError, KeyError):  # not a point of a curve
            steps.append(int(json.loads(line)["step"]))
    return max(steps)


def _prepare(task: nn.Module, runtime: Runtime) -> None:
    """Apply precision and compilation to the right-hand sides f(t, x) in a task: what its parts
    call ``field``.
    """
    parts = [getattr(module, "field", None) for module in task.modules()]
    fields = [part for part in parts if isinstance(part, nn.Module)]
    for field in fields:
        runtime.prepare(field)
    if (runtime.amp or runtime.compile) and not fields:
        log.warning("runtime.amp and runtime.compile are for fields f(t, x); there is none here")
