"""A run: train, select the weights, evaluate, and write the run's folder.

outputs/<task>/<stamp>/
    config.yaml         the configuration
    command.yaml        overrides
    env.json            machine, versions, revision
    metrics.jsonl, tb/  the curves
    figures/            the pictures
    arrays/             data of the pictures, as .npy
    checkpoints/        last.pt, previous.pt, best.pt
    result.json         state and final figures
    run.log             log messages
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from filelock import BaseFileLock
from omegaconf import DictConfig

from ..errors import as_user_error
from ..ode import SolveProgress, SolverError, observed
from ..training import (
    Abandoned,
    CheckpointError,
    Checkpoints,
    Data,
    Diverged,
    Interrupt,
    Interrupted,
    Logger,
    Runtime,
    Status,
    Summary,
    Task,
    Trainer,
    TrainingState,
    evaluate,
    load_checkpoint,
)
from ..training.profile import profiler
from ..training.randomness import unchanged_randomness
from ..training.runtime import Environment
from .paths import relative
from .schema import MODES_OF_EXISTING_RUN
from .summary import record_of, summary, typed_values

log = logging.getLogger(__name__)


@dataclass
class Run:
    """A run that has been built and can be executed.

    Attributes:
        typed: Overrides that it was started with.
        weights: Step of the weights that were evaluated, and the reason for them.
    """

    name: str
    folder: Path
    config: DictConfig
    typed: list[str]
    environment: Environment
    device: torch.device
    runtime: Runtime
    data: Data
    trainer: Trainer
    state: TrainingState
    logger: Logger
    lock: BaseFileLock
    interrupt: Interrupt = field(default_factory=Interrupt)
    status: Status = field(default_factory=Status)
    test: Summary = field(default_factory=dict)
    scalars: dict[str, float] = field(default_factory=dict)
    weights: dict[str, Any] = field(default_factory=dict)

    @property
    def task(self) -> Task:
        return self.state.task

    @property
    def checkpoints(self) -> Checkpoints:
        return Checkpoints(self.folder / "checkpoints")

    def execute(self) -> str:
        """Train, or load what is to be evaluated; evaluate and draw. Return the state that
        result.json holds: "done", "stopped" or "diverged".

        Raises:
            Interrupted: After all has been written.
        """
        with self.interrupt, observed(self._watch):
            try:
                state, message = self._run()
            except (SolverError, Diverged) as error:
                state, message = "diverged", str(error)
            except Interrupted as error:
                self._finish("stopped", str(error))
                raise
            except BaseException as error:
                with suppress(OSError):  # where the disk is full, say what was the first to fail
                    self._finish("failed", f"{type(error).__name__}: {error}")
                raise
            self._finish(state, message)
        return state

    def _watch(self, progress: SolveProgress) -> None:
        """Stop between the steps of a solve if a signal has come; show where it is.

        Raises:
            Abandoned: To end a long training step or validation.
        """
        if self.interrupt.received is not None and self.trainer.abandonable:
            raise Abandoned
        nfe = "" if progress.nfe is None else f", {progress.nfe} evaluations"
        way = "backward pass" if progress.backward else "solve"
        self.status.tell(f"{way} at t={progress.t:.4g}{nfe}")

    def _run(self) -> tuple[str, str | None]:
        """Return the state, and a message where more is to be said."""
        log.info("%s: %s parameters on %s", self.name, f"{self.parameters:,}", self.device)
        if self.config.mode in MODES_OF_EXISTING_RUN:
            message = self._load(Path(self.config.run))
            if self.config.mode == "evaluate":
                self._evaluate_test_set()
            self._save_artifacts()
            return "done", message
        steps = self.trainer.steps(self.data)
        log.info("%d steps, in %s", steps, relative(self.folder))
        trace = profiler(self.folder / "tb") if self.runtime.profile else None
        self.interrupt.deferred = True
        ending = self.trainer.fit(
            self.state,
            self.data,
            self.logger,
            self.checkpoints,
            self.interrupt,
            trace,
            self.status,
        )
        self.interrupt.deferred = False
        if self.interrupt.received is not None:
            raise Interrupted(self.interrupt.received)
        lost = self._select_weights()
        self._evaluate_test_set()
        self._save_artifacts()
        return ending.state, "; ".join(filter(None, (ending.message, lost))) or None

    def _select_weights(self) -> str | None:
        """Load the weights to be evaluated. Return what is wrong with them, if anything."""
        done, split = self.state.progress, self.trainer.best_on
        self.weights = {"step": done.step, "chosen": "the last"}
        if split is not None and done.best_step is not None:
            return self._select_best(split)
        return None

    def _select_best(self, split: str) -> str | None:
        """Load the best weights; where they are lost, the last stay. Return what is wrong, which
        is logged too.
        """
        done, files = self.state.progress, self.checkpoints
        lost = None
        for path in (files.best, files.last, files.previous):
            try:
                best = load_checkpoint(path, self.device)
                if path != files.best and best["progress"]["step"] != done.best_step:
                    continue
                self.state.load_weights(best, str(path))
            except CheckpointError as error:
                lost = lost or f"{error}; the last weights are tested"
                continue
            progress = best["progress"]  # of a run that was killed, maybe later than ``done``
            metric = self.task.primary_metric.metric
            reason = f"the lowest {split} {metric}, {progress['best']:.4g}"
            self.weights = {"step": progress["best_step"], "chosen": reason, "split": split}
            return None
        log.warning("%s", lost)
        return lost

    def _load(self, path: Path) -> str | None:
        """Load the weights of a checkpoint, or those that a run would evaluate. Return what is
        wrong with them, which is logged too.
        """
        files, selects = Checkpoints(path / "checkpoints"), False
        paths = (path,)
        if path.is_dir():
            selects = self.trainer.best_on is not None
            best = (files.best,) if selects and os.path.lexists(files.best) else ()
            paths = (*best, files.last, files.previous)
        checkpoint, path, problem = as_user_error(files.load_first, paths, self.device)
        as_user_error(self.state.load_weights, checkpoint, str(path))
        for key in ("step", "seconds"):
            setattr(self.state.progress, key, checkpoint["progress"][key])
        self.weights = {"step": self.state.progress.step, "chosen": str(path)}
        best_step = checkpoint["progress"]["best_step"]
        if selects and len(paths) == 2 and best_step not in (None, self.state.progress.step):
            problem = f"{files.best} is absent; these are not the best weights, of step {best_step}"
            log.warning("%s", problem)
        return problem

    def _evaluate_test_set(self) -> None:
        """Evaluate on the test set."""
        self.status.start("test")
        step = self.state.progress.step
        self.test = evaluate(self.state.evaluated, self.data, "test")
        if self.config.mode == "evaluate" or self.trainer.best_on != "test":  # else logged
            self.logger.scalars(self._final_metrics(), step)

    def _save_artifacts(self) -> None:
        """Draw and write pictures, numbers and arrays of the task.

        Raises:
            OSError: Naming what could not be written; the rest has been.
        """
        task, step = self.state.evaluated, self.state.progress.step
        self.status.start("pictures")
        visualize = task.visualize
        if self.config.mode == "sample":
            visualize = getattr(task, "sample", visualize)
        try:
            with torch.no_grad(), unchanged_randomness(self.config.seed):
                exhibit = visualize(self.data)
        except SolverError as error:  # far from the data, where a picture may look
            log.warning("no pictures: %s", error)
            return
        self.scalars = exhibit.scalars
        keep = self.logger
        writes: list[Callable[[], object]] = []
        if self.scalars:
            writes.append(partial(keep.scalars, self.scalars, step))
        writes += [partial(keep.figure, *named, step) for named in exhibit.figures.items()]
        writes += [partial(keep.array, *named) for named in exhibit.arrays.items()]
        writes += [partial(keep.animation, *named) for named in exhibit.animations.items()]
        failed: list[OSError] = []
        for write in writes:
            try:
                write()
            except OSError as error:
                failed.append(error)
        if failed:
            raise OSError("; ".join(map(str, failed))) from failed[0]

    def _final_metrics(self) -> dict[str, float]:
        return {**{f"test/{k}": v["mean"] for k, v in self.test.items()}, **self.scalars}

    @property
    def parameters(self) -> int:
        return sum(p.numel() for p in self.task.parameters())

    def _finish(self, state: str, message: str | None) -> None:
        """Write everything that is still open, and the result last, so that what it names exists.

        Raises:
            OSError: If something could not be written. The result says so if there is room for it.
        """
        self.interrupt.deferred = True  # the little that is left is done first
        missing: OSError | None = None
        try:
            self.logger.hparams(typed_values(self.config, self.typed), self._final_metrics())
            self.logger.flush()
        except OSError as error:
            missing = error
            if state != "failed":
                state, message = "failed", f"OSError: {error}"
        try:
            record_of(self, state, message).write(self.folder)
            log.info("%s", summary(self, state, message))
        finally:
            self.logger.close()
            self.lock.release()
        if missing is not None:
            raise missing


class _LogFile(logging.FileHandler):
    """Log file that does not report its own errors: a full disk is reported by what fails."""

    def handleError(self, record: logging.LogRecord) -> None:
        pass


@contextmanager
def log_file(folder: Path) -> Iterator[None]:
    """Write log messages to run.log too."""
    handler = _LogFile(folder / "run.log", encoding="utf-8", delay=True)
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%Y-%m-%d %H:%M:%S"))
    logging.getLogger().addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(handler)
        handler.close()
