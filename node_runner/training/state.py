"""The state of training: the contents of a checkpoint."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from math import inf
from typing import Any, cast

from torch import nn
from torch.optim import Optimizer
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from .checkpoint import CheckpointError, check_tensors
from .metrics import Means
from .randomness import random_state, set_random_state
from .state_checks import check_optimizer, check_parts
from .task import Task

__all__ = ["Progress", "TrainingState"]


@dataclass
class Progress:
    """Progress of a run.

    Attributes:
        step: Number of steps done.
        seconds: Training time over all calls of the run.
        means: Values last logged.
        best, best_step: Lowest headline metric of the evaluations that select weights, and its
            step.
        waited: Number of evaluations since then.
        drops: Number of drops of the learning rate for lack of improvement.
        validation_missing: Whether the validation due after the last step was abandoned.
        points: Number of points in metrics.jsonl; None in a state of an earlier version.
    """

    step: int = 0
    seconds: float = 0.0
    means: dict[str, float] = field(default_factory=dict)
    best: float = inf
    best_step: int | None = None
    waited: int = 0
    drops: int = 0
    validation_missing: bool = False
    points: int | None = 0


@dataclass
class TrainingState:
    """A task in training.

    Attributes:
        ema: the moving average of its weights, if one is kept.
        means: of the steps since the last point of the curves.
        data: what of the data belongs to the run, such as the mean and deviation of its rows.
    """

    task: Task
    optimizer: Optimizer
    ema: AveragedModel | None = None
    progress: Progress = field(default_factory=Progress)
    means: Means = field(default_factory=Means)
    data: dict[str, Any] = field(default_factory=dict)

    @staticmethod
    def begin(task: Task, optimizer: Optimizer, ema_decay: float | None = None) -> TrainingState:
        """Return the state at step 0."""
        ema = None
        if ema_decay is not None:
            average = get_ema_multi_avg_fn(ema_decay)
            ema = AveragedModel(cast(nn.Module, task), multi_avg_fn=average, use_buffers=True)
            ema.requires_grad_(False)
        return TrainingState(task, optimizer, ema)

    @property
    def evaluated(self) -> Task:
        """Task with the weights that are evaluated: the average where there is one."""
        return self.task if self.ema is None else cast(Task, self.ema.module)

    def state_dict(self) -> dict[str, Any]:
        """Return tensors and plain values."""
        return {
            "task": self.task.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "ema": None if self.ema is None else self.ema.state_dict(),
            "progress": asdict(self.progress),
            "means": asdict(self.means),
            "data": self.data,
            "random": random_state(),
        }

    def load_state_dict(self, state: dict[str, Any], source: str) -> None:
        """Resume from a state; also sets the global random number generators.

        Raises:
            CheckpointError: naming what differs, if it is that of another task or malformed.
        """
        check_parts(state, source)
        check_tensors(self.task.state_dict(), state["task"], source)
        if (self.ema is None) != (state["ema"] is None):
            raise CheckpointError(
                f"{source} has {'no' if state['ema'] is None else 'a'} moving average of the "
                f"weights, and ema asks for {'none' if self.ema is None else 'one'}"
            )
        if self.ema is not None:
            check_tensors(self.ema.state_dict(), state["ema"], f"{source}, moving average")
        begun = state["progress"]["step"] > 0
        check_optimizer(self.optimizer, state["optimizer"], begun, f"{source}, optimizer")
        try:
            self.task.load_state_dict(state["task"])
            self.optimizer.load_state_dict(state["optimizer"])
            if self.ema is not None:
                self.ema.load_state_dict(state["ema"])
            self.progress = Progress(**{"points": None, **state["progress"]})
            self.means = Means(**state["means"])
            set_random_state(state["random"])
        except Exception as error:  # what the checks leave is as odd as whoever made it
            raise CheckpointError(f"{source} cannot be used: {_first_line(error)}") from error

    def load_weights(self, state: dict[str, Any], source: str) -> None:
        """Put the weights that are evaluated into the task, and nothing else.

        Raises:
            CheckpointError: naming what differs, if they are those of another task.
        """
        check_parts(state, source, ("task", "ema", "progress"))
        weights = state["task"]
        if state["ema"] is not None:
            prefix, averaged = "module.", state["ema"].items()
            weights = {k.removeprefix(prefix): v for k, v in averaged if k.startswith(prefix)}
        check_tensors(self.evaluated.state_dict(), weights, source)
        self.evaluated.load_state_dict(weights)


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0] or type(error).__name__
