"""All that training changes: what a checkpoint holds."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from math import inf
from typing import Any

from torch.optim import Optimizer
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from .checkpoint import check_tensors
from .metrics import Means
from .randomness import random_state, set_random_state
from .task import Task


@dataclass
class Progress:
    """How far a run has come.

    Attributes:
        step: steps done.
        seconds: of training, over all calls that had a part in it.
        means: the values last logged.
        best, best_step: the lowest headline metric among the evaluations that choose, and where.
        waited: evaluations since then.
        drops: of the learning rate, for want of improvement.
    """

    step: int = 0
    seconds: float = 0.0
    means: dict[str, float] = field(default_factory=dict)
    best: float = inf
    best_step: int | None = None
    waited: int = 0
    drops: int = 0


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
        """At step 0."""
        ema = None
        if ema_decay is not None:
            average = get_ema_multi_avg_fn(ema_decay)
            ema = AveragedModel(task, multi_avg_fn=average, use_buffers=True)
            ema.requires_grad_(False)
        return TrainingState(task, optimizer, ema)

    @property
    def evaluated(self) -> Task:
        """The task with the weights that are evaluated: the average where there is one."""
        return self.task if self.ema is None else self.ema.module

    def state_dict(self) -> dict[str, Any]:
        """Tensors and plain values."""
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
        """Go on from a state; also sets the global random number generators.

        Raises:
            CheckpointError: naming what differs, if it is that of another task.
        """
        check_tensors(self.task.state_dict(), state["task"], source)
        self.task.load_state_dict(state["task"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.ema is not None and state["ema"] is not None:
            self.ema.load_state_dict(state["ema"])
        self.progress = Progress(**state["progress"])
        self.means = Means(**state["means"])
        set_random_state(state["random"])

    def load_weights(self, state: dict[str, Any], source: str) -> None:
        """Put the weights that are evaluated into the task, and nothing else.

        Raises:
            CheckpointError: naming what differs, if they are those of another task.
        """
        weights = state["task"]
        if state["ema"] is not None:
            prefix, averaged = "module.", state["ema"].items()
            weights = {k.removeprefix(prefix): v for k, v in averaged if k.startswith(prefix)}
        check_tensors(self.evaluated.state_dict(), weights, source)
        self.evaluated.load_state_dict(weights)
