"""How far training looks ahead."""

from __future__ import annotations

from torch import nn


class Horizon(nn.Module):
    """The share of the observed time that a step of training looks at: from ``first`` it grows
    evenly to 1 in ``steps`` steps.

    A long solve with a bad f ends far from the data whatever one changes a little: training then
    settles for the mean. A short one is nearly linear in f, and one a little longer than the last
    is nearly right.

    It counts the steps of training, as a part of the state that a checkpoint holds.

    Args:
        first, steps: as above; with ``steps`` 0 all is looked at from the start.

    Raises:
        ValueError: for a value out of range.
    """

    def __init__(self, first: float = 0.1, steps: int = 1000) -> None:
        super().__init__()
        if not 0 < first <= 1:
            raise ValueError(f"task.horizon.first is {first}, must be above 0, at most 1")
        if steps < 0:
            raise ValueError(f"task.horizon.steps is {steps}, must not be negative")
        self.first, self.steps, self.done = first, steps, 0

    def get_extra_state(self) -> int:
        return self.done

    def set_extra_state(self, state: int) -> None:
        self.done = state

    def share(self) -> float:
        """Of the next step."""
        if self.done >= self.steps:
            return 1.0
        return self.first + (1 - self.first) * self.done / self.steps

    def step(self) -> float:
        """The share of a step, which is counted."""
        share = self.share()
        self.done += 1
        return share
