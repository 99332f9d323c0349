"""A run from its configuration."""

from __future__ import annotations

import logging
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig
from torch import nn

from . import stored
from .data_state import construct_data, state_of
from .result import as_typed, shown, write_json
from .run import Run
from .schema import UserError, told
from .training import Checkpoints, Logger, Runtime, TrainingState
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
    parts = deepcopy(config)  # to instantiate resolves what it is given, in place
    runtime, trainer = construct(parts.runtime), construct(parts.trainer)
    device = told(runtime.apply, config.seed)
    data = construct_data(parts, folder if resumes else None, device)
    task = construct(parts.task).to(device)
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
    logger = Logger(folder, state.progress.step if resumes else None)
    made = (device, runtime, data, trainer, state, logger, lock)
    return Run(name, folder, config, typed, here, *made)


def go_on(state: TrainingState, folder: Path, total: int, device: torch.device) -> None:
    """Load the newest checkpoint of a folder.

    Raises:
        UserError: if it is of something else, or further than the run is to go.
    """
    checkpoints = Checkpoints(folder / "checkpoints")
    if checkpoints.last.exists() or checkpoints.previous.exists():
        told(state.load_state_dict, told(checkpoints.newest, device), str(folder))
    step = state.progress.step
    if step > total:
        raise UserError(f"{folder} has done {step} steps, and the limits typed are {total}")
    (folder / "result.json").unlink(missing_ok=True)  # it is no longer true
    log.info("%s goes on from step %d", shown(folder), step)


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


def construct(node: DictConfig, **provided: object) -> Any:
    """The object that a node stands for. Plain lists and dicts go in: in OmegaConf's own containers
    a dataclass instance would become a configuration again.
    """
    return instantiate(node, _convert_="all", **provided)
