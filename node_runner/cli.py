"""node-run: compose, check, seed, build, run."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import InstantiationException
from omegaconf import DictConfig

from .config import FOLDER, VERSION_BASE, check_command_line, parse, register
from .schema import UserError, check

if TYPE_CHECKING:
    from .run import Run

OK, BUG, MISTAKE, DIVERGED, INTERRUPTED = 0, 1, 2, 3, 130


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point of ``node-run`` and ``python -m node_runner``; exits with the codes above."""
    argv = list(sys.argv[1:] if argv is None else argv)
    sys.argv = [sys.argv[0], *argv]
    register()
    try:
        line = parse(argv)
        if line.runs:
            check_command_line(line)
    except UserError as error:
        sys.exit(complain(error))
    states: list[int] = []

    @hydra.main(version_base=VERSION_BASE, config_path=str(FOLDER), config_name="config")
    def run(config: DictConfig) -> None:
        states.append(job(config))

    run()
    sys.exit(max(states, default=OK))


def complain(error: BaseException) -> int:
    """One line on standard error for a mistake of the user's."""
    print(f"node-run: {' '.join(str(error).split())}", file=sys.stderr)
    return MISTAKE


def job(config: DictConfig) -> int:
    """One run, from its configuration to result.json. Returns the exit code.

    Raises:
        SystemExit: on Ctrl-C, which ends a whole sweep.
    """
    try:
        return CODES[build(config).execute()]
    except UserError as error:
        return complain(error)
    except KeyboardInterrupt:
        raise SystemExit(INTERRUPTED) from None


def build(config: DictConfig) -> Run:
    """The run, ready to be executed.

    Raises:
        UserError: for what the check, a constructor or the file system refuses.
    """
    check(config)
    from .run import Run  # torch takes seconds to import; --help and a typo should not wait

    choice = HydraConfig.get().runtime
    try:
        return Run.build(config, Path(choice.output_dir), name=choice.choices.task)
    except OSError as error:
        raise UserError(str(error)) from error
    except InstantiationException as error:  # Hydra's wrapper around what a constructor raised
        if isinstance(error.__cause__, (ValueError, OSError)):
            raise UserError(str(error.__cause__)) from error
        raise


CODES = {"done": OK, "diverged": DIVERGED}
