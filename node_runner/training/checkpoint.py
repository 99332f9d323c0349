"""Checkpoints that are either whole or absent."""

from __future__ import annotations

import io
import logging
import os
import pickle
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .files import write_whole

log = logging.getLogger(__name__)

FORMAT = 1  # raised when what a checkpoint holds changes


class CheckpointError(ValueError):
    """A file that cannot be used as a checkpoint, and why."""


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write tensors and plain values; the old file stays until the new one is whole.

    Raises:
        OSError: naming the file, if there is no room for it or no right to write it.
    """
    write_whole(path, encoded(state))


def encoded(state: dict[str, Any]) -> bytes:
    """The content of a checkpoint."""
    content = io.BytesIO()  # torch would report a full disk as an error of its own, without reason
    torch.save({"format": FORMAT, **state}, content)
    return content.getvalue()


def load_checkpoint(path: Path, device: torch.device | None = None) -> dict[str, Any]:
    """What ``save_checkpoint`` wrote; tensors and plain values only, no code is run.

    Raises:
        CheckpointError: if the file is absent, cut short, or no checkpoint of node_runner.
    """
    try:
        state = torch.load(path, map_location=device, weights_only=True)
    except FileNotFoundError:
        raise CheckpointError(f"{path} is absent") from None
    except pickle.UnpicklingError:
        raise CheckpointError(f"{path} is no checkpoint of node_runner") from None
    except (RuntimeError, EOFError, OSError, ValueError, LookupError) as error:
        raise CheckpointError(f"{path} is damaged ({str(error).partition(chr(10))[0]})") from error
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise CheckpointError(f"{path} is no checkpoint of node_runner in format {FORMAT}")
    return state


@dataclass(frozen=True)
class Checkpoints:
    """The checkpoints of a run, in ``folder``: last.pt, the one before it, and best.pt."""

    folder: Path

    @property
    def last(self) -> Path:
        return self.folder / "last.pt"

    @property
    def previous(self) -> Path:
        return self.folder / "previous.pt"

    @property
    def best(self) -> Path:
        return self.folder / "best.pt"

    def save(self, state: dict[str, Any], best: bool = False) -> None:
        """Write last.pt, keeping the one before; best.pt too if ``best``."""
        self.folder.mkdir(exist_ok=True)
        content = encoded(state)
        if best:
            write_whole(self.best, content)
        if self.last.exists():
            # A link, not a move: there is a last.pt at every moment.
            link = self.previous.with_name("previous.pt.partial")
            link.unlink(missing_ok=True)
            try:
                os.link(self.last, link)
            except OSError:  # a file system without links
                shutil.copyfile(self.last, link)
            os.replace(link, self.previous)
        write_whole(self.last, content)

    def newest(self, device: torch.device) -> dict[str, Any]:
        """The state of last.pt; where that is damaged, of the one before it, and the damaged file
        is removed, lest it becomes the one before.

        Raises:
            CheckpointError: if neither can be read.
        """
        try:
            return load_checkpoint(self.last, device)
        except CheckpointError as error:
            if not self.previous.exists():
                raise
            state = load_checkpoint(self.previous, device)
            log.warning("%s; going on from the one before it, %s", error, self.previous)
            self.last.unlink(missing_ok=True)
            return state


def check_tensors(own: Mapping[str, Any], found: Mapping[str, Any], what: str) -> None:
    """Both hold tensors of the same names and shapes.

    Raises:
        CheckpointError: naming the first that differs.
    """
    for name in [*own, *found]:
        if name not in found:
            raise CheckpointError(f"{what} has no {name}, which the configuration asks for")
        if name not in own:
            raise CheckpointError(f"{what} has {name}, which the configuration does not ask for")
        if isinstance(own[name], Tensor) and own[name].shape != found[name].shape:
            here, there = tuple(own[name].shape), tuple(found[name].shape)
            raise CheckpointError(f"{what}: {name} has shape {there}, not {here} as configured")
