"""node-run: compose, check, seed, build, run."""

from __future__ import annotations

import logging
import os
import re
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, TextIO, TypeVar

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException, InstantiationException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from . import stored, trust
from .arguments import for_jobs, parse, quoted
from .command_line import check_command_line
from .config import FOLDER, VERSION_BASE, register
from .launcher import beside, check_single_process, launch
from .lock import refuse_links
from .replay import with_stored
from .schema import OF_A_RUN, UserError, check, first_line, with_true_key
from .streams import make_lenient
from .sweep import BUG, CODES, MISTAKE, OK, SIGNAL, check_same, forget_failure, record_failure

log = logging.getLogger(__name__)

T = TypeVar("T")
LONGEST = 2000  # of a complaint, in signs


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point of ``node-run`` and ``python -m node_runner``. Its exit codes are sweep's."""
    argv = list(sys.argv[1:] if argv is None else argv)
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # else Hydra prints what is ours to explain
    os.environ["MPLBACKEND"] = "agg"  # pictures are files; a notebook's shell names another
    make_lenient()
    codes: list[int] = []
    bugs: list[BaseException] = []
    process = os.getpid()

    @hydra.main(version_base=VERSION_BASE, config_path=str(FOLDER), config_name="config")
    def run(config: DictConfig) -> None:
        try:
            if os.getpid() == process:
                codes.append(job(config))
            else:
                beside(process, job, config)
        except Exception as error:
            bugs.append(error)
            raise

    def start() -> None:
        try:
            run()
        except Exception as error:
            if error in bugs or isinstance(error, (HydraException, OSError, RuntimeError)):
                raise
            raise UserError(f"Hydra refuses this: {first_line(error)}") from error

    try:
        argv, jobs = checked(argv)
        sys.argv = [sys.argv[0], *argv]
        if jobs is not None:
            sys.exit(launch(jobs, start))
        start()
    except UserError as error:
        sys.exit(complain(error))
    except OSError as error:  # Hydra makes the folder of a run
        sys.exit(complain(OSError(f"{error}; set paths.out to a folder that can be written to")))
    except HydraException as error:
        if error in bugs:
            raise
        sys.exit(complain(error))
    except KeyboardInterrupt as error:
        sys.exit(SIGNAL + getattr(error, "number", 2))
    except SystemExit as error:  # Hydra's 1 is for what was typed, such as --package
        sys.exit(MISTAKE if error.code == 1 and jobs is None else error.code)
    sys.exit(max(codes, default=OK))


def checked(argv: list[str]) -> tuple[list[str], Path | None]:
    """The command line for Hydra: what was typed, behind that of a stored run if it names one; and
    the folder of a sweep, the same each time that the same is typed.

    Raises:
        UserError: for what makes no sense.
    """
    line = parse(argv)
    if line.composes:
        check_single_process()
    whole = parse(with_stored(line)) if line.composes else line
    register(whole.config_dir)
    jobs = check_command_line(whole, line) if line.composes else None
    if jobs is None:
        return [*whole.flags, *whole.texts], None
    folder = f"hydra.sweep.dir={quoted(jobs)}"
    return [*whole.flags, folder, *map(for_jobs, whole.overrides)], jobs


def complain(error: BaseException) -> int:
    """One line on standard error for a mistake of the user's."""
    line = " ".join(str(error).split())
    print(f"node-run: {line if len(line) < LONGEST else line[:LONGEST] + '...'}", file=sys.stderr)
    return MISTAKE


def job(config: DictConfig) -> int:
    """One job, from its configuration to result.json. Returns the exit code.

    Raises:
        KeyboardInterrupt: on a signal, which ends a whole sweep.
    """
    made = Path(HydraConfig.get().runtime.output_dir)
    sweeps = HydraConfig.get().mode == RunMode.MULTIRUN
    try:
        if sweeps:
            forget_failure(made)
        if config.mode == "fetch":
            return fetch(config)
        return CODES[train_or_evaluate(config, made)]
    except (UserError, OSError) as error:
        if sweeps:
            record_failure(made, config, str(error), MISTAKE)
        return complain(error)
    except Exception as error:
        if (scarce := out_of_memory(error)) is not None:
            if sweeps:
                record_failure(made, config, scarce, MISTAKE)
            return complain(UserError(scarce))
        if not sweeps:
            raise
        log.exception("this job failed; the others go on")
        record_failure(made, config, f"{type(error).__name__}: {error}", BUG)
        return BUG
    finally:
        with suppress(OSError):
            made.rmdir()  # by Hydra; empty if nothing came of it, or another was gone on with


def fetch(config: DictConfig) -> int:
    """Download and verify the data of the task."""
    import torch

    from .build import construct, with_home

    check(config)
    config = with_home(config)
    data = explained(
        lambda: construct(config.data, seed=config.seed, device=torch.device("cpu")), config
    )
    sizes = ", ".join(f"{size:,} {split}" for split, size in data.sizes.items())
    print(f"{data.name} ({data.part}): {sizes}; in {Path(config.paths.data).absolute()}")
    return OK


