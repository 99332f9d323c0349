"""Checkpoints: written whole or not at all, and verified before they are used."""

from __future__ import annotations

import io
import logging
import os
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.serialization import get_crc32_options, set_crc32_options

from ..disk import PARTIAL, open_regular, write_whole
from .digest import DamagedError, add_digest, is_archive, verify

log = logging.getLogger(__name__)

FORMAT = 1  # raised when what a checkpoint holds changes

_without_digest: set[Path] = set()  # those that have been mentioned


class CheckpointError(ValueError):
    """A file that cannot be used as a checkpoint, and why."""


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write tensors and plain values with a digest; the old file stays until the new one is whole.

    Raises:
        OSError: naming the file, if there is no room for it or no right to write it.
    """
    write_whole(path, _encoded(state))


def _encoded(state: dict[str, Any]) -> memoryview:
    """The content of a checkpoint."""
    content = io.BytesIO()  # torch would report a full disk as an error of its own, without reason
    sums = get_crc32_options()
    set_crc32_options(True)  # the digest rests on them
    try:
        torch.save({"format": FORMAT, **state}, content)
    finally:
        set_crc32_options(sums)
    add_digest(content)
    return content.getbuffer()


def load_checkpoint(path: Path, device: torch.device | None = None) -> dict[str, Any]:
    """Read what ``save_checkpoint`` wrote; tensors and plain values only, no code is run.

    Raises:
        CheckpointError: if the file is absent, damaged, or not a checkpoint of node_runner.
    """
    content = _content(path)
    try:
        sealed = verify(content)
        state = torch.load(io.BytesIO(content), map_location=device, weights_only=True)
    except DamagedError as error:
        raise CheckpointError(f"{path} is damaged: {error}") from None
    except Exception as error:  # whatever a file that somebody else made may lead to
        raise CheckpointError(
            f"{path} is not a checkpoint of node_runner ({_first_line(error)})"
        ) from error
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise CheckpointError(f"{path} is not a checkpoint of node_runner in format {FORMAT}")
    if not sealed and path not in _without_digest:
        _without_digest.add(path)
        log.info("%s has no digest (an earlier version wrote it); its records are checked", path)
    return state


def _content(path: Path) -> bytes:
    """The bytes of a file that may be a checkpoint.

    Raises:
        CheckpointError: if it is not one at first sight.
    """
    try:
        with open_regular(path) as file:
            head = file.read(4)
            if is_archive(head):
                return head + file.read()
    except FileNotFoundError:
        raise CheckpointError(f"{path} is absent") from None
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read ({error.strerror or error})") from None
    what = "a checkpoint of node_runner" if head else "a checkpoint: it is empty"
    raise CheckpointError(f"{path} is not {what}")


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0][:200] or type(error).__name__


class Loaded(NamedTuple):
    """A state, the file that it was in, and what was said if others could not be read."""

    state: dict[str, Any]
    path: Path
    said: str | None = None


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

    @property
    def all(self) -> tuple[Path, Path, Path]:
        """In the order in which they are asked for the state of a run."""
        return self.last, self.previous, self.best

    def exist(self) -> bool:
        """Whether there is any, readable or not."""
        return any(map(os.path.lexists, self.all))

    def save(self, state: dict[str, Any], best: bool = False) -> None:
        """Write last.pt, keeping the one before; best.pt too if ``best``.

        last.pt comes first: a run that is killed between the two finds the best weights there (see
        ``mend_best``), while a best.pt of a later step than last.pt would have replaced the
        weights that were the best until then.
        """
        self.folder.mkdir(exist_ok=True)
        content = _encoded(state)
        if self.last.is_file():
            # A link, not a move: there is a last.pt at every moment.
            link = self.previous.with_name(self.previous.name + PARTIAL)
            link.unlink(missing_ok=True)
            try:
                os.link(self.last, link)
            except OSError:  # a file system without links
                shutil.copyfile(self.last, link)
            os.replace(link, self.previous)
        write_whole(self.last, content)
        if best:
            write_whole(self.best, content)

    def mend_best(self, state: dict[str, Any]) -> None:
        """Write best.pt if ``state``, of last.pt, has the best weights and is not there; say so if
        best.pt is lost otherwise.

        Raises:
            OSError: if it cannot be written.
        """
        step, best_step = (state["progress"][key] for key in ("step", "best_step"))
        found = None
        if best_step is None:
            return
        try:
            found = load_checkpoint(self.best)["progress"]["step"]
        except (CheckpointError, LookupError, TypeError) as error:
            if step != best_step:
                log.warning("%s: the best weights so far, of step %d, are lost", error, best_step)
            else:
                log.warning("%s; written anew, since the last weights are the best", error)
        if step == best_step != found:
            save_checkpoint(self.best, state)

    def newest(self, device: torch.device) -> dict[str, Any]:
        """Load last.pt; where it is damaged, the one before it, or else best.pt, from which the
        run can be repeated. A damaged last.pt is moved aside, lest it becomes the one before.

        Raises:
            CheckpointError: if none can be read.
        """
        loaded = self.load_first(self.all, device)
        if loaded.path != self.last and os.path.lexists(self.last):
            with suppress(OSError):
                os.replace(self.last, self.last.with_name(self.last.name + ".damaged"))
        return loaded.state

    def load_first(self, paths: Sequence[Path], device: torch.device) -> Loaded:
        """Load the first of some checkpoints that can be read; warn if others come before it.

        Raises:
            CheckpointError: of the first, if none can be read.
        """
        failed: CheckpointError | None = None
        for path in paths:
            try:
                state = load_checkpoint(path, device)
            except CheckpointError as error:
                failed = failed or error
                continue
            if failed is None:
                return Loaded(state, path)
            before = "the one before it, " if path == self.previous else ""
            said = f"{failed}; going on from {before}{path}"
            log.warning("%s", said)
            return Loaded(state, path, said)
        raise failed or CheckpointError(f"{self.folder} holds no checkpoint")


def check_tensors(own: Mapping[str, Any], found: object, what: str) -> None:
    """Check that both hold tensors of the same names, shapes and dtypes.

    Raises:
        CheckpointError: naming the first that differs.
    """
    if not isinstance(found, Mapping):
        raise CheckpointError(f"{what} holds a {type(found).__name__} where weights should be")
    for name in [*own, *found]:
        if name not in found:
            raise CheckpointError(f"{what} has no {name}, which the configuration asks for")
        if name not in own:
            raise CheckpointError(f"{what} has {name}, which the configuration does not ask for")
        if isinstance(own[name], Tensor):
            check_tensor(own[name], found[name], f"{what}: {name}")


def check_tensor(own: Tensor, found: object, what: str) -> None:
    """Check that ``found`` is a tensor of the same shape and dtype, or of one that fits into it: an
    earlier version kept the units of a trajectory in float32.

    Raises:
        CheckpointError: saying what it is instead.
    """
    if not isinstance(found, Tensor):
        raise CheckpointError(f"{what} is a {type(found).__name__}, not a tensor")
    if own.shape != found.shape:
        here, there = tuple(own.shape), tuple(found.shape)
        raise CheckpointError(f"{what} has shape {there}, not {here} as configured")
    if own.dtype != found.dtype and (own.dtype, found.dtype) != (torch.float64, torch.float32):
        raise CheckpointError(f"{what} has dtype {found.dtype}, not {own.dtype} as configured")
