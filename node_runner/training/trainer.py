"""The one loop that trains every task."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from typing import Any

import torch
from torch.optim import Optimizer
from tqdm import tqdm

from .checkpoint import save_checkpoint
from .logger import Logger
from .memory import peak_mib, saved_bytes
from .metrics import Means, summarise
from .task import Data, Step, Task

log = logging.getLogger(__name__)

Summary = dict[str, dict[str, float]]


class Diverged(ArithmeticError):
    """The loss stopped being a finite number."""


@dataclass
class Progress:
    """How far a run has come; ``means`` are those last logged."""

    step: int = 0
    seconds: float = 0.0
    means: dict[str, float] = field(default_factory=dict)


class Trainer:
    """Minimise a task's loss.

    Args:
        max_steps, max_epochs: where to stop; whichever is reached first, at least one given.
        log_every: steps between two points of the curves; the means over them are fetched at once.
        validate_every: steps between validations; once an epoch if None.
        checkpoint_every: steps between checkpoints; once an epoch if None.
        progress: a bar; if None, on a terminal only, and log lines elsewhere.
    """

    def __init__(
        self,
        max_steps: int | None = None,
        max_epochs: int | None = None,
        log_every: int = 10,
        validate_every: int | None = None,
        checkpoint_every: int | None = None,
        progress: bool | None = None,
    ) -> None:
        if max_steps is None and max_epochs is None:
            raise ValueError("trainer.max_steps and trainer.max_epochs are both missing: set one")
        for name, value in list(locals().items()):
            if name not in ("self", "progress") and value is not None and value < 1:
                raise ValueError(f"trainer.{name} is {value}, must be at least 1")
        self.max_steps, self.max_epochs, self.log_every = max_steps, max_epochs, log_every
        self.validate_every, self.checkpoint_every = validate_every, checkpoint_every
        self.progress = sys.stderr.isatty() if progress is None else progress

    def steps(self, data: Data) -> int:
        """How many steps the run has."""
        limits = [self.max_steps]
        limits.append(None if self.max_epochs is None else self.max_epochs * data.steps_per_epoch)
        return min(limit for limit in limits if limit is not None)

    def fit(
        self, task: Task, data: Data, optimizer: Optimizer, logger: Logger, done: Progress
    ) -> None:
        """Train from ``done.step`` to the end, recording how far it came in ``done``.

        Raises:
            Diverged: if the loss is not finite.
            ArithmeticError: whatever a task raises where its numbers break down.
        """
        total, started, means = self.steps(data), time.monotonic() - done.seconds, Means()
        validate_every = self.validate_every or data.steps_per_epoch
        checkpoint_every = self.checkpoint_every or data.steps_per_epoch
        began = time.monotonic()
        for step in self.steps_with_bar(done, total):
            logs = (step + 1) % self.log_every == 0 or step + 1 == total
            measured = self.train_step(task, data, optimizer, step, logs, means)
            done.step, done.seconds = step + 1, time.monotonic() - started
            if logs:
                self.log(means, measured, logger, done, began)
                began = time.monotonic()
            aside = time.monotonic()
            if done.step % validate_every == 0 and done.step < total:
                self.validate(task, data, logger, done.step)
            if done.step % checkpoint_every == 0 or done.step == total:
                if not means.finite():  # the last good checkpoint stays
                    raise Diverged(f"the loss is not finite at step {done.step}")
                self.checkpoint(logger.folder, task, optimizer, done)
                logger.flush()
            began += time.monotonic() - aside  # a step's time is that of training alone

    def train_step(
        self,
        task: Task,
        data: Data,
        optimizer: Optimizer,
        step: int,
        measure: bool,
        means: Means,
    ) -> dict[str, float]:
        """One step of the optimizer. Returns what is measured on logged steps only."""
        task.train()
        result: Step = task.step(data.train_batch(step))
        measured = {"memory/saved_mib": saved_bytes(result.loss) / 2**20} if measure else {}
        optimizer.zero_grad(set_to_none=True)
        result.loss.backward()
        if measure:
            gradients = [p.grad for p in task.parameters() if p.grad is not None]
            measured["train/grad_norm"] = torch.nn.utils.get_total_norm(gradients).item()
            measured["memory/peak_mib"] = peak_mib(result.loss.device)
        optimizer.step()
        tags = {tagged("train", name): value for name, value in result.metrics.items()}
        means.add({"train/loss": result.loss, **tags}, result.costs())
        return measured

    def log(
        self,
        means: Means,
        measured: dict[str, float],
        logger: Logger,
        done: Progress,
        began: float,
    ) -> None:
        """One point of every curve: means over the steps since ``began``, fetched at once."""
        steps, averages = means.count, means.read()  # the read waits for the accelerator
        step_ms = 1000 * (time.monotonic() - began) / steps
        done.means = {**averages, **measured, "time/step_ms": step_ms}
        logger.scalars(done.means, done.step)
        if not isfinite(done.means["train/loss"]):
            raise Diverged(f"the loss is {done.means['train/loss']} at step {done.step}")

    def steps_with_bar(self, done: Progress, total: int) -> Iterator[int]:
        """The step numbers, with a bar on a terminal and some twenty log lines elsewhere."""
        every = max(self.log_every, total // 20)
        with tqdm(
            total=total, initial=done.step, disable=not self.progress, dynamic_ncols=True
        ) as bar:
            for step in range(done.step, total):
                yield step
                bar.update()
                if done.step % self.log_every == 0:
                    bar.set_postfix_str(brief(done.means), refresh=False)
                if not self.progress and (done.step % every == 0 or done.step == total):
                    left = done.seconds / done.step * (total - done.step)
                    log.info(
                        "step %d/%d  %s  %.0f s left", done.step, total, brief(done.means), left
                    )

    @torch.no_grad()
    def evaluate(self, task: Task, data: Data, split: str) -> Summary:
        """Mean and standard error of every metric over a split, cost averaged over its batches."""
        task.eval()
        return summarise(task.evaluate(batch) for batch in data.batches(split))

    def validate(self, task: Task, data: Data, logger: Logger, step: int) -> None:
        if data.sizes.get("validation"):
            summary = self.evaluate(task, data, "validation")
            logger.scalars({f"validation/{k}": v["mean"] for k, v in summary.items()}, step)

    def checkpoint(self, folder: Path, task: Task, optimizer: Optimizer, done: Progress) -> None:
        """Write ``checkpoints/last.pt``."""
        (folder / "checkpoints").mkdir(exist_ok=True)
        state: dict[str, Any] = {
            "task": task.state_dict(),
            "optimizer": optimizer.state_dict(),
            "step": done.step,
            "seconds": done.seconds,
            "rng": torch.get_rng_state(),
        }
        if torch.cuda.is_available():
            state["rng_cuda"] = torch.cuda.get_rng_state_all()
        save_checkpoint(folder / "checkpoints" / "last.pt", state)


def tagged(prefix: str, name: str) -> str:
    return name if "/" in name else f"{prefix}/{name}"


def brief(means: dict[str, float]) -> str:
    """What a bar has room for."""
    shown: list[tuple[str, str, Callable[[float], str]]] = [
        ("train/loss", "loss", "{:.4f}".format),
        ("train/nll", "nll", "{:.4f}".format),
        ("train/accuracy", "accuracy", "{:.4f}".format),
        ("nfe/forward", "nfe forward", "{:.0f}".format),
        ("nfe/backward", "backward", "{:.0f}".format),
    ]
    return "  ".join(f"{label} {form(means[tag])}" for tag, label, form in shown if tag in means)
