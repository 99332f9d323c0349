"""One run: build it from its configuration, train, evaluate, and leave a folder that says it all.

outputs/<task>/<stamp>/
    config.yaml         the configuration
    command.yaml        what was typed
    env.json            machine, versions, revision
    metrics.jsonl, tb/  the curves
    figures/            the pictures
    checkpoints/        last.pt, previous.pt, best.pt
    result.json         state and final figures
    run.log             what was said
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig
from torch import nn

from . import stored
from .ode import SolverError
from .result import flat, report, result, shown, write_json
from .schema import UserError
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
from .training.runtime import environment

log = logging.getLogger(__name__)


@dataclass
class Run:
    """A run that has been built and can be executed.

    Attributes:
        weights: which were evaluated: their step and why those.
    """

    name: str
    folder: Path
    config: DictConfig
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

    @staticmethod
    def build(config: DictConfig, folder: Path, name: str) -> Run:
        """Construct all objects; go on from the checkpoint that lies in the folder, if any.

        Raises:
            InstantiationException, UserError: for values that a constructor refuses, and for a
                checkpoint of something else.
            OSError: for data that are not there and folders that cannot be written to.
        """
        parts = deepcopy(config)  # to instantiate resolves what it is given, in place
        runtime, trainer = construct(parts.runtime), construct(parts.trainer)
        device = told(runtime.apply, config.seed)
        data = construct(parts.data, seed=config.seed, device=device)
        task = construct(parts.task).to(device)
        for each in fields(task):
            runtime.prepare(each)
        told(trainer.steps, data)
        state = trainer.begin(task, told(construct(parts.optimizer), task.parameters()))
        lock = stored.claim(folder)
        if lock is None:
            raise UserError(f"another process is writing to {shown(folder)}")
        checkpoints, resume_at = Checkpoints(folder / "checkpoints"), None
        if checkpoints.last.exists() or checkpoints.previous.exists():
            told(state.load_state_dict, told(checkpoints.newest, device), str(folder))
            resume_at = state.progress.step
            log.info("%s goes on from step %d", shown(folder), resume_at)
        stored.write(folder, config)
        here = environment(device)
        write_json(folder / "env.json", here)
        logger = Logger(folder, resume_at)
        return Run(name, folder, config, here, device, runtime, data, trainer, state, logger, lock)

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
        with self.interrupt, self.log_file():
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
        if self.config.mode == "evaluate":
            self.load(Path(self.config.run))
            self.finish()
            return "done", None
        steps = self.trainer.steps(self.data)
        log.info("%d steps, in %s", steps, shown(self.folder))
        trace = profiler(self.folder / "tb") if self.runtime.profile else None
        self.interrupt.deferred = True
        reason = self.trainer.fit(
            self.state, self.data, self.logger, self.checkpoints, self.interrupt, trace
        )
        self.interrupt.deferred = False
        if self.interrupt.received is not None:
            raise Interrupted(self.interrupt.received)
        self.choose()
        self.finish()
        budget = reason is not None and "max_time" in reason
        return "stopped" if budget else "done", reason

    def choose(self) -> None:
        """Put the weights to be evaluated into the task."""
        done, split = self.state.progress, self.trainer.best_on
        self.weights = {"step": done.step, "chosen": "the last"}
        if split is not None and done.best_step is not None:
            best = self.checkpoints.best
            told(self.state.load_weights, told(load_checkpoint, best, self.device), str(best))
            metric = self.task.headline.metric
            reason = f"the lowest {split} {metric}, {done.best:.4g}"
            self.weights = {"step": done.best_step, "chosen": reason, "split": split}

    def load(self, path: Path) -> None:
        """Put the weights of a checkpoint, or those that a run would evaluate, into the task."""
        if path.is_dir():
            there = Checkpoints(path / "checkpoints")
            best = self.trainer.best_on is not None and there.best.exists()
            path = there.best if best else there.last
        checkpoint = told(load_checkpoint, path, self.device)
        told(self.state.load_weights, checkpoint, str(path))
        self.state.progress.step = checkpoint["progress"]["step"]
        self.weights = {"step": self.state.progress.step, "chosen": str(path)}

    def finish(self) -> None:
        """Evaluate on the test set and draw."""
        task, step = self.state.evaluated, self.state.progress.step
        self.test = evaluate(task, self.data, "test")
        with torch.no_grad(), unchanged_randomness(0):
            exhibit = task.show(self.data)
        self.scalars = exhibit.scalars
        if self.trainer.best_on != "test":  # else the point is on the curve
            self.logger.scalars(self.final_metrics(), step)
        for name, figure in exhibit.figures.items():
            self.logger.figure(name, figure, step)

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
    def log_file(self) -> Iterator[None]:
        """What is logged goes to run.log too."""
        handler = logging.FileHandler(self.folder / "run.log", encoding="utf-8")
        handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%Y-%m-%d %H:%M:%S"))
        logging.getLogger().addHandler(handler)
        try:
            yield
        finally:
            logging.getLogger().removeHandler(handler)
            handler.close()


def construct(node: DictConfig, **provided: object) -> Any:
    """The object that a node stands for. Plain lists and dicts go in: in OmegaConf's own containers
    a dataclass instance would become a configuration again.
    """
    return instantiate(node, _convert_="all", **provided)


def fields(task: nn.Module) -> Iterator[nn.Module]:
    """The right-hand sides f(t, x) in a task: what its parts call ``field``."""
    for module in task.modules():
        found = getattr(module, "field", None)
        if isinstance(found, nn.Module):
            yield found


def told(function: Callable, *arguments: object) -> Any:
    """The result of ``function``; what it refuses is a mistake of the user's, as in a
    constructor.
    """
    try:
        return function(*arguments)
    except ValueError as error:
        raise UserError(str(error)) from error
