"""The state of a run's data: what its rows were scaled by, and where its time begins."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from hydra.errors import InstantiationException
from hydra.utils import get_object, instantiate
from omegaconf import DictConfig

from .schema import OF_A_RUN, UserError, first_line
from .training import CheckpointError, Checkpoints, Data, load_checkpoint

log = logging.getLogger(__name__)


def construct_data(config: DictConfig, resumed: Path | None, device: torch.device) -> Data:
    """The data set of a configuration. That of a run which is evaluated, sampled or resumed has the
    scaling and the origin of the run, from its checkpoint, not its own rows'.

    Args:
        resumed: folder of the run, if one is resumed.

    Raises:
        UserError: if what the checkpoint holds of the data is malformed.
    """
    provided: dict[str, Any] = {"seed": config.seed, "device": device}
    folder = Path(config.run) if config.mode in OF_A_RUN else resumed
    if takes_state(config.data) and folder is not None:
        checkpoint = next(_checkpoints(folder, device), None)
        if checkpoint is not None:
            state = checkpoint.get("data") or None
            if not isinstance(state, Mapping | None):
                raise UserError(f"{folder}: data is a {type(state).__name__}, which it cannot be")
            provided["state"] = state
            if "data" not in checkpoint:
                log.warning(
                    "%s is of an earlier version and does not hold what its rows were scaled by: "
                    "these are scaled by their own statistics",
                    folder,
                )
    # Handed to Hydra, the state would be taken as configuration, and what it names be called.
    make = instantiate(config.data, _convert_="all", _partial_=True)
    try:
        return make(**provided)
    except Exception as error:  # as Hydra does where it makes an object at once
        odd = isinstance(error, LookupError | TypeError | AttributeError | RuntimeError)
        if odd and provided.get("state") is not None:
            said = f"{folder} holds no state that its data can use ({first_line(error)})"
            raise UserError(said) from error
        raise InstantiationException(f"{error!r}\nfull_key: data") from error


def takes_state(node: DictConfig) -> bool:
    """Whether a data set can be given the state of a run."""
    return "state" in inspect.signature(get_object(node._target_)).parameters


def state_of(data: Data) -> dict[str, Any]:
    """What goes into a checkpoint; nothing where all is as the files or the generator have it."""
    return getattr(data, "state_dict", dict)()


def _checkpoints(path: Path, device: torch.device) -> Iterator[dict[str, Any]]:
    """The checkpoints of a run that can be read, or the one that is named: of a run all hold the
    same state of the data. Whoever loads the weights says what is wrong with others.
    """
    there = Checkpoints(path / "checkpoints")
    for file in (there.last, there.previous, there.best) if path.is_dir() else (path,):
        with suppress(CheckpointError):
            yield load_checkpoint(file, device)
