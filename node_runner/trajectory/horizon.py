"""How far training looks ahead."""

from __future__ import annotations

from torch import nn

from ..data.series import Series

OBSERVATIONS = 4  # in a stretch, on average, at least


class Horizon(nn.Module):
    """The length of the stretches of a trajectory that a step of training solves: from ``first`` it
    grows, by an equal factor each step, to the whole in ``steps`` steps.

    A long solve with a bad f ends far from the data whatever one changes a little: training then
    settles for the mean. A short one is nearly linear in f, and one a little longer than the last
    is nearly right.

    It counts the steps of training, as a part of the state that a checkpoint holds.

    Args:
        first: in units of the time in which a state moves by its deviation.
        steps: as above; with 0 all is solved from end to end from the start.

    Raises:
        ValueError: for a value out of range.
    """

    def __init__(self, first: float = 0.5, steps: int = 1000) -> None:
        super().__init__()
        if not first > 0:
            raise ValueError(f"task.horizon.first is {first}, must be positive")
        if steps < 0:
            raise ValueError(f"task.horizon.steps is {steps}, must not be negative")
        self.first, self.steps, self.done = first, steps, 0

    def get_extra_state(self) -> int:
        return self.done

    def set_extra_state(self, state: int) -> None:
        self.done = state

    def length(self, series: Series) -> float:
        """Of the next step."""
        end = series.times.max().item()
        if self.done >= self.steps:
            return end
        observed = series.mask.any(-1).sum(1).min().item()
        first = min(end, max(self.first, OBSERVATIONS * end / observed))
        return first ** (1 - self.done / self.steps) * end ** (self.done / self.steps)

    def step(self, series: Series) -> float:
        """The length of a step, which is counted."""
        length = self.length(series)
        self.done += 1
        return length
