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
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig

from .ode import SolverError
from .result import flat, report, result, shown, write_json
from .schema import OF_A_RUN, told
from .training import (
    Checkpoints,
    Data,
    Diverged,
    Interrupt,
    Interrupted,
    Logger,
    Runtime,
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
        with self.interrupt:
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

    def work(self) -> tuple[str, str | None]:
        """Returns the state and why it is not plainly done."""
        log.info("%s: %s parameters on %s", self.name, f"{self.parameters():,}", self.device)
        if self.config.mode in OF_A_RUN:
            self.load(Path(self.config.run))
            if self.config.mode == "evaluate":
                self.test_weights()
            self.exhibit()
            return "done", None
        steps = self.trainer.steps(self.data)
        log.info("%d steps, in %s", steps, shown(self.folder))
        trace = profiler(self.folder / "tb") if self.runtime.profile else None
        self.interrupt.deferred = True
        ending = self.trainer.fit(
            self.state, self.data, self.logger, self.checkpoints, self.interrupt, trace
        )
        self.interrupt.deferred = False
        if self.interrupt.received is not None:
            raise Interrupted(self.interrupt.received)
        self.choose()
        self.test_weights()
        self.exhibit()
        return ending.state, ending.message

    def choose(self) -> None:
        """Put the weights to be evaluated into the task."""
        done, split = self.state.progress, self.trainer.best_on
        self.weights = {"step": done.step, "chosen": "the last"}
        if split is not None and done.best_step is not None:
            path, metric = self.checkpoints.best, self.task.headline.metric
            best = told(load_checkpoint, path, self.device)
            told(self.state.load_weights, best, str(path))
            found = best["progress"]  # a run that was killed may have found it later than ``done``
            reason = f"the lowest {split} {metric}, {found['best']:.4g}"
            self.weights = {"step": found["best_step"], "chosen": reason, "split": split}

    def load(self, path: Path) -> None:
        """Put the weights of a checkpoint, or those that a run would evaluate, into the task."""
        if path.is_dir():
            there = Checkpoints(path / "checkpoints")
            best = self.trainer.best_on is not None and there.best.exists()
            path = there.best if best else there.last
        checkpoint = told(load_checkpoint, path, self.device)
        told(self.state.load_weights, checkpoint, str(path))
        for key in ("step", "seconds"):
            setattr(self.state.progress, key, checkpoint["progress"][key])
        self.weights = {"step": self.state.progress.step, "chosen": str(path)}

    def test_weights(self) -> None:
        """Evaluate on the test set."""
        step = self.state.progress.step
        self.test = evaluate(self.state.evaluated, self.data, "test")
        if self.config.mode == "evaluate" or self.trainer.best_on != "test":  # else it is there
            self.logger.scalars(self.final_metrics(), step)

    def exhibit(self) -> None:
        """Draw what there is to show: all of it if that is what was asked for."""
        task, step = self.state.evaluated, self.state.progress.step
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
        if self.scalars:
            self.logger.scalars(self.scalars, step)
        for name, figure in exhibit.figures.items():
            self.logger.figure(name, figure, step)
        for name, array in exhibit.arrays.items():
            self.logger.array(name, array)
        for name, frames in exhibit.animations.items():
            self.logger.animation(name, frames)

    def final_metrics(self) -> dict[str, float]:
        return {**{f"test/{k}": v["mean"] for k, v in self.test.items()}, **self.scalars}

    def parameters(self) -> int:
        return sum(p.numel() for p in self.task.parameters())

    def close(self, state: str, message: str | None) -> None:
        """Write the result and everything that is still open."""
        write_json(self.folder / "result.json", result(self, state, message))
        self.logger.hparams(flat(self.config), self.final_metrics())
        self.logger.close()
        log.info("%s", report(self, state, message))
        self.lock.close()


@contextmanager
def log_file(folder: Path) -> Iterator[None]:
    """What is logged goes to run.log too."""
    handler = logging.FileHandler(folder / "run.log", encoding="utf-8", delay=True)
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%Y-%m-%d %H:%M:%S"))
    # A full disk is told once, by what fails on it: not by each line, nor by TensorBoard's thread,
    # whose error comes back to the thread that writes next.
    handler.handleError = lambda record: None
    former = threading.excepthook
    threading.excepthook = lambda a: None if isinstance(a.exc_value, OSError) else former(a)
    logging.getLogger().addHandler(handler)
    try:
        yield
    finally:
        threading.excepthook = former
        logging.getLogger().removeHandler(handler)
        handler.close()
