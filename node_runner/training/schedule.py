"""The learning rate over the steps of a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Schedule:
    """factor(step) = min(1, (step + 1) / warmup_steps) * gamma^(milestones passed + drops)
    * max(decay^step, floor).

    Args:
        warmup_steps: steps over which the rate grows linearly to its full value.
        milestones: epochs after which it is multiplied by ``gamma``.
        gamma: factor at a milestone or a drop.
        waits: the k-th drop comes when more than waits[k - 1] evaluations in a row have brought no
            improvement, and stays (FFJORD's released code for tabular data: 10, 20).
        decay: factor of every step.
        floor: what it does not fall below (Rubanova et al. 2019: 0.999 down to 0.1).

    Raises:
        ValueError: for a value out of range.
    """

    warmup_steps: int = 0
    milestones: Sequence[float] = ()
    gamma: float = 0.1
    waits: Sequence[int] = ()
    decay: float = 1.0
    floor: float = 0.0

    def __post_init__(self) -> None:
        if self.warmup_steps < 0:
            raise ValueError(f"schedule.warmup_steps is {self.warmup_steps}, must not be negative")
        if not all(m > 0 for m in self.milestones):
            raise ValueError(f"schedule.milestones is {list(self.milestones)}, must be positive")
        if not all(w >= 0 for w in self.waits):
            raise ValueError(f"schedule.waits is {list(self.waits)}, must not be negative")
        if not self.gamma > 0:
            raise ValueError(f"schedule.gamma is {self.gamma}, must be positive")
        if not 0 < self.decay <= 1 or not 0 <= self.floor <= 1:
            raise ValueError(
                f"schedule.decay is {self.decay}, schedule.floor {self.floor}: must be from above "
                "0, and from 0, to 1"
            )

    def factor(self, step: int, steps_per_epoch: int, drops: int = 0) -> float:
        """Of the optimizer's learning rate at a step, counted from 0."""
        warm = min(1.0, (step + 1) / self.warmup_steps) if self.warmup_steps else 1.0
        passed = sum(step >= m * steps_per_epoch for m in self.milestones)
        return warm * self.gamma ** (passed + drops) * max(self.decay**step, self.floor)

    def drops(self, before: int, waited: int) -> int:
        """How many drops there have been after an evaluation, from those before it and the
        evaluations without improvement up to it: one more at most.
        """
        return before + (before < len(self.waits) and waited > self.waits[before])
