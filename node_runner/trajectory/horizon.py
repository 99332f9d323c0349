"""Schedule of the length of training segments."""

from __future__ import annotations

from torch import nn

from ..data.series import Series

_OBSERVATIONS = 4  # in a segment, on average, at least


class HorizonSchedule(nn.Module):
    """Length of the segments of a trajectory that a training step solves: it grows from ``first``,
    by the same factor per step, to the whole trajectory in ``steps`` steps.

    A long solve with a bad f ends far from the data for any small change of f, and training
    converges to the mean. A short solve is nearly linear in f, and a solve slightly longer than the
    previous one starts nearly right.

    The count of training steps is part of the checkpoint.

    Args:
        first: Initial length, in units of the time in which a state changes by its standard
            deviation.
        steps: Training steps until whole trajectories are solved; 0: from the start.

    Raises:
        ValueError: For a value out of range.

    Example:
        >>> HorizonSchedule(first=0.5, steps=100).first
        0.5
    """

    def __init__(self, first: float = 0.5, steps: int = 1000) -> None:
        super().__init__()
        if not first > 0:
            raise ValueError(f"first is {first}, must be positive")
        if steps < 0:
            raise ValueError(f"steps is {steps}, must not be negative")
        self.first, self.steps, self.done = first, steps, 0

    def get_extra_state(self) -> int:
        return self.done

    def set_extra_state(self, state: int) -> None:
        self.done = state

    def length(self, series: Series) -> float:
        """Return the length of the next step."""
        end = series.times.max().item()
        if self.done >= self.steps:
            return end
        observed = series.mask.any(-1).sum(1).min().item()
        first = min(end, max(self.first, _OBSERVATIONS * end / observed))
        return first ** (1 - self.done / self.steps) * end ** (self.done / self.steps)

    def step(self, series: Series) -> float:
        """Return the length of this step and count it."""
        length = self.length(series)
        self.done += 1
        return length
