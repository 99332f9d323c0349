"""Runs that lie on disk: what they were started with, and whether they can go on.

A run is composed again from the overrides that it was started with, and what is typed on top of
them changes its stored configuration, leaf by leaf. So another value in conf/ since then does not
change the run.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from hydra import compose
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from . import origin
from .config import home
from .disk import read_json, write_whole
from .lock import claim
from .schema import UserError, dotted, first_line

log = logging.getLogger(__name__)

CALL = ("mode", "run", "resume")  # of a call, not of the run
PERMITS = ("trust", "accept_edits")  # given for one call, and never stored
NOT_REPLAYED = (*CALL, *PERMITS, "launcher", "sweep")
# What one and the same run may have another of in its next call.
CIRCUMSTANCES = ("runtime.device", "runtime.threads", "runtime.profile", "trainer.log_every")
CIRCUMSTANCES += ("trainer.progress", "trainer.checkpoint_every", "paths")
LIMITS = ("trainer.max_steps", "trainer.max_epochs", "trainer.max_time")
RESUMABLE = (*LIMITS, *CIRCUMSTANCES)
FINISHED = ("done", "diverged")


# What is raised where a file is not YAML, or not of node-run.
UNREADABLE = (OSError, OmegaConfBaseException, KeyError, TypeError, ValueError, YAMLError)
UNREADABLE += (AttributeError, RecursionError)


@dataclass(frozen=True)
class Stored:
    """A run's folder, its configuration, and how it was started."""

    folder: Path
    config: DictConfig
    overrides: list[str]
    config_dir: str | None = None

    def replayed(self) -> list[Override]:
        """The overrides that compose the run's configuration again.

        Nothing of Hydra's is among them, nor ``paths.out`` unless the run lies there: what they
        would start, and where they would write, is up to today's call.

        Raises:
            UserError: for overrides that node-run did not write.
        """
        try:
            overrides = OverridesParser.create().parse_overrides(self.overrides)
        except HydraException as error:
            raise UserError(f"{self.folder / 'command.yaml'}: {first_line(error)}") from error
        for override in overrides:
            if "hydra" in (_root(override.key_or_group), _root(override.package or "")):
                raise UserError(
                    f"{self.folder / 'command.yaml'} holds {override.input_line}: nothing of hydra "
                    "is taken from a stored run; delete the line, and type it if you trust it"
                )
        return [o for o in overrides if o.key_or_group not in NOT_REPLAYED and self._stays(o)]

    def _stays(self, override: Override) -> bool:
        """Whether the override leaves paths.out alone, or names where the run lies."""
        key, value = override.key_or_group, override.value()
        if key == "paths" and isinstance(value, dict):
            key, value = "paths.out", value.get("out")
        if key != "paths.out":
            return key != "paths"
        # out/task/stamp, or out/task/sweep/job
        return Path(str(value)).expanduser().absolute() in self.folder.absolute().parents[1:3]

    def typed_since(self, overrides: Sequence[str]) -> list[str]:
        """The keys of a call's overrides that are not those that the run was started with."""
        own = [(o.key_or_group, o.value()) for o in self.replayed()]
        today = OverridesParser.create().parse_overrides(list(overrides))
        keys = [o.key_or_group for o in today if (o.key_or_group, o.value()) not in own]
        return [key.replace("/", ".") for key in keys]

    def changed_by(
        self, config: DictConfig, typed: Sequence[str] = ()
    ) -> tuple[DictConfig, list[str]]:
        """The stored configuration with what ``config``, composed of the run's own overrides and
        what was typed, changes in it; and the keys that it changes.

        Args:
            typed: Keys that were typed, which count even where config.yaml has another value than
                the run's overrides.
        """
        own = [override.input_line for override in self.replayed()]
        old, before, after = (leaves(c) for c in (self.config, compose("config", own), config))
        changed = [
            key
            for key in {**old, **before, **after}
            if before.get(key) != after.get(key) or within(key, typed) or key in CALL + PERMITS
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
        return new, [key for key in other if key not in CALL + PERMITS]

    def edits(self) -> list[origin.Edit] | None:
        """What was edited since the run was made; None if the run holds no origin.json.

        Raises:
            UserError: if that was edited itself.
        """
        now = _origin(self.config, self.overrides, self.config_dir)
        return origin.edits(self.folder, now, lambda key: within(key, RESUMABLE))


def read(path: str | Path, option: str) -> Stored:
    """The run in a folder, or the run that a checkpoint belongs to.

    Raises:
        UserError: if it is none.
    """
    folder = Path(path)
    if folder.is_file() and option == "run":
        folder = folder.parents[1] if folder.parent.name == "checkpoints" else folder.parent
    if not folder.is_dir():
        raise UserError(f"{option}={path}: there is no such folder{nearest_run(folder)}")
    try:
        config, command = (_load(folder / name) for name in ("config.yaml", "command.yaml"))
        command = OmegaConf.to_container(command)
        overrides, config_dir = command["overrides"], command["config_dir"]
        if not all(isinstance(text, str) for text in [*overrides, config_dir or ""]):
            raise ValueError("command.yaml holds something else than overrides")
        return Stored(folder, config, overrides, config_dir)
    except UNREADABLE as error:
        raise UserError(
            f"{option}={path} is no run: {first_line(error)}; a run's folder is such as "
            "outputs/<task>/<stamp> and holds config.yaml and command.yaml"
        ) from error


def _load(path: Path) -> DictConfig:
    """A group of keys in a file of YAML; nothing but plain values is made of it.

    Raises:
        OSError, ValueError: if it is none.
    """
    if path.exists() and not path.is_file():  # a pipe would be waited for
        raise OSError(f"{path} is not a file")
    config = OmegaConf.load(path)
    if not isinstance(config, DictConfig):
        raise ValueError(f"{path} does not hold keys and values")
    return config


def nearest_run(folder: Path) -> str:
    """Where the newest run beside a folder that is not there lies."""
    beside = [file.parent for file in folder.parent.glob("*/command.yaml")]
    return f"; the newest run there is {max(beside, key=modified)}" if beside else ""


def write(folder: Path, config: DictConfig) -> list[str]:
    """Leave what ``read`` reads, of the job that Hydra is running. Returns its overrides.

    A run that is resumed is the same run: of its overrides only those change that may.
    """
    job = HydraConfig.get()
    kept = config.copy()
    with open_dict(kept):
        kept.update(resume=None, trust=None, accept_edits=False)
    passing = ("resume", "launcher", *PERMITS)
    overrides = [o for o in job.overrides.task if key_of(o) not in passing]
    added = [s.path for s in job.runtime.config_sources if s.provider == "command-line"]
    config_dir = added[0] if added else None
    if (folder / "command.yaml").exists():
        before = OmegaConf.to_container(_load(folder / "command.yaml"))
        today = [o for o in overrides if within(key_of(o), RESUMABLE)]
        overrides = [o for o in before["overrides"] if not within(key_of(o), RESUMABLE)] + today
        config_dir = before["config_dir"]
    made = origin.content(_origin(kept, overrides, config_dir))
    files = {
        origin.FILE: made,  # first: a run that is killed here is no run yet
        "config.yaml": OmegaConf.to_yaml(kept),
        "command.yaml": OmegaConf.to_yaml({"overrides": overrides, "config_dir": config_dir}),
    }
    for name, text in files.items():
        write_whole(folder / name, text)
    return overrides


def _origin(config: DictConfig, overrides: Sequence[str], config_dir: str | None) -> origin.Origin:
    """What may not change while it is the same run."""
    return {
        "config.yaml": {k: v for k, v in comparable(config).items() if not within(k, LIMITS)},
        "command.yaml": {
            "overrides": [o for o in overrides if not within(key_of(o), RESUMABLE)],
            "config_dir": config_dir,
        },
    }


def key_of(override: str) -> str:
    """The key of an override that is written out, such as ++group@package=choice."""
    return override.lstrip("+~").partition("=")[0].partition("@")[0]


def _root(key: str) -> str:
    return key.replace("/", ".").partition(".")[0]


def leaves(config: DictConfig) -> dict[str, Any]:
    """Every value by its dotted name, interpolations as they were written. Empty groups count."""
    tree = OmegaConf.to_container(config, resolve=False)
    return {k: v for k, v in dotted(tree) if not (isinstance(v, dict) and v)}


def within(key: str, prefixes: Sequence[str]) -> bool:
    return any(key == prefix or key.startswith(f"{prefix}.") for prefix in prefixes)


def refuse_changes(stored: Stored, config: DictConfig, changed: Sequence[str]) -> None:
    """To resume is to go on with the same run.

    Raises:
        UserError: naming the first value that would make it another.
    """
    for key in changed:
        if not within(key, RESUMABLE):
            there, here = (OmegaConf.select(c, key) for c in (stored.config, config))
            raise UserError(
                f"resume={stored.folder} goes on with {key}={there}, but {here} was typed; only "
                f"{', '.join((*LIMITS, *CIRCUMSTANCES))} may change"
            )


def refuse_edits(run: Stored, accepts: bool) -> list[str]:
    """A configuration that was edited makes another run of it, which has to be asked for.

    Returns:
        What a person should know all the same.

    Raises:
        UserError: naming the first value that was edited, its value then and now.
    """
    edits = run.edits()
    if edits is None:
        return [f"{run.folder} has no {origin.FILE}: whether it was edited since cannot be told"]
    if not edits:
        return []
    others = sorted({edit.key for edit in edits[1:]})
    seen = f"{edits[0]}{f' (and so on for {chr(44).join(others)})' if others else ''}"
    if accepts:
        return [f"{run.folder} was edited since it was made, as accept_edits=true allows: {seen}"]
    raise UserError(
        f"{run.folder} was edited since it was made: {seen}; put that back, or add "
        "accept_edits=true to use it as it is now"
    )


def unfinished(config: DictConfig) -> tuple[Path, TextIO] | None:
    """The newest run under paths.out that did not end, that no process is writing to, and that has
    the same configuration (all but how long a call may take, where it computes and what it shows),
    with the lock on it.
    """
    wanted, found = comparable(config), []
    for file in Path(home(config.paths.out)).rglob("command.yaml"):
        folder = file.parent
        checkpoints = [p for p in folder.glob("checkpoints/*.pt") if p.stem in ("last", "previous")]
        if checkpoints and state_of(folder) not in FINISHED:
            with suppress(UserError):
                run = read(folder, "resume")
                if comparable(run.config) == wanted:
                    found.append((max(map(modified, checkpoints)), run))
    for _, run in sorted(found, key=lambda pair: pair[0], reverse=True):
        with suppress(OSError):  # somebody else's
            try:
                notes = refuse_edits(run, config.accept_edits)
                lock = claim(run.folder)
            except UserError as error:
                log.warning("not resumed: %s", error)
                continue
            if lock is not None:
                for note in notes:
                    log.warning("%s", note)
                return run.folder, lock
    return None


def comparable(config: DictConfig) -> dict[str, Any]:
    skipped = ("run", "resume", *PERMITS, *CIRCUMSTANCES, "trainer.max_time")
    return {key: value for key, value in leaves(config).items() if not within(key, skipped)}


def result_of(folder: Path, name: str = "result.json") -> dict[str, Any]:
    """The content of result.json; nothing while there is none."""
    try:
        content = read_json(folder / name)
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def state_of(folder: Path) -> str | None:
    return result_of(folder).get("state")


def modified(path: Path) -> float:
    return path.stat().st_mtime
