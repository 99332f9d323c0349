"""Entry point of node-run: parse, compose, check, run."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import hydra
from hydra import initialize_config_dir
from hydra._internal.callbacks import Callbacks  # a context of jobs needs it; none is public
from hydra.core.config_loader import ConfigLoader
from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from hydra.core.utils import run_job as run_hydra_job
from hydra.errors import HydraException
from hydra.types import HydraContext, RunMode
from omegaconf import DictConfig, open_dict

from ..errors import UserError, first_line
from ..runs.config import FOLDER, USER_FOLDER, VERSION_BASE, register
from ..runs.paths import quoted
from ..runs.store import Call
from ..streams import make_lenient
from .composition import Jobs, config_loader
from .help import completed_runs, config_dir_of, explained_keys
from .launchers import check_single_process, launch, run_in_worker
from .overrides import CommandLine, parse
from .stored_command import with_stored_command
from .sweep import BUG, CODES, MISTAKE, OK, SIGNAL, clear_failure, record_failure
from .validation import composed_run, composed_sweep

log = logging.getLogger(__name__)

_LONGEST = 2000  # characters of a complaint


def main(argv: Sequence[str] | None = None) -> None:
    """Run ``node-run``, also as ``python -m node_runner``.

    Args:
        argv: Arguments (default: those of the process).

    Raises:
        SystemExit: With one of sweep's exit codes.
    """
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # else Hydra prints what is ours to explain
    os.environ["MPLBACKEND"] = "agg"  # pictures are files; a notebook's shell names another
    make_lenient()
    try:
        code = _main(list(sys.argv[1:] if argv is None else argv))
    except UserError as error:
        code = _complain(error)
    except OSError as error:  # Hydra makes the folder of a run
        code = _complain(OSError(f"{error}; set paths.out to a folder that can be written to"))
    except KeyboardInterrupt as error:
        code = SIGNAL + getattr(error, "number", 2)
    sys.exit(code)


def _main(argv: list[str]) -> int:
    """Return the exit code.

    Raises:
        UserError: For a mistake in what was typed.
    """
    typed = parse(argv)
    if not typed.composes:
        register(config_dir_of(typed, os.environ))
        if (runs := completed_runs(typed, os.environ)) is not None:
            print(" ".join(runs))
            return OK
        return _show(typed)
    check_single_process()
    line = with_stored_command(typed)
    # Classes of a folder that only the stored run names are imported if trust= allows some.
    importable = typed.config_dir is not None or typed.value("trust") is not None
    register(line.config_dir, importable)
    with initialize_config_dir(str(FOLDER), version_base=VERSION_BASE):
        if line.multirun:
            return _run_sweep(line, typed, importable)
        config = composed_run(line, typed)
        if not line.shows:
            return _run(config)
    return _show(line)


def _show(line: CommandLine) -> int:
    """Let Hydra print help, a configuration, or completions."""

    @hydra.main(version_base=VERSION_BASE, config_path=str(FOLDER), config_name="config")
    def show(config: DictConfig) -> None:
        raise AssertionError("Hydra was to print, not to run")

    explained = [f"hydra.help.footer={quoted(explained_keys())}"] if "--help" in line.flags else []
    sys.argv = [sys.argv[0], *line.flags, *line.texts, *explained]
    try:
        with _refusals_of_hydra():
            show()
    except SystemExit as ended:  # Hydra's 1 is for what was typed, such as --package
        return MISTAKE if ended.code == 1 else int(ended.code or 0)
    return OK


@contextmanager
def _refusals_of_hydra() -> Iterator[None]:
    """Let what Hydra refuses be a mistake of the user.

    Raises:
        UserError: In place of an error of Hydra's.
    """
    try:
        yield
    except (UserError, OSError, RuntimeError):
        raise
    except HydraException as error:
        raise UserError(str(error)) from error
    except Exception as error:
        raise UserError(f"Hydra refuses this: {first_line(error)}") from error


def _run(config: DictConfig) -> int:
    """Run a single job. Return its exit code."""
    with open_dict(config.hydra):
        config.hydra.mode = RunMode.RUN
    with _refusals_of_hydra():
        context = _context(config, config_loader())
        context.callbacks.on_run_start(config=config, config_name="config")
        job = run_hydra_job(
            hydra_context=context,
            task_function=_job,
            config=config,
            job_dir_key="hydra.run.dir",
            job_subdir_key=None,
        )
        context.callbacks.on_run_end(config=config, config_name="config", job_return=job)
    return job.return_value  # raises what the job has raised


def _run_sweep(line: CommandLine, typed: CommandLine, importable: bool) -> int:
    """Run the jobs of a sweep. Return the worst exit code."""
    jobs, config = composed_sweep(line, typed)
    config = jobs.as_job(config.copy())
    job = partial(_job_of_sweep, os.getpid(), importable)
    with _refusals_of_hydra():
        context = _context(config, jobs)
        launcher = Plugins.instance().instantiate_launcher(
            hydra_context=context, task_function=job, config=config
        )
        context.callbacks.on_multirun_start(config=config, config_name="config")
        code = launch(Path(config.hydra.sweep.dir), lambda: launcher.launch(jobs.overrides, 0))
        context.callbacks.on_multirun_end(config=config, config_name="config")
    return code


def _context(config: DictConfig, loader: ConfigLoader | Jobs) -> HydraContext:
    made: Any = loader  # launchers call load_sweep_config, which Jobs has
    return HydraContext(config_loader=made, callbacks=Callbacks(config))


def _complain(error: BaseException) -> int:
    """Print one line on standard error for a mistake of the user. Return the exit code."""
    line = " ".join(str(error).split())
    print(f"node-run: {line if len(line) < _LONGEST else line[:_LONGEST] + '...'}", file=sys.stderr)
    return MISTAKE


def _job_of_sweep(process: int, importable: bool, config: DictConfig) -> None:
    """Run a job, in the process of node-run or in one that a launcher has started for it."""
    if os.getpid() == process:
        _job(config)
    else:
        register(_call().config_dir, importable)  # what the launcher did not bring along
        run_in_worker(process, _job, config)


def _job(config: DictConfig) -> int:
    """Run one job, from its configuration to result.json. Return the exit code.

    Raises:
        KeyboardInterrupt: On a signal, which ends a whole sweep.
    """
    from ..runs.construct import out_of_memory
    from ..runs.job import fetch, run_job

    call = _call()
    try:
        if call.sweep:
            clear_failure(call.folder)
        check_single_process()
        if config.mode == "fetch":
            fetch(config)
            return OK
        return CODES[run_job(config, call)]
    except Exception as error:
        line: object = error
        mistake = isinstance(error, UserError | OSError)
        if not mistake and (scarce := out_of_memory(error)) is not None:
            line, mistake = scarce, True
        if mistake:
            if call.sweep:
                record_failure(call, config, str(line), MISTAKE)
            return _complain(UserError(str(line)))
        if not call.sweep:
            raise
        log.exception("this job failed; the others go on")
        record_failure(call, config, f"{type(error).__name__}: {error}", BUG)
        return BUG
    finally:
        with suppress(OSError):
            call.folder.rmdir()  # made by Hydra; empty if nothing was run, or another run resumed


def _call() -> Call:
    """Return how Hydra was asked for the job that it is running."""
    job = HydraConfig.get()
    added = [s.path for s in job.runtime.config_sources if s.provider == USER_FOLDER]
    return Call(
        folder=Path(job.runtime.output_dir),
        task=job.runtime.choices["task"],
        overrides=list(job.overrides.task),
        config_dir=added[0] if added else None,
        sweep=job.mode == RunMode.MULTIRUN,
    )
