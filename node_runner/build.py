"""A run from its configuration."""

from __future__ import annotations

import logging
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from torch import nn

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
    told(task.check, data)
    prepare(task, runtime)
    total = told(trainer.steps, data)
    state = trainer.begin(task, told(construct(parts.optimizer), task.parameters()))
    state.data = state_of(data)
    lock = lock or stored.claim(folder)
    if lock is None:
        raise UserError(f"another process is writing to {shown(folder)}")
    if resumes:
        go_on(state, folder, total, device)
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


def go_on(state: TrainingState, folder: Path, total: int, device: torch.device) -> None:
    """Load the newest checkpoint of a folder.

    Raises:
        UserError: if it is of something else, or further than the run is to go.
    """
    remove_partial_files(folder)
    checkpoints = Checkpoints(folder / "checkpoints")
    newest = None
    if checkpoints.exist():
        newest = told(checkpoints.newest, device)
        told(state.load_state_dict, newest, str(checkpoints.folder))
    else:
        refuse_to_repeat(folder)
    step = state.progress.step
    if step > total:
        raise UserError(f"{folder} has done {step} steps, and the limits typed are {total}")
    if newest is not None:
        checkpoints.mend_best(newest)
    (folder / "result.json").unlink(missing_ok=True)  # it is no longer true
    log.info("%s goes on from step %d", shown(folder), step)


def refuse_to_repeat(folder: Path) -> None:
    """A result is not replaced by training from step 0 because its checkpoints are gone.

    Raises:
        UserError: if the folder holds one of a trained run.
    """
    result = stored.result_of(folder)
    if result.get("mode") == "train" and (result.get("state") == "done" or result.get("metrics")):
        raise UserError(
            f"{shown(folder)} holds the result of {result.get('steps')} steps, but no checkpoint "
            f"to resume; bring {shown(folder / 'checkpoints')} back, or train in another folder"
        )


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
