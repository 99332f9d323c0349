"""Learning rate schedules: warm-up, milestones, decay, plateaus, and those of torch."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.optim import SGD, Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, ReduceLROnPlateau

from .state import Progress

__all__ = ["Schedule"]

_LENGTHS = ("total_steps", "T_max", "total_iters")  # torch's names for the length of a run


@dataclass(frozen=True)
class Schedule:
    """The learning rate of each training step, as a product of factors::

        rate(step) = lr * min(1, (step + 1) / warmup_steps) * gamma^(milestones passed + drops)
                     * max(decay^step, floor) * scheduler(step)

    The rate depends on the configuration, the step and the number of drops only, so a run that is
    resumed continues at the same rates bit by bit.

    Args:
        warmup_steps: Steps over which the rate grows linearly to its full value.
        milestones: Epochs after which the rate is multiplied by ``gamma``.
        gamma: Factor at a milestone or a drop.
        waits: Drop on a plateau: the k-th drop comes when more than waits[k - 1] evaluations in a
            row have brought no improvement, and is not taken back (FFJORD's released code for
            tabular data: 10, 20). ``ReduceLROnPlateau`` of torch counts anew after each drop.
        decay: Factor of every step.
        floor: Lower bound of the decay (Rubanova et al. 2019: 0.999 per step down to 0.1).
        scheduler: Scheduler of torch.optim.lr_scheduler as a factor: called with an optimizer of
            learning rate 1, and with the number of training steps for its argument
            ``total_steps``, ``T_max`` or ``total_iters`` unless that is set. It is stepped once per
            training step; a momentum that it cycles is not used.

    Raises:
        ValueError: for a value out of range, and for a scheduler that cannot be made.

    Example:
        >>> from functools import partial
        >>> from torch.optim.lr_scheduler import CosineAnnealingLR
        >>> optimizer = SGD([torch.zeros(1)], lr=0.1)
        >>> schedule = Schedule(warmup_steps=2, scheduler=partial(CosineAnnealingLR, eta_min=0.01))
        >>> rates = schedule.start(optimizer, steps=4, steps_per_epoch=2, progress=Progress())
        >>> rates.get_last_lr()
        [0.05]
    """

    warmup_steps: int = 0
    milestones: Sequence[float] = ()
    gamma: float = 0.1
    waits: Sequence[int] = ()
    decay: float = 1.0
    floor: float = 0.0
    scheduler: Callable[..., LRScheduler] | None = None

    def __post_init__(self) -> None:
        if self.warmup_steps < 0:
            raise ValueError(f"warmup_steps is {self.warmup_steps}, must not be negative")
        if not all(m > 0 for m in self.milestones):
            raise ValueError(f"milestones is {list(self.milestones)}, must be positive")
        if not all(w >= 0 for w in self.waits):
            raise ValueError(f"waits is {list(self.waits)}, must not be negative")
        if not self.gamma > 0:
            raise ValueError(f"gamma is {self.gamma}, must be positive")
        if not 0 < self.decay <= 1:
            raise ValueError(f"decay is {self.decay}, must be from above 0 to 1")
        if not 0 <= self.floor <= 1:
            raise ValueError(f"floor is {self.floor}, must be from 0 to 1")
        if self.scheduler is not None:
            _factors_of(self.scheduler, 1000)  # refuses it before there is a run

    def start(
        self, optimizer: Optimizer, steps: int, steps_per_epoch: int, progress: Progress
    ) -> LRScheduler:
        """Set the learning rate of step ``progress.step`` and return what sets the next ones.

        Args:
            optimizer: Optimizer, new or from a checkpoint.
            steps: Number of training steps of the run.
            steps_per_epoch: Number of training steps of an epoch.
            progress: Step and drops so far, read at every step.
        """
        more = (lambda step: 1.0) if self.scheduler is None else _factors_of(self.scheduler, steps)

        def factor(step: int) -> float:
            return self.factor(step, steps_per_epoch, progress.drops) * more(step)

        return LambdaLR(optimizer, factor, last_epoch=progress.step - 1)

    def factor(self, step: int, steps_per_epoch: int, drops: int = 0) -> float:
        """Return the factor of a step, counted from 0, without that of ``scheduler``."""
        warm = min(1.0, (step + 1) / self.warmup_steps) if self.warmup_steps else 1.0
        passed = sum(step >= m * steps_per_epoch for m in self.milestones)
        return warm * self.gamma ** (passed + drops) * max(self.decay**step, self.floor)

    def drops(self, before: int, waited: int) -> int:
        """Return the number of drops after an evaluation, at most one more than before it.

        Args:
            before: Number of drops before it.
            waited: Evaluations without improvement up to it.
        """
        return before + (before < len(self.waits) and waited > self.waits[before])


def _factors_of(scheduler: Callable[..., Any], steps: int) -> Callable[[int], float]:
    """Return the learning rates that a scheduler of torch gives an optimizer of rate 1, to be
    called with increasing steps. Earlier steps are passed over one by one, since most schedulers
    compute a rate from the one before: 10 microseconds each when a run is resumed.
    """
    optimizer = SGD([torch.zeros(1)], lr=1.0, momentum=0.9)
    optimizer.step()  # torch expects a step of the optimizer before one of the scheduler
    try:
        taken = inspect.signature(scheduler).parameters
        set_already = getattr(scheduler, "keywords", {})
        lengths = {k: steps for k in _LENGTHS if k in taken and set_already.get(k) is None}
        made = scheduler(optimizer, **lengths)
    except (TypeError, ValueError) as error:
        raise ValueError(f"scheduler cannot be made: {error}") from error
    if isinstance(made, ReduceLROnPlateau) or not isinstance(made, LRScheduler):
        raise ValueError(
            f"scheduler makes a {type(made).__name__}, must make a scheduler of "
            "torch.optim.lr_scheduler that needs no metric; for plateaus set waits"
        )

    def factor(step: int) -> float:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about the order of calls
            while made.last_epoch < step:
                made.step()
        return float(made.get_last_lr()[0])

    return factor
