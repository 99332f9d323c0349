"""Runs that lie on disk: what they were started with, whether they can go on, who writes to them.

A run is composed again from the overrides that it was started with, and what is typed on top of
them changes its stored configuration, leaf by leaf. So another value in conf/ since then does not
change the run.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from hydra import compose
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from .config import home
from .disk import read_json, write_whole
from .schema import UserError, dotted, first_line

try:
    import fcntl
except ImportError:  # not on Windows, where two processes in one folder are not noticed
    fcntl = None

CALL = ("mode", "run", "resume")  # of a call, not of the run
# What one and the same run may have another of in its next call.
CIRCUMSTANCES = ("runtime.device", "runtime.threads", "runtime.profile", "trainer.log_every")
CIRCUMSTANCES += ("trainer.progress", "trainer.checkpoint_every", "paths")
LIMITS = ("trainer.max_steps", "trainer.max_epochs", "trainer.max_time")
FINISHED = ("done", "diverged")


@dataclass(frozen=True)
class Stored:
    """A run's folder, its configuration, and how it was started."""

    folder: Path
    config: DictConfig
    overrides: list[str]
    config_dir: str | None = None

    def changed_by(self, config: DictConfig) -> tuple[DictConfig, list[str]]:
        """The stored configuration with what ``config``, composed of the run's own overrides and
        what was typed, changes in it; and the keys that it changes.
        """
        before, after = leaves(compose("config", self.overrides)), leaves(config)
        changed = [key for key in {**before, **after} if before.get(key) != after.get(key)]
        new = self.config.copy()
        with open_dict(new):
            for key in changed:  # what went comes before what came
                parent, _, leaf = key.rpartition(".")
                if key in after:
                    OmegaConf.update(new, key, after[key], merge=False, force_add=True)
                elif (node := OmegaConf.select(new, parent) if parent else new) is not None:
                    node.pop(leaf, None)
        return new, [key for key in changed if key not in CALL]


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
        command = OmegaConf.to_container(OmegaConf.load(folder / "command.yaml"))
        config = OmegaConf.load(folder / "config.yaml")
        return Stored(folder, config, command["overrides"], command["config_dir"])
    except (OSError, OmegaConfBaseException, KeyError, TypeError, ValueError, YAMLError) as error:
        raise UserError(
            f"{option}={path} is no run: {first_line(error)}; a run's folder is such as "
            "outputs/<task>/<stamp> and holds config.yaml and command.yaml"
        ) from error


def nearest_run(folder: Path) -> str:
    """Where the newest run beside a folder that is not there lies."""
    beside = [file.parent for file in folder.parent.glob("*/command.yaml")]
    return f"; the newest run there is {max(beside, key=modified)}" if beside else ""


def write(folder: Path, config: DictConfig) -> list[str]:
    """Leave what ``read`` reads, of the job that Hydra is running. Returns its overrides."""
    job = HydraConfig.get()
    kept = config.copy()
    with open_dict(kept):
        kept.resume = None
    overrides = [o for o in job.overrides.task if not o.startswith(("resume=", "launcher="))]
    added = [s.path for s in job.runtime.config_sources if s.provider == "command-line"]
    command = {"overrides": overrides, "config_dir": added[0] if added else None}
    write_whole(folder / "config.yaml", OmegaConf.to_yaml(kept))
    write_whole(folder / "command.yaml", OmegaConf.to_yaml(command))
    return overrides


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
        if not within(key, (*CIRCUMSTANCES, *LIMITS)):
            there, here = (OmegaConf.select(c, key) for c in (stored.config, config))
            raise UserError(
                f"resume={stored.folder} goes on with {key}={there}, but {here} was typed; only "
                f"{', '.join((*LIMITS, *CIRCUMSTANCES))} may change"
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
                if comparable(read(folder, "resume").config) == wanted:
                    found.append((max(map(modified, checkpoints)), folder))
    for _, folder in sorted(found, reverse=True):
        with suppress(OSError):  # somebody else's
            lock = claim(folder)
            if lock is not None:
                return folder, lock
    return None


def comparable(config: DictConfig) -> dict[str, Any]:
    skipped = ("run", "resume", *CIRCUMSTANCES, "trainer.max_time")
    return {key: value for key, value in leaves(config).items() if not within(key, skipped)}


def result_of(folder: Path, name: str = "result.json") -> dict[str, Any]:
    """The content of result.json; nothing while there is none."""
    try:
        content = read_json(folder / name)
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def state_of(folder: Path) -> str | None:
    return result_of(folder).get("state")


def modified(path: Path) -> float:
    return path.stat().st_mtime


def claim(folder: Path) -> TextIO | None:
    """A lock on the folder, held while the returned file is open; None if another process has it.

    The system gives it up when that process ends, however it ends.
    """
    folder.mkdir(parents=True, exist_ok=True)
    file = open(folder / ".lock", "w")
    if fcntl is not None:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.close()
            return None
    return file
