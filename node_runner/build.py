"""A run from its configuration."""

from __future__ import annotations

import json
import logging
from contextlib import suppress
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from torch import nn
from torch.optim import Optimizer

from . import stored
from .annotation import methods
from .config import home
from .data_state import construct_data, state_of
from .disk import remove_partial_files, write_json
from .result import as_typed, shown
from .run import Run
from .schema import UserError, told
from .stored import leaves
from .training import Checkpoints, Data, Logger, Runtime, Task, Trainer, TrainingState
from .training.runtime import environment

log = logging.getLogger(__name__)


def build(
    config: DictConfig, folder: Path, name: str, resumes: bool = False, lock: Any = None
) -> Run:
    """Construct all objects.

    Args:
        resumes: go on with the run that lies in the folder, from its last checkpoint.
        lock: on the folder, if it is held already.

    Raises:
        InstantiationException, UserError: for values that a constructor refuses, and for a
            checkpoint of something else.
        OSError: for data that are not there and folders that cannot be written to.
    """
    if (folder / "command.yaml").exists() and not resumes:
        raise UserError(f"{folder} holds a run already; {as_typed('resume', folder)} goes on")
    parts = with_home(config)
    runtime, trainer = part_of(parts, "runtime", Runtime), part_of(parts, "trainer", Trainer)
    device = told(runtime.apply, config.seed)
    data = construct_data(parts, folder if resumes else None, device)
    refuse_other(data, "data", Data)
    task = part_of(parts, "task", nn.Module, Task).to(device)
    told(task.bind, data)
    prepare(task, runtime)
    total = told(trainer.steps, data)
    state = trainer.begin(task, told(construct(parts.optimizer), task.parameters()))
    state.data = state_of(data)
    lock = lock or stored.claim(folder)
    if lock is None:
        raise UserError(f"another process is writing to {shown(folder)}")
    if resumes:
        first = min(trainer.checkpoint_every or data.steps_per_epoch, total)
        go_on(state, folder, total, device, first)
    typed = stored.write(folder, config)
    here = environment(device)
    write_json(folder / "env.json", here)
    done = state.progress
    logger = Logger(folder, done.step, done.points) if resumes else Logger(folder)
    made = (device, runtime, data, trainer, state, logger, lock)
    return Run(name, folder, config, typed, here, *made)


def with_home(config: DictConfig) -> DictConfig:
    """A copy to construct from, which resolves what it is given in place; ~ at the begin of a value
    is the home folder.
    """
    parts = deepcopy(config)
    parts.paths.data = home(config.paths.data)  # of the environment, perhaps
    for key, value in leaves(parts).items():
        if isinstance(value, str) and value.startswith("~/"):
            OmegaConf.update(parts, key, home(value))
    return parts


def go_on(state: TrainingState, folder: Path, total: int, device: torch.device, first: int) -> None:
    """Load the newest checkpoint of a folder; start anew if the run never came to its first one.

    Args:
        first: step of the first checkpoint at the latest.

    Raises:
        UserError: if the checkpoint is of something else, or further than the run is to go, or if
            there is none and something would be lost.
    """
    remove_partial_files(folder)
    checkpoints = Checkpoints(folder / "checkpoints")
    newest = None
    if checkpoints.exist():
        newest = told(checkpoints.newest, device)
        told(state.load_state_dict, newest, str(checkpoints.folder))
        as_configured(state.optimizer)
    else:
        refuse_to_repeat(folder, first)
        log.warning("%s has no checkpoint yet: it starts anew", shown(folder))
    step = state.progress.step
    if step > total:
        raise UserError(f"{folder} has done {step} steps, and the limits typed are {total}")
    if newest is not None:
        checkpoints.mend_best(newest)
    (folder / "result.json").unlink(missing_ok=True)  # it is no longer true
    log.info("%s goes on from step %d", shown(folder), step)


def as_configured(optimizer: Optimizer) -> None:
    """Give an optimizer that was loaded the options of its construction: a checkpoint has those of
    a configuration that may have been edited.
    """
    options = optimizer.defaults
    for group in optimizer.param_groups:
        group.update({name: value for name, value in options.items() if name != "lr"})
        if "initial_lr" in group:  # of which the schedule makes the rate of each step
            group["initial_lr"] = options["lr"]


def refuse_to_repeat(folder: Path, first: int = 1) -> None:
    """Without a checkpoint, what a run came to would be written over by training from the start.

    Raises:
        UserError: if there is a result, or there was a checkpoint.
    """
    result, reached = stored.result_of(folder), last_point(folder)
    state, steps = result.get("state"), result.get("steps")
    ended = state in stored.FINISHED or result.get("metrics")
    ended = ended and result.get("mode") == "train"
    if not ended and reached < first and not (folder / "checkpoints" / "best.pt").exists():
        return
    there = f"the result of {steps} steps" if ended else f"curves to step {reached}"
    raise UserError(
        f"{shown(folder)} holds {there}, but no checkpoint to resume, and training from step 0 "
        "would write over that: put checkpoints/last.pt back, or train in another folder"
    )


def last_point(folder: Path) -> int:
    """The last step in metrics.jsonl; 0 while there is none."""
    path, steps = folder / "metrics.jsonl", [0]
    text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
    for line in text.splitlines():
        with suppress(ValueError, TypeError, KeyError):  # what is no point
            steps.append(int(json.loads(line)["step"]))
    return max(steps)


def prepare(task: nn.Module, runtime: Runtime) -> None:
    """Let the right-hand sides f(t, x) in a task run as the runtime says: what its parts call
    ``field``.
    """
    parts = [getattr(module, "field", None) for module in task.modules()]
    fields = [part for part in parts if isinstance(part, nn.Module)]
    for each in fields:
        runtime.prepare(each)
    if (runtime.amp or runtime.compile) and not fields:
        log.warning("runtime.amp and runtime.compile are for fields f(t, x); there is none here")


def part_of(parts: DictConfig, name: str, *kinds: type) -> Any:
    """The object of a group, of these classes or with the methods of these protocols.

    Raises:
        UserError: if it is another.
    """
    part = construct(parts[name])
    refuse_other(part, name, *kinds)
    return part


def refuse_other(part: object, name: str, *kinds: type) -> None:
    """Refuse what a group was made to construct, if it is not of these kinds."""
    for kind in kinds:
        protocol = methods(kind) if getattr(kind, "_is_protocol", False) else []
        fits = bool(protocol) or isinstance(part, kind)
        if not fits or not all(hasattr(part, method) for method in protocol):
            what = type(part).__name__
            raise UserError(f"{name}._target_ makes a {what}, must make a {kind.__name__}")


def construct(node: DictConfig, **provided: object) -> Any:
    """The object that a node stands for. Plain lists and dicts go in: in OmegaConf's own containers
    a dataclass instance would become a configuration again.
    """
    return instantiate(node, _convert_="all", **provided)
