"""node-run: compose, check, seed, build, run."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import InstantiationException
from omegaconf import DictConfig

from . import stored
from .command_line import check_command_line, parse, with_stored
from .config import FOLDER, VERSION_BASE, register
from .schema import UserError, check

if TYPE_CHECKING:
    from .run import Run

T = TypeVar("T")

OK, BUG, MISTAKE, DIVERGED, SIGNAL = 0, 1, 2, 3, 128
CODES = {"done": OK, "stopped": OK, "diverged": DIVERGED}


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point of ``node-run`` and ``python -m node_runner``; exits with the codes above."""
    argv = list(sys.argv[1:] if argv is None else argv)
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # else Hydra prints what is ours to explain
    register()
    states: list[int] = []

    @hydra.main(version_base=VERSION_BASE, config_path=str(FOLDER), config_name="config")
    def run(config: DictConfig) -> None:
        states.append(job(config))

    try:
        line = parse(argv)
        if line.runs:
            argv = with_stored(argv, line)
            check_command_line(parse(argv))
        sys.argv = [sys.argv[0], *argv]
        run()
    except UserError as error:
        sys.exit(complain(error))
    except OSError as error:  # Hydra makes the folder of a run
        sys.exit(complain(OSError(f"{error}; set paths.out to a folder that can be written to")))
    except KeyboardInterrupt:
        sys.exit(SIGNAL + 2)
    sys.exit(max(states, default=OK))


def complain(error: BaseException) -> int:
    """One line on standard error for a mistake of the user's."""
    print(f"node-run: {' '.join(str(error).split())}", file=sys.stderr)
    return MISTAKE


def job(config: DictConfig) -> int:
    """One job, from its configuration to result.json. Returns the exit code.

    Raises:
        SystemExit: on a signal, which ends a whole sweep.
    """
    from .training import Interrupted  # torch takes seconds to import; --help should not wait

    folder = Path(HydraConfig.get().runtime.output_dir)
    try:
        if config.mode == "fetch":
            return fetch(config)
        run = build(config, folder)
        return CODES[run.execute()]
    except (UserError, OSError) as error:
        return complain(error)
    except Interrupted as error:
        raise SystemExit(SIGNAL + error.number) from None
    except KeyboardInterrupt:
        raise SystemExit(SIGNAL + 2) from None
    finally:
        with suppress(OSError):
            folder.rmdir()  # made by Hydra; empty if nothing came of it, or another was resumed


def fetch(config: DictConfig) -> int:
    """Download and verify the data of the task."""
    import torch

    from .run import construct

    check(config)
    data = explained(lambda: construct(config.data, seed=config.seed, device=torch.device("cpu")))
    sizes = ", ".join(f"{size:,} {split}" for split, size in data.sizes.items())
    print(f"{data.name} ({data.part}): {sizes}; in {Path(config.paths.data).absolute()}")
    return OK


def build(config: DictConfig, folder: Path) -> Run:
    """The run, ready to be executed.

    Raises:
        UserError: for what the check, a constructor or the file system refuses.
    """
    from .run import Run

    name = HydraConfig.get().runtime.choices.task
    config, folder = located(config, folder)
    check(config)
    return explained(lambda: Run.build(config, folder, name))


def located(config: DictConfig, folder: Path) -> tuple[DictConfig, Path]:
    """The configuration and the folder that the job is to have: its own, or those of a run that it
    evaluates or goes on with.

    Raises:
        UserError: if that is no run, or would become another one.
    """
    if config.mode == "evaluate":
        return stored.read(config.run, "run").changed_by(config)[0], folder
    if config.resume == "auto":
        return config, next(stored.unfinished(config), folder)
    if config.resume is not None:
        run = stored.read(config.resume, "resume")
        config, changed = run.changed_by(config)
        stored.refuse_changes(run, config, changed)
        return config, run.folder
    return config, folder


def explained(construct: Callable[[], T]) -> T:
    """What ``construct`` gives; what a constructor or the file system refuses is told in a line.

    Raises:
        UserError: in place of it.
    """
    try:
        return construct()
    except OSError as error:
        raise UserError(str(error)) from error
    except InstantiationException as error:  # Hydra's wrapper around what a constructor raised
        if isinstance(error.__cause__, (ValueError, OSError)):
            raise UserError(str(error.__cause__)) from error
        raise
