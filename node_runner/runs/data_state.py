"""State of a run's data: what its rows are scaled by, and where its time begins."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from hydra.utils import get_object
from omegaconf import DictConfig

from ..errors import UserError, first_line
from ..training import CheckpointError, Checkpoints, Data, load_checkpoint
from .construct import Parts
from .schema import MODES_OF_EXISTING_RUN

__all__ = ["construct_data", "state_of"]

log = logging.getLogger(__name__)


def construct_data(
    parts: Parts, config: DictConfig, resumed: Path | None, device: torch.device
) -> Data:
    """Return the data set of a configuration. The data of a run that is evaluated, sampled or
    resumed are scaled as that run scaled its own rows, by the state in its checkpoint.

    Args:
        parts: Objects of the configuration.
        config: Checked configuration.
        resumed: Folder of the run that is resumed, if one is.
        device: Device of the batches.

    Raises:
        UserError: If an argument is refused, or the state in the checkpoint is malformed.
    """
    provided: dict[str, Any] = {"seed": config.seed, "device": device}
    evaluates = config.mode in MODES_OF_EXISTING_RUN
    folder = Path(config.run) if evaluates else resumed
    if folder is not None and _takes_state(config.data):
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
    try:
        return parts.make("data", **provided)
    except (LookupError, TypeError, AttributeError) as error:
        if provided.get("state") is None:
            raise
        unusable = f"{folder} holds no state that its data can use ({first_line(error)})"
        raise UserError(unusable) from error


def _takes_state(node: DictConfig) -> bool:
    """Return whether a data set can be given the state of a run."""
    return "state" in inspect.signature(get_object(node._target_)).parameters


def state_of(data: Data) -> dict[str, Any]:
    """Return the state for a checkpoint; empty where rows are as the files or the generator have
    them.
    """
    return getattr(data, "state_dict", dict)()


def _checkpoints(path: Path, device: torch.device) -> Iterator[dict[str, Any]]:
    """Yield the readable checkpoints of a run, or the one that is named: all hold the same state of
    the data. Whoever loads the weights reports the unreadable ones.
    """
    run = Checkpoints(path / "checkpoints")
    for file in (run.last, run.previous, run.best) if path.is_dir() else (path,):
        with suppress(CheckpointError):
            yield load_checkpoint(file, device)