def train_or_evaluate(config: DictConfig, folder: Path) -> str:
    """The run that the job is, from its objects to its state.

    Raises:
        UserError: for what the check, a constructor or the file system refuses.
    """
    from .build import build
    from .ode import OptionError
    from .result import as_typed, shown
    from .run import log_file

    name = HydraConfig.get().runtime.choices.task
    check_single_process()
    place = located(config, folder)
    check(place.config)
    if place.finished is not None:
        log.info("%s is %s already", shown(place.folder), place.finished)
        return place.finished
    if place.resumes:
        refuse_links(place.folder)
    with log_file(place.folder):
        for note in place.notes:
            log.warning("%s", note)
        run = explained(
            lambda: build(place.config, place.folder, name, place.resumes, place.lock),
            place.config,
        )
        try:
            return run.execute()
        except OSError as error:
            again = f"node-run {as_typed('resume', shown(place.folder))} goes on"
            if place.config.mode != "train":
                again = "give the same command again"
            raise UserError(f"{error}; with room there, {again}") from error
        except OptionError as error:
            raise UserError(str(error)) from error
        except RuntimeError as error:
            if run.state.progress.step or not MISFIT.search(str(error)):
                raise
            log.debug("the first step failed", exc_info=True)
            typed = [o for o in HydraConfig.get().overrides.task if MODEL.match(o)]
            raise UserError(
                f"the parts of the model or its data do not fit together: {first_line(error)}; "
                f"check the sizes in {', '.join(typed) or 'its configuration'}"
            ) from error


# What torch says of tensors whose shapes do not fit, and what may bring that about.
MISFIT = re.compile(
    r"cannot be multiplied|must match|is invalid for input|[Ee]xpected .*(size|shape)"
)
MODEL = re.compile(r"[+~]*(model|task|series|data)\b")


class Place(NamedTuple):
    """The configuration and the folder of a job; whether it goes on with the run there; the lock
    on the folder, if it is held already; the state of what needs no more doing; what a person
    should know.
    """

    config: DictConfig
    folder: Path
    resumes: bool = False
    lock: TextIO | None = None
    finished: str | None = None
    notes: Sequence[str] = ()


def located(config: DictConfig, folder: Path) -> Place:
    """Where the job belongs: in its own folder, or with the run that it evaluates or goes on with.

    Raises:
        UserError: if that is no run, was edited, names what is not trusted, or would become another
            run.
    """
    notes, changed, run = [], [], None
    if config.mode in OF_A_RUN:
        run = stored.read(config.run, "run")
    elif config.resume not in (None, "auto"):
        run = stored.read(config.resume, "resume")
    if run is None:
        if names := trust.outside(trust.targets(OmegaConf.to_container(config))):
            notes.append(f"trusted, as it is named today: {', '.join(names)}")
    else:
        config, changed, notes = of_stored(run, config)
    if HydraConfig.get().mode == RunMode.MULTIRUN and (folder / "command.yaml").exists():
        check_same(folder, config)
        notes += stored.refuse_edits(stored.read(folder, "sweep"), config.accept_edits)
        state = stored.state_of(folder)
        finished = state if state in stored.FINISHED else None
        return Place(config, folder, resumes=True, finished=finished, notes=notes)
    if run is not None and config.mode not in OF_A_RUN:
        stored.refuse_changes(run, config, changed)
        return Place(config, run.folder, resumes=True, notes=notes)
    found = stored.unfinished(config) if config.resume == "auto" else None
    if found is not None:
        return Place(config, found[0], True, found[1], notes=notes)
    return Place(config, folder, notes=notes)


def of_stored(run: stored.Stored, config: DictConfig) -> tuple[DictConfig, list[str], list[str]]:
    """The configuration of a stored run with what was typed today, the keys that this changes, and
    what a person should know.

    Raises:
        UserError: if it was edited, or names what is not trusted.
    """
    trusted = trust.names(config.trust)
    typed = run.typed_since(HydraConfig.get().overrides.task)
    config, changed = run.changed_by(config, typed)
    trust.check_stored(config, str(run.folder), trusted)
    notes = stored.refuse_edits(run, config.accept_edits)
    if names := trust.outside(trust.targets(OmegaConf.to_container(config))):
        notes.append(f"trusted, as you allow it today: {', '.join(names)}")
    return config, changed, notes


def explained(construct: Callable[[], T], config: DictConfig) -> T:
    """Return what ``construct`` gives; a refusal by a constructor or the file system becomes a
    line, under the key that the value has in ``config``.

    Raises:
        UserError: in place of it.
    """
    try:
        return construct()
    except OSError as error:
        raise UserError(str(error)) from error
    except InstantiationException as error:  # Hydra's wrapper around what a constructor raised
        cause = error.__cause__
        if cause is None or (scarce := out_of_memory(cause)) is not None:
            raise UserError(str(error) if cause is None else scarce) from error
        if isinstance(cause, ValueError):
            raise UserError(with_true_key(str(cause), config)) from error
        if isinstance(cause, OSError):
            raise UserError(str(cause)) from error
        if isinstance(cause, (RuntimeError, OverflowError)) or not_callable_so(cause):
            # None of them names the option.
            where = str(error).rpartition("full_key: ")[2]
            raise UserError(f"{where}: {first_line(cause)}") from error
        raise


def not_callable_so(error: BaseException) -> bool:
    """Whether a call has failed by its arguments, before anything of what was called has run."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    there = trace is not None and trace.tb_frame.f_globals.get("__name__", "")
    return isinstance(error, TypeError) and str(there).startswith("hydra.")


# What torch says where there is no memory for a tensor, or no number for its size.
_SCARCE = ("can't allocate memory", "out of memory", "Storage size calculation overflowed")


def out_of_memory(error: BaseException) -> str | None:
    """One line for an error that means that something is too large; None for another error."""
    text = first_line(error)
    if not isinstance(error, MemoryError) and not any(part in str(error) for part in _SCARCE):
        return None
    asked = re.search(r"(\d+) bytes|[Tt]ried to allocate ([\d.]+ [KMGT]iB)", str(error))
    size = f" for {int(asked[1]) / 2**30:.4g} GiB" if asked and asked[1] else ""
    size = f" for {asked[2]}" if asked and asked[2] else size
    return (
        f"out of memory: there is no room{size} ({text[:120]}); reduce data.batch_size or the "
        "sizes of the model, or choose gradient=adjoint, which keeps no steps"
    )
