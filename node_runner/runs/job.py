"""A job from its configuration to its result: where it belongs, what it resumes, and its run."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from filelock import BaseFileLock
from omegaconf import DictConfig, OmegaConf

from ..errors import UserError, first_line
from . import store, trust
from .lock import refuse_links
from .paths import relative, typed_option
from .schema import MODES_OF_EXISTING_RUN, check
from .store import Call

__all__ = ["fetch", "run_job"]

log = logging.getLogger(__name__)

# What torch says of tensors whose shapes do not fit, and what may bring that about.
_MISFIT = re.compile(
    r"cannot be multiplied|must match|is invalid for input|[Ee]xpected .*(size|shape)"
)
_MODEL = re.compile(r"[+~]*(model|task|series|data)\b")


def fetch(config: DictConfig) -> None:
    """Download and verify the data of a task; print what they are and where they lie.

    Args:
        config: Checked configuration.

    Raises:
        UserError: If they cannot be had.
    """
    import torch

    from .construct import Parts

    data = Parts(config).make("data", seed=config.seed, device=torch.device("cpu"))
    sizes = ", ".join(f"{size:,} {split}" for split, size in data.sizes.items())
    print(f"{data.name} ({data.part}): {sizes}; in {Path(config.paths.data).absolute()}")


def run_job(config: DictConfig, call: Call) -> str:
    """Build and execute the run that a job is. Return its state.

    Args:
        config: Checked configuration. Where it names a stored run, that is checked here.
        call: How the job was asked for.

    Raises:
        UserError: For what the check, a constructor or the file system refuses.
    """
    place = _locate(config, call)
    if place.config is not config:
        check(place.config)
    if place.finished is not None:
        log.info("%s is %s already", relative(place.folder), place.finished)
        return place.finished
    if place.resumes:
        refuse_links(place.folder)
    from .build import build
    from .run import log_file

    with log_file(place.folder):
        for note in place.notes:
            log.warning("%s", note)
        call = replace(call, folder=place.folder)
        run = build(place.config, call, place.resumes, place.lock)
        try:
            return run.execute()
        except UserError:
            raise
        except (OSError, ValueError, RuntimeError) as error:
            refusal = _refusal(error, run.state.progress.step, place, call)
            if refusal is None:
                raise
            raise UserError(refusal) from error


def _refusal(error: Exception, step: int, place: _Place, call: Call) -> str | None:
    """Return one line for an error of a run that is not a fault of the program."""
    from ..ode import OptionError

    if isinstance(error, OSError):
        remedy = f"node-run {typed_option('resume', relative(place.folder))} goes on"
        if place.config.mode != "train":
            remedy = "give the same command again"
        return f"{error}; with room there, {remedy}"
    if isinstance(error, OptionError):
        return f"solver.{error}"  # it names an argument of Solver
    if not isinstance(error, RuntimeError) or step or not _MISFIT.search(str(error)):
        return None
    log.debug("the first step failed", exc_info=True)
    typed = [override for override in call.overrides if _MODEL.match(override)]
    return (
        f"the parts of the model or its data do not fit together: {first_line(error)}; check the "
        f"sizes in {', '.join(typed) or 'its configuration'}"
    )


class _Place(NamedTuple):
    """Where a job belongs.

    Attributes:
        config: Its configuration.
        folder: Its folder.
        resumes: Whether it resumes the run there.
        lock: Lock on the folder, if it is held already.
        finished: State of the run there, if nothing remains to be done.
        notes: Notes for the user.
    """

    config: DictConfig
    folder: Path
    resumes: bool = False
    lock: BaseFileLock | None = None
    finished: str | None = None
    notes: Sequence[str] = ()


def _locate(config: DictConfig, call: Call) -> _Place:
    """Return where a job belongs: its own folder, or that of the run which it resumes.

    Raises:
        UserError: If that is not a run, was edited, names what is not trusted, or would become
            another run.
    """
    notes: list[str] = []
    changed: list[str] = []
    run = None
    if config.mode in MODES_OF_EXISTING_RUN:
        run = store.read(config.run, "run")
    elif config.resume not in (None, "auto"):
        run = store.read(config.resume, "resume")
    if run is None:
        if names := trust.foreign(trust.targets(OmegaConf.to_container(config))):
            notes.append(f"trusted, as it is named today: {', '.join(names)}")
    else:
        config, changed, notes = _of_stored(run, config, call)
    if call.sweep and (call.folder / "command.yaml").exists():
        _check_same(call.folder, config)
        notes += store.read(call.folder, "sweep").check_edits(config.accept_edits)
        state = store.state_of(call.folder)
        finished = state if state in store.FINISHED else None
        return _Place(config, call.folder, resumes=True, finished=finished, notes=notes)
    if run is not None and config.mode not in MODES_OF_EXISTING_RUN:
        run.check_resumable(config, changed)
        return _Place(config, run.folder, resumes=True, notes=notes)
    newest = store.unfinished(config) if config.resume == "auto" else None
    if newest is not None:
        return _Place(config, newest[0], True, newest[1], notes=notes)
    return _Place(config, call.folder, notes=notes)


def _of_stored(
    run: store.StoredRun, config: DictConfig, call: Call
) -> tuple[DictConfig, list[str], list[str]]:
    """Return the configuration of a stored run with what was typed today, the keys that this
    changes, and notes for the user.

    Raises:
        UserError: If it was edited, or names what is not trusted.
    """
    trusted = trust.names(config.trust)
    typed = run.overridden_keys(call.overrides)
    config, changed = run.apply_overrides(config, typed)
    trust.check_stored(config, str(run.folder), trusted)
    notes = run.check_edits(config.accept_edits)
    if names := trust.foreign(trust.targets(OmegaConf.to_container(config))):
        notes.append(f"trusted, as you allow it today: {', '.join(names)}")
    return config, changed, notes


def _check_same(folder: Path, config: DictConfig) -> None:
    """Check that the run in a job's folder is that of the job.

    Raises:
        UserError: If a file of conf/ has changed what the command means.
    """
    stored = store.comparable(store.read(folder, "sweep").config)
    today = store.comparable(config)
    for key in {**stored, **today}:
        if stored.get(key) != today.get(key):
            raise UserError(
                f"{folder} was run with {key}={stored.get(key)}, and the same command now means "
                f"{today.get(key)}: move that folder away, or give hydra.sweep.dir="
            )
