"""Folders of runs: what a run was started with, whether it may be resumed, and what it resulted in.

A run is composed again from the overrides that it was started with, and what is typed on top of
them changes its stored configuration leaf by leaf. So a file of conf/ that has changed since does
not change the run.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import BaseFileLock
from hydra import compose
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from ..disk import read_json, write_whole
from ..errors import UserError, first_line
from . import origin
from .config import has_prefix, home, leaves, top_level
from .lock import acquire_lock

log = logging.getLogger(__name__)

INVOCATION_KEYS = ("mode", "run", "resume")  # of a call, not of the run
PERMISSION_KEYS = ("trust", "accept_edits")  # given for one call, and never stored
NOT_REPLAYED = (*INVOCATION_KEYS, *PERMISSION_KEYS, "launcher", "sweep")
# Options that do not affect the result: device, progress, paths.
NEUTRAL_KEYS: tuple[str, ...] = ("runtime.device", "runtime.threads", "runtime.profile")
NEUTRAL_KEYS += ("trainer.log_every", "trainer.progress", "trainer.checkpoint_every", "paths")
LIMIT_KEYS = ("trainer.max_steps", "trainer.max_epochs", "trainer.max_time")
RESUMABLE_KEYS = (*LIMIT_KEYS, *NEUTRAL_KEYS)  # may change when a run is resumed
FINISHED = ("done", "diverged")

# Raised where a file is not YAML, or not of node-run.
_UNREADABLE: tuple[type[Exception], ...] = (OSError, OmegaConfBaseException, YAMLError)
_UNREADABLE += (KeyError, TypeError, ValueError, AttributeError, RecursionError)


@dataclass(frozen=True)
class Call:
    """How one run, or one job of a sweep, was asked for.

    Attributes:
        folder: Folder made for it.
        task: Name of its task.
        overrides: Its overrides, as they were typed.
        config_dir: Folder of the user with groups of configuration files.
        sweep: Whether it is a job of a sweep.
    """

    folder: Path
    task: str
    overrides: Sequence[str]
    config_dir: str | None = None
    sweep: bool = False


@dataclass(frozen=True)
class StoredRun:
    """A run's folder, its configuration, and how it was started."""

    folder: Path
    config: DictConfig
    overrides: list[str]
    config_dir: str | None = None

    def replayed(self) -> list[Override]:
        """Return the overrides that compose the run's configuration again.

        Nothing of Hydra's is among them, nor ``paths.out`` unless the run lies there: what they
        would start, and where they would write, is up to today's call.

        Raises:
            UserError: For overrides that node-run did not write.
        """
        file = self.folder / "command.yaml"
        try:
            overrides = OverridesParser.create().parse_overrides(self.overrides)
        except HydraException as error:
            raise UserError(f"{file}: {first_line(error)}") from error
        for override in overrides:
            if "hydra" in (top_level(override.key_or_group), top_level(override.package or "")):
                raise UserError(
                    f"{file} holds {override.input_line}: nothing of hydra is taken from a stored "
                    "run; delete the line, and type it if you trust it"
                )
        return [o for o in overrides if o.key_or_group not in NOT_REPLAYED and self._stays(o)]

    def _stays(self, override: Override) -> bool:
        """Return whether the override leaves paths.out alone, or names where the run lies."""
        key, value = override.key_or_group, override.value()
        if key == "paths" and isinstance(value, dict):
            key, value = "paths.out", value.get("out")
        if key != "paths.out":
            return key != "paths"
        # out/task/stamp, or out/task/sweep/job
        return Path(str(value)).expanduser().absolute() in self.folder.absolute().parents[1:3]

    def overridden_keys(self, overrides: Sequence[str]) -> list[str]:
        """Return the keys of overrides other than those that the run was started with."""
        stored = [(o.key_or_group, o.value()) for o in self.replayed()]
        today = OverridesParser.create().parse_overrides(list(overrides))
        keys = [o.key_or_group for o in today if (o.key_or_group, o.value()) not in stored]
        return [key.replace("/", ".") for key in keys]

    def apply_overrides(
        self, config: DictConfig, typed: Sequence[str] = ()
    ) -> tuple[DictConfig, list[str]]:
        """Return the stored configuration with what was typed, and the keys that this changes.

        Args:
            config: Configuration composed of the run's overrides and what was typed.
            typed: Keys that were typed, which count even where config.yaml has another value than
                the run's overrides.
        """
        stored = [override.input_line or "" for override in self.replayed()]
        old, before, after = (leaves(c) for c in (self.config, compose("config", stored), config))
        of_call = INVOCATION_KEYS + PERMISSION_KEYS
        changed = [
            key
            for key in {**old, **before, **after}
            if before.get(key) != after.get(key) or has_prefix(key, typed) or key in of_call
        ]
        new = self.config.copy()
        with open_dict(new):
            for key in changed:  # what went comes before what came
                parent, _, leaf = key.rpartition(".")
                if key in after:
                    OmegaConf.update(new, key, after[key], merge=False, force_add=True)
                elif (node := OmegaConf.select(new, parent) if parent else new) is not None:
                    node.pop(leaf, None)
        other = [key for key in changed if old.get(key) != after.get(key)]
        return new, [key for key in other if key not in of_call]

    def edits(self) -> list[origin.Edit] | None:
        """Return what was edited since the run was made; None if the run holds no origin.json.

        Raises:
            UserError: If that was edited itself.
        """
        now = _origin(self.config, self.overrides, self.config_dir)
        return origin.edits(self.folder, now, lambda key: has_prefix(key, RESUMABLE_KEYS))

    def check_edits(self, accept: bool) -> list[str]:
        """Check that the configuration was not edited, which makes another run of it.

        Returns:
            Notes for the user.

        Raises:
            UserError: Naming the first edited value, as it was and is.
        """
        edits = self.edits()
        if edits is None:
            return [f"{self.folder} has no {origin.FILE}: edits since it was made go unnoticed"]
        if not edits:
            return []
        others = sorted({edit.key for edit in edits[1:]})
        seen = f"{edits[0]}{f' (also changed: {chr(44).join(others)})' if others else ''}"
        if accept:
            note = "was edited since it was made, as accept_edits=true allows"
            return [f"{self.folder} {note}: {seen}"]
        raise UserError(
            f"{self.folder} was edited since it was made: {seen}",
            suggestion="put that back, or add accept_edits=true to use it as it is now",
        )

    def check_resumable(self, config: DictConfig, changed: Sequence[str]) -> None:
        """Check that the changed keys leave it the same run.

        Raises:
            UserError: Naming the first value that would make it another.
        """
        for key in changed:
            if not has_prefix(key, RESUMABLE_KEYS):
                stored, typed = (OmegaConf.select(c, key) for c in (self.config, config))
                raise UserError(
                    f"resume={self.folder} resumes a run with {key}={stored}, but {typed} was "
                    f"typed; only {', '.join(RESUMABLE_KEYS)} may change"
                )


