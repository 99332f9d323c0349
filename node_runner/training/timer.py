"""Training time of a run."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["Timer"]


class Timer:
    """Seconds of a run over all its calls, and milliseconds of its steps alone.

    Args:
        earlier: Seconds of the calls before this one.
        step: Number of steps that they did.

    Example:
        >>> timer = Timer(earlier=60.0, step=100)
        >>> timer.seconds() >= 60.0
        True
    """

    def __init__(self, earlier: float, step: int) -> None:
        self.earlier, self.step = earlier, step
        self.started = self.mark = time.monotonic()

    def here(self) -> float:
        """Return the seconds of this call."""
        return time.monotonic() - self.started

    def seconds(self) -> float:
        """Return the seconds of all calls."""
        return self.earlier + self.here()

    def step_ms(self, step: int) -> float:
        """Return the mean milliseconds of the steps since the last call of this method."""
        now = time.monotonic()
        took = 1000 * (now - self.mark) / (step - self.step)
        self.mark, self.step = now, step
        return took

    @contextmanager
    def excluded(self) -> Iterator[None]:
        """Exclude what is done inside from the time of the steps."""
        began = time.monotonic()
        yield
        self.mark += time.monotonic() - began
