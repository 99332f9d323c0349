"""The training loop of all tasks."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from math import inf, isfinite
from typing import Literal, cast

from torch import nn
from torch.nn.utils import clip_grad_norm_, get_total_norm
from torch.optim import Optimizer

from .abandon import Abandoned, StepStart
from .checkpoint import Checkpoints
from .logger import Logger
from .memory import peak_mib, saved_bytes
from .metrics import evaluate
from .progress import Status, steps_with_bar
from .schedule import Schedule
from .state import TrainingState
from .stop import Diverged, Ending
from .task import Data, Task, TrainingStep
from .timer import Timer

__all__ = ["Trainer"]


class Trainer:
    """Minimise a task's loss.

    Args:
        max_steps, max_epochs: Number of steps and of epochs; training ends at whichever is reached
            first, and at least one must be given.
        max_time: Seconds after which a call stops with a checkpoint. A run that is resumed has the
            same time again.
        schedule: Learning rate schedule (default: constant).
        clip_norm: Norm to which gradients are scaled down, over all parameters.
        ema: Decay of a moving average of the weights, which is then evaluated in their place.
        best_on: Split whose headline metric selects the weights: "validation", "test" (the papers'
            choice, and an optimistic one), or None for the last weights.
        patience: Evaluations without improvement after which to stop.
        log_every: Steps between two points of the curves, whose means are fetched at once.
        validate_every: Steps between evaluations (default: an epoch), besides that at the end.
        checkpoint_every: Steps between checkpoints (default: an epoch), besides improvements.
        progress: Whether to show a bar (default: on a terminal); log lines otherwise.

    Raises:
        ValueError: for a value out of range, or options that cannot work together.

    Example:
        >>> Trainer(max_steps=1000, clip_norm=1.0, best_on=None).max_steps
        1000
    """

    def __init__(
        self,
        max_steps: int | None = None,
        max_epochs: int | None = None,
        max_time: float | None = None,
        schedule: Schedule | None = None,
        clip_norm: float | None = None,
        ema: float | None = None,
        best_on: Literal["validation", "test"] | None = "validation",
        patience: int | None = None,
        log_every: int = 10,
        validate_every: int | None = None,
        checkpoint_every: int | None = None,
        progress: bool | None = None,
    ) -> None:
        self.max_steps, self.max_epochs, self.max_time = max_steps, max_epochs, max_time
        self.schedule = Schedule() if schedule is None else schedule
        self.clip_norm, self.ema = clip_norm, ema
        self.best_on, self.patience = best_on, patience
        self.log_every, self.validate_every = log_every, validate_every
        self.checkpoint_every = checkpoint_every
        self.progress = sys.stderr.isatty() if progress is None else progress
        self.abandonable = False  # in a forward or backward pass, or a validation
        self._check()

    def _check(self) -> None:
        if self.max_steps is None and self.max_epochs is None:
            raise ValueError("max_steps and max_epochs are both missing: set one")
        counts = ("max_steps", "max_epochs", "patience", "log_every", "validate_every")
        for name in (*counts, "checkpoint_every"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} is {value}, must be at least 1")
        for name in ("max_time", "clip_norm"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"{name} is {value}, must be positive")
        if self.ema is not None and not 0 < self.ema < 1:
            raise ValueError(f"ema is {self.ema}, must be between 0 and 1, such as 0.999")
        if self.patience is not None and self.best_on is None:
            raise ValueError("patience needs best_on=validation (or test)")

    def steps(self, data: Data) -> int:
        """Return the number of steps of a run.

        Raises:
            ValueError: if the data lack the split that selects the weights.
        """
        if self.best_on == "validation" and not data.sizes.get("validation"):
            raise ValueError(
                "best_on is validation, but no data are held out: hold some out, or set "
                "best_on=test, as the papers do, or null for the last weights"
            )
        by_epochs = None if self.max_epochs is None else self.max_epochs * data.steps_per_epoch
        return min(limit for limit in (self.max_steps, by_epochs) if limit is not None)

    def begin(self, task: Task, optimizer: Optimizer) -> TrainingState:
        """Return the state of a run at its start."""
        return TrainingState.begin(task, optimizer, self.ema)

    def fit(
        self,
        state: TrainingState,
        data: Data,
        logger: Logger,
        checkpoints: Checkpoints,
        stop: Callable[[], str | None] = lambda: None,
        profiler: AbstractContextManager | None = None,
        status: Status | None = None,
    ) -> Ending:
        """Train from ``state.progress.step`` on.

        Args:
            state: State of the run, updated in place.
            data: Data set to train and validate on.
            logger: Writer of the curves.
            checkpoints: Folder of the checkpoints.
            stop: Called after each step for a reason to stop there. While ``abandonable`` is set,
                ``Abandoned`` may be raised: a step is then taken again, or a validation done, when
                the run is resumed.
            profiler: Context of the training; its ``step`` is called after each step.
            status: Progress display within a step.

        Raises:
            Diverged: if the loss or a weight is not finite.
            OSError: if a checkpoint cannot be written.
        """
        total, done = self.steps(data), state.progress
        status = status or Status()
        timer = Timer(done.seconds, done.step)
        status.left = lambda: inf if self.max_time is None else self.max_time - timer.here()

        def finish_step() -> Ending | None:
            """Validate and write a checkpoint where due; return whether to end."""
            with timer.excluded():
                better = self._validate(state, data, logger, total)
                ending = self._ending(state, total, stop, timer)
                done.seconds = timer.seconds()
                every = self.checkpoint_every or data.steps_per_epoch
                if better or ending or done.step == total or done.step % every == 0:
                    self._checkpoint(state, logger, checkpoints, better)
            return ending

        if done.validation_missing and (ending := finish_step()):
            return ending
        if ending := self._out_of_patience(state):  # a run that ended so does not go on
            return ending
        rates = self.schedule.start(state.optimizer, total, data.steps_per_epoch, done)
        with profiler or nullcontext() as profile:
            for step in steps_with_bar(done, total, self.log_every, self.progress, status):
                logs = (step + 1) % self.log_every == 0 or step + 1 == total
                before, self.abandonable = StepStart(cast(nn.Module, state.task)), True
                try:
                    measured = self._train_step(state, data, step, logs)
                except Abandoned:
                    before.restore()
                    done.seconds = timer.seconds()
                    self._checkpoint(state, logger, checkpoints, best=False)
                    return Ending("stopped", stop())
                finally:
                    self.abandonable = False
                done.step, done.seconds = step + 1, timer.seconds()
                if logs:
                    self._log(state, measured, logger, timer)
                if profile is not None:
                    profile.step()
                if ending := finish_step():
                    return ending
                rates.step()  # last: an evaluation may have lowered the rate
        return Ending("done")

    def _train_step(
        self, state: TrainingState, data: Data, step: int, measure: bool
    ) -> dict[str, float]:
        """Take one step of the optimizer; return what is measured on logged steps only."""
        task, optimizer = state.task, state.optimizer
        task.train()
        result: TrainingStep = task.step(data.train_batch(step))
        measured = {"memory/saved_mib": saved_bytes(result.loss) / 2**20} if measure else {}
        optimizer.zero_grad(set_to_none=True)
        result.loss.backward()
        self.abandonable = False  # from here on a step is finished
        norm = None
        if self.clip_norm is not None:
            norm = clip_grad_norm_(task.parameters(), self.clip_norm)
        if measure:
            if norm is None:
                norm = get_total_norm([p.grad for p in task.parameters() if p.grad is not None])
            measured["train/grad_norm"] = norm.item()
            measured["train/learning_rate"] = optimizer.param_groups[0]["lr"]
            measured["memory/peak_mib"] = peak_mib(result.loss.device)
        optimizer.step()
        if state.ema is not None:
            state.ema.update_parameters(cast(nn.Module, task))
        tags = {_tagged("train", name): value for name, value in result.metrics.items()}
        state.means.add({"train/loss": result.loss, **tags}, result.costs())
        return measured

    def _log(
        self, state: TrainingState, measured: dict[str, float], logger: Logger, timer: Timer
    ) -> None:
        """Write one point of every curve: means since the last point, fetched at once."""
        done = state.progress
        done.means = state.means.read() | measured  # waits for the accelerator
        done.means |= {"time/step_ms": timer.step_ms(done.step), "time/trained_s": done.seconds}
        logger.scalars(done.means, done.step)
        if not isfinite(done.means["train/loss"]):
            raise Diverged(f"the loss is {done.means['train/loss']} at step {done.step}")

    def _validate(self, state: TrainingState, data: Data, logger: Logger, total: int) -> bool:
        """Evaluate where due on the split that selects weights; return whether they are the best so
        far.
        """
        split, done = self.best_on or "validation", state.progress
        due = done.step % (self.validate_every or data.steps_per_epoch) == 0 or done.step == total
        if not due or not data.sizes.get(split):
            return False
        done.validation_missing = self.abandonable = True
        try:
            summary = evaluate(state.evaluated, data, split)
        except Abandoned:  # ``stop`` has a reason to end here
            return False
        finally:
            self.abandonable = False
        done.validation_missing = False
        logger.scalars({f"{split}/{k}": v["mean"] for k, v in summary.items()}, done.step)
        value = summary[state.task.primary_metric.metric]["mean"]
        if self.best_on is None:
            return False
        if value < done.best:
            done.best, done.best_step, done.waited = value, done.step, 0
            return True
        done.waited += 1
        done.drops = self.schedule.drops(done.drops, done.waited)
        return False

    def _ending(
        self, state: TrainingState, total: int, stop: Callable[[], str | None], timer: Timer
    ) -> Ending | None:
        """Return how to end after this step, if for another reason than that it is the last."""
        reason = stop()
        if reason is not None:
            return Ending("stopped", reason)
        if state.progress.step == total:
            return None
        if self.max_time is not None and timer.here() >= self.max_time:
            return Ending("stopped", f"trainer.max_time of {self.max_time:g} s is reached")
        return self._out_of_patience(state)

    def _out_of_patience(self, state: TrainingState) -> Ending | None:
        if self.patience is None or state.progress.waited < self.patience:
            return None
        return Ending("done", f"no improvement on {self.best_on} in {self.patience} evaluations")

    def _checkpoint(
        self, state: TrainingState, logger: Logger, checkpoints: Checkpoints, best: bool
    ) -> None:
        """Write the state, unless it is not finite: the last good one stays."""
        step = state.progress.step
        if not state.means.finite():
            raise Diverged(f"the loss is not finite at step {step}")
        if not all(bool(p.isfinite().all()) for p in state.task.parameters()):
            raise Diverged(f"a weight is not finite after step {step}")
        logger.flush()  # first: what a checkpoint counts as done must be on the curves
        state.progress.points = logger.points
        checkpoints.save(state.state_dict(), best)


def _tagged(prefix: str, name: str) -> str:
    return name if "/" in name else f"{prefix}/{name}"