def read(path: str | Path, option: str) -> StoredRun:
    """Return the run in a folder, or the run that a checkpoint belongs to.

    Args:
        path: Folder or checkpoint.
        option: Option that names it, for messages: run, resume or sweep.

    Raises:
        UserError: If it is not a run.
    """
    folder = Path(path)
    if folder.is_file() and option == "run":
        folder = folder.parents[1] if folder.parent.name == "checkpoints" else folder.parent
    if not folder.is_dir():
        raise UserError(f"{option}={path}: there is no such folder{_nearest_run(folder)}")
    try:
        config = _load(folder / "config.yaml")
        command: Any = OmegaConf.to_container(_load(folder / "command.yaml"))
        overrides, config_dir = command["overrides"], command["config_dir"]
        if not all(isinstance(text, str) for text in [*overrides, config_dir or ""]):
            raise ValueError("command.yaml holds something else than overrides")
        return StoredRun(folder, config, overrides, config_dir)
    except _UNREADABLE as error:
        raise UserError(
            f"{option}={path} is not a run: {first_line(error)}; a run's folder is such as "
            "outputs/<task>/<stamp> and holds config.yaml and command.yaml"
        ) from error


def _load(path: Path) -> DictConfig:
    """Return the mapping in a YAML file; only plain values are made of it.

    Raises:
        OSError, ValueError: If it does not hold one.
    """
    if path.exists() and not path.is_file():  # to open a pipe would wait
        raise OSError(f"{path} is not a file")
    config = OmegaConf.load(path)
    if not isinstance(config, DictConfig):
        raise ValueError(f"{path} does not hold keys and values")
    return config


