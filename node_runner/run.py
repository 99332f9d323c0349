"""One run: train, choose the weights, evaluate, and leave a folder that says it all.

outputs/<task>/<stamp>/
    config.yaml         the configuration
    command.yaml        what was typed
    env.json            machine, versions, revision
    metrics.jsonl, tb/  the curves
    figures/            the pictures
    arrays/             what they show, as .npy, where it is worth reading again
    checkpoints/        last.pt, previous.pt, best.pt
    result.json         state and final figures
    run.log             what was said
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig

from .disk import write_json
from .ode import SolveProgress, SolverError, observed
from .result import report, result, shown, typed_values
from .schema import OF_A_RUN, told
from .training import (
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
from .training.profile import profiler
from .training.randomness import unchanged_randomness

log = logging.getLogger(__name__)


@dataclass
class Run:
    """A run that has been built and can be executed.

    Attributes:
        typed: the overrides that it was started with.
        weights: which were evaluated: their step and why those.
    """

    name: str
    folder: Path
    config: DictConfig
    typed: list[str]
    environment: dict[str, object]
    device: torch.device
    runtime: Runtime
    data: Data
    trainer: Trainer
    state: TrainingState
    logger: Logger
    lock: Any
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
        """Train, or load what is to be evaluated; evaluate, show. Returns the state that
        result.json holds: "done", "stopped" or "diverged".

        Raises:
            Interrupted: after all has been written.
        """
        with self.interrupt, observed(self.watch):
            try:
                state, message = self.work()
            except (SolverError, Diverged) as error:
                state, message = "diverged", str(error)
            except Interrupted as error:
                self.close("stopped", str(error))
                raise
            except BaseException as error:
                with suppress(OSError):  # where the disk is full, say what was the first to fail
                    self.close("failed", f"{type(error).__name__}: {error}")
                raise
            self.close(state, message)
        return state

    def watch(self, progress: SolveProgress) -> None:
        """Between the steps of a solve: stop if a signal has come, show where it is.

        Raises:
            Abandoned: to end a training step or a validation that takes long.
        """
        if self.interrupt.received is not None and self.trainer.abandonable:
            raise Abandoned
        nfe = "" if progress.nfe is None else f", {progress.nfe} evaluations"
        way = "backward pass" if progress.backward else "solve"
        self.status.tell(f"{way} at t={progress.t:.4g}{nfe}")

    def work(self) -> tuple[str, str | None]:
        """Returns the state and why it is not plainly done."""
        log.info("%s: %s parameters on %s", self.name, f"{self.parameters():,}", self.device)
        if self.config.mode in OF_A_RUN:
            message = self.load(Path(self.config.run))
            if self.config.mode == "evaluate":
                self.test_weights()
            self.exhibit()
            return "done", message
        steps = self.trainer.steps(self.data)
        log.info("%d steps, in %s", steps, shown(self.folder))
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
        lost = self.choose()
        self.test_weights()
        self.exhibit()
        return ending.state, "; ".join(filter(None, (ending.message, lost))) or None

    def choose(self) -> str | None:
        """Put the weights to be evaluated into the task. Returns what is wrong with them."""
        done, split = self.state.progress, self.trainer.best_on
        self.weights = {"step": done.step, "chosen": "the last"}
        if split is not None and done.best_step is not None:
            return self.choose_best(split)
        return None

    def choose_best(self, split: str) -> str | None:
        """Put the best weights into the task; where they are lost, the last stay there. Returns
        what is wrong, which is logged too.
        """
        done, there = self.state.progress, self.checkpoints
        lost = None
        for path in (there.best, there.last, there.previous):
            try:
                best = load_checkpoint(path, self.device)
                if path != there.best and best["progress"]["step"] != done.best_step:
                    continue
                self.state.load_weights(best, str(path))
            except CheckpointError as error:
                lost = lost or f"{error}; the last weights are tested"
                continue
            found = best["progress"]  # a run that was killed may have found it later than ``done``
            metric = self.task.headline.metric
            reason = f"the lowest {split} {metric}, {found['best']:.4g}"
            self.weights = {"step": found["best_step"], "chosen": reason, "split": split}
            return None
        log.warning("%s", lost)
        return lost

    def load(self, path: Path) -> str | None:
        """Put the weights of a checkpoint, or those that a run would evaluate, into the task.
        Returns what is wrong with them, which is logged too.
        """
        there, chooses = Checkpoints(path / "checkpoints"), False
        paths = (path,)
        if path.is_dir():
            chooses = self.trainer.best_on is not None
            best = (there.best,) if chooses and os.path.lexists(there.best) else ()
            paths = (*best, there.last, there.previous)
        checkpoint, path, said = told(there.load_first, paths, self.device)
        told(self.state.load_weights, checkpoint, str(path))
        for key in ("step", "seconds"):
            setattr(self.state.progress, key, checkpoint["progress"][key])
        self.weights = {"step": self.state.progress.step, "chosen": str(path)}
        best_step = checkpoint["progress"]["best_step"]
        if chooses and len(paths) == 2 and best_step not in (None, self.state.progress.step):
            said = f"{there.best} is absent; these are not the best weights, of step {best_step}"
            log.warning("%s", said)
        return said

    def test_weights(self) -> None:
        """Evaluate on the test set."""
        self.status.start("test")
        step = self.state.progress.step
        self.test = evaluate(self.state.evaluated, self.data, "test")
        if self.config.mode == "evaluate" or self.trainer.best_on != "test":  # else it is there
            self.logger.scalars(self.final_metrics(), step)

    def exhibit(self) -> None:
        """Draw what there is to show: all of it if that is what was asked for.

        Raises:
            OSError: naming what could not be written; the rest has been.
        """
        task, step = self.state.evaluated, self.state.progress.step
        self.status.start("pictures")
        show = task.show
        if self.config.mode == "sample":
            show = getattr(task, "sample", show)
        try:
            with torch.no_grad(), unchanged_randomness(self.config.seed):
                exhibit = show(self.data)
        except SolverError as error:  # far from the data, where a picture may look
            log.warning("no pictures: %s", error)
            return
        self.scalars = exhibit.scalars
        keep = self.logger
        writes = [partial(keep.scalars, self.scalars, step)] if self.scalars else []
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

    def final_metrics(self) -> dict[str, float]:
        return {**{f"test/{k}": v["mean"] for k, v in self.test.items()}, **self.scalars}

    def parameters(self) -> int:
        return sum(p.numel() for p in self.task.parameters())

    def close(self, state: str, message: str | None) -> None:
        """Write everything that is still open, and last the result: where there is one, all that
        it speaks of is there.

        Raises:
            OSError: if something could not be written. The result says so if there is room for it.
        """
        self.interrupt.deferred = True  # the little that is left is done first
        missing: OSError | None = None
        try:
            self.logger.hparams(typed_values(self.config, self.typed), self.final_metrics())
            self.logger.flush()
        except OSError as error:
            missing = error
            if state != "failed":
                state, message = "failed", f"OSError: {error}"
        try:
            write_json(self.folder / "result.json", result(self, state, message))
            log.info("%s", report(self, state, message))
        finally:
            self.logger.close()
            self.lock.close()
        if missing is not None:
            raise missing


@contextmanager
def log_file(folder: Path) -> Iterator[None]:
    """What is logged goes to run.log too."""
    handler = logging.FileHandler(folder / "run.log", encoding="utf-8", delay=True)
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%Y-%m-%d %H:%M:%S"))
    handler.handleError = lambda record: None  # a full disk is told once, by what fails on it
    logging.getLogger().addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(handler)
        handler.close()
