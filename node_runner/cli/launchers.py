"""Launchers of a sweep's jobs: checks, set-up of their processes, and how they are stopped.

Hydra's plugins start the processes. One that node-run started itself, as joblib does, leaves the
group of the terminal: Ctrl-C reaches node-run alone, which passes it on, and waits until every
checkpoint is written before the plugin kills what it has started.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from shutil import which

from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf

from ..errors import UserError, as_user_error, first_line
from .sweep import BUG, OK, SIGNAL, exit_code, table

HANDLED = (signal.SIGINT, signal.SIGTERM)
MANY_TASKS = ("hydra.launcher.nodes", "hydra.launcher.tasks_per_node")
# Set by torchrun, by Open MPI, by MPICH.
MANY_PROCESSES = ("WORLD_SIZE", "OMPI_COMM_WORLD_SIZE", "PMI_SIZE")


def check_launcher(overrides: Sequence[Override], multirun: bool, config: DictConfig) -> None:
    """Check that the launcher suits the command and the machine.

    Args:
        overrides: Overrides of the command.
        multirun: Whether the command is a sweep.
        config: Composed configuration, with Hydra's part.

    Raises:
        UserError: If it does not.
    """
    target = OmegaConf.select(config, "hydra.launcher._target_", default="")
    alone, chosen = target.endswith(".BasicLauncher"), "launcher"
    for override in overrides:
        typed, key = override.input_line or "", override.key_or_group
        if key in ("launcher", "hydra/launcher"):
            chosen = typed
            if override.is_sweep_override():
                raise UserError(f"{typed}: all jobs of a sweep have the same launcher; choose one")
            if not (multirun or alone):
                raise UserError(f"{typed} is for several jobs: node-run -m ... runs them")
        elif key in MANY_TASKS and isinstance(count := override.value(), int) and count > 1:
            raise UserError(f"{typed}: a run takes one process; leave it at 1")
        elif key.startswith("hydra.launcher.") and alone:
            raise UserError(f"{typed} is not for launcher=serial; choose launcher=joblib or slurm")
    if target.endswith(".SlurmLauncher") and which("sbatch") is None:
        raise UserError(f"{chosen} needs a cluster: there is no sbatch here; use launcher=joblib")


def check_single_process() -> None:
    """Check that this process is not one of several of torchrun, srun or mpirun, of which each
    would train the whole run.

    Raises:
        UserError: If it is.
    """
    env = os.environ
    # A script of sbatch has SLURM_NTASKS too, but is one process: srun numbers its own.
    in_step = "SLURM_STEP_ID" in env or env.get("SLURM_PROCID", "0") != "0"
    tasks = "SLURM_STEP_NUM_TASKS" if "SLURM_STEP_NUM_TASKS" in env else "SLURM_NTASKS"
    names = [*MANY_PROCESSES, *([tasks] if in_step else [])]
    for name in names:
        if env.get(name, "").isdecimal() and int(env[name]) > 1:
            raise UserError(
                f"{name} is {env[name]}: a run takes one process, and each of these would train "
                "the same run; start node-run without torchrun, or with one process (srun -n 1), "
                "and several runs by node-run -m"
            )


def launch(folder: Path, start: Callable[[], object]) -> int:
    """Run the jobs of a sweep, and print the state of each, also after a signal. Return the exit
    code.

    Args:
        folder: Folder of the sweep.
        start: Run all jobs.

    Raises:
        UserError: For an option that the launcher refuses.
        SystemExit, KeyboardInterrupt: On a signal.
    """
    ended = OK
    try:
        with _signals_passed_on():
            as_user_error(start)
    except RuntimeError as error:  # of the plugin: no job raises, but its process may be killed
        text = f"{type(error).__name__}: {first_line(error).rstrip('.')}"
        print(f"node-run: {text}; the same command again goes on", file=sys.stderr)
        ended = BUG
    finally:
        if (lines := table(folder)) and not isinstance(sys.exc_info()[1], UserError):
            print("\n".join(["", f"{folder}:", *lines]))
    return max(ended, exit_code(folder))


@contextmanager
def _signals_passed_on() -> Iterator[None]:
    """Let a signal end this process once its jobs have stopped."""
    former = {number: signal.signal(number, _stop_workers) for number in HANDLED}
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


def _stop_workers(number: int, frame: object) -> None:
    """Pass a signal on, wait until the jobs have written their checkpoints, and end. A second one
    ends at once.
    """
    for handled in HANDLED:
        signal.signal(handled, _exit_now)
    informed: set[int] = set()
    while workers := _active_workers():
        for pid in workers - informed:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGUSR1)
        informed |= workers
        time.sleep(0.05)
    _exit_now(number, frame)


def _exit_now(number: int, frame: object) -> None:
    raise SystemExit(SIGNAL + number)


def _active_workers() -> set[int]:
    """Return the child processes that are a ``Worker`` and not parked."""
    workers = set()
    for process in multiprocessing.active_children() if hasattr(os, "getpgid") else ():
        with suppress(ProcessLookupError):
            if (pid := process.pid) is not None and os.getpgid(pid) == pid:
                workers.add(pid)
    return workers


def run_in_worker(parent: int, job: Callable[[DictConfig], int], config: DictConfig) -> None:
    """Run a job in a process that a launcher has started for the process ``parent``. The plugin has
    brought the state of Hydra and OmegaConf here: resolvers, and where conf/ lies. If a signal
    stops the job, its folder says so.
    """
    is_child = hasattr(os, "setpgid") and os.getppid() == parent
    with _worker(parent) if is_child else suppress(KeyboardInterrupt):
        _prepare(HydraConfig.get().job.num)
        job(config)


def _prepare(number: int) -> None:
    """Set the start method of processes, since the workers of a DataLoader cannot start by the
    plugin's, and choose a GPU by the number of the job.
    """
    import torch

    if multiprocessing.get_start_method() not in multiprocessing.get_all_start_methods():
        with suppress(ValueError):  # where there is no fork
            multiprocessing.set_start_method("fork", force=True)
    if torch.cuda.device_count() > 1:
        torch.cuda.set_device(number % torch.cuda.device_count())


class Worker:
    """This process as one that runs jobs of ``parent``; entered for each job."""

    def __init__(self, parent: int) -> None:
        self.parent, self.busy, self.stopped = parent, False, False
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGUSR1, self.stop)
        os.setpgid(0, 0)  # from now on it may be signalled
        threading.Thread(target=self.watch, daemon=True).start()

    def __enter__(self) -> None:
        self.busy = True

    def __exit__(self, kind: type | None, error: object, trace: object) -> bool:
        self.busy = False
        if self.stopped:
            self.park()
        return kind is not None and issubclass(kind, KeyboardInterrupt)

    def watch(self) -> None:
        """Exit if the parent process has died."""
        while os.getppid() == self.parent:
            time.sleep(0.5)
        os.kill(os.getpid(), signal.SIGUSR1)

    def stop(self, number: int, frame: object) -> None:
        self.stopped = True
        if not self.busy:
            self.park()
        signal.raise_signal(signal.SIGINT)  # a run ends after its step, with a checkpoint

    def park(self) -> None:
        """Take no other job, and show the parent by the process group that this one is over."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        with suppress(OSError):
            os.setpgid(0, os.getpgid(self.parent))
        while os.getppid() == self.parent:
            time.sleep(0.1)
        os._exit(SIGNAL + signal.SIGINT)


_worker = cache(Worker)  # one for all jobs of this process