def _nearest_run(folder: Path) -> str:
    """Return a hint at the newest run next to an absent folder."""
    runs = [file.parent for file in folder.parent.glob("*/command.yaml")]
    return f"; the newest run there is {max(runs, key=modified)}" if runs else ""


def write(config: DictConfig, call: Call) -> list[str]:
    """Write the files that ``read`` reads. Return the run's overrides.

    A run that is resumed is the same run: of its overrides only those change that may.
    """
    kept = config.copy()
    with open_dict(kept):
        kept.update(resume=None, trust=None, accept_edits=False)
    passing = ("resume", "launcher", *PERMISSION_KEYS)
    overrides = [o for o in call.overrides if key_of(o) not in passing]
    config_dir = call.config_dir
    if (call.folder / "command.yaml").exists():
        before: Any = OmegaConf.to_container(_load(call.folder / "command.yaml"))
        today = [o for o in overrides if has_prefix(key_of(o), RESUMABLE_KEYS)]
        earlier = [o for o in before["overrides"] if not has_prefix(key_of(o), RESUMABLE_KEYS)]
        overrides, config_dir = earlier + today, before["config_dir"]
    files = {
        origin.FILE: origin.content(_origin(kept, overrides, config_dir)),  # first: it makes no run
        "config.yaml": OmegaConf.to_yaml(kept),
        "command.yaml": OmegaConf.to_yaml({"overrides": overrides, "config_dir": config_dir}),
    }
    for name, text in files.items():
        write_whole(call.folder / name, text)
    return overrides


def _origin(config: DictConfig, overrides: Sequence[str], config_dir: str | None) -> origin.Origin:
    """Return what may not change while it is the same run."""
    return {
        "config.yaml": {
            k: v for k, v in comparable(config).items() if not has_prefix(k, LIMIT_KEYS)
        },
        "command.yaml": {
            "overrides": [o for o in overrides if not has_prefix(key_of(o), RESUMABLE_KEYS)],
            "config_dir": config_dir,
        },
    }


def key_of(override: str) -> str:
    """Return the key of a written override, such as ++group@package=choice."""
    return override.lstrip("+~").partition("=")[0].partition("@")[0]


def distinct_overrides(typed: Sequence[Sequence[str]]) -> list[str]:
    """Return, of the overrides of each run, those that are not common to all."""
    common = set.intersection(*map(set, typed)) if len(typed) > 1 else set()
    return [" ".join(o for o in overrides if o not in common) for overrides in typed]


def unfinished(config: DictConfig) -> tuple[Path, BaseFileLock] | None:
    """Return the newest run under paths.out to resume, with the lock on it: one that did not end,
    that no process is writing to, and that has the same configuration but for neutral keys.
    """
    wanted, candidates = comparable(config), []
    for file in Path(home(config.paths.out)).rglob("command.yaml"):
        folder = file.parent
        checkpoints = [p for p in folder.glob("checkpoints/*.pt") if p.stem in ("last", "previous")]
        if checkpoints and state_of(folder) not in FINISHED:
            with suppress(UserError):
                run = read(folder, "resume")
                if comparable(run.config) == wanted:
                    candidates.append((max(map(modified, checkpoints)), run))
    for _, run in sorted(candidates, key=lambda pair: pair[0], reverse=True):
        with suppress(OSError):  # of another user
            try:
                notes = run.check_edits(config.accept_edits)
                lock = acquire_lock(run.folder)
            except UserError as error:
                log.warning("not resumed: %s", error)
                continue
            if lock is not None:
                for note in notes:
                    log.warning("%s", note)
                return run.folder, lock
    return None


def comparable(config: DictConfig) -> dict[str, Any]:
    """Return the values that make a run what it is, by dotted key."""
    skipped = ("run", "resume", *PERMISSION_KEYS, *NEUTRAL_KEYS, "trainer.max_time")
    return {key: value for key, value in leaves(config).items() if not has_prefix(key, skipped)}


def result_of(folder: Path, name: str = "result.json") -> dict[str, Any]:
    """Return the content of result.json; empty while there is none."""
    try:
        content = read_json(folder / name)
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def state_of(folder: Path) -> str | None:
    """Return the state in result.json; None while there is none."""
    return result_of(folder).get("state")


def modified(path: Path) -> float:
    return path.stat().st_mtime
