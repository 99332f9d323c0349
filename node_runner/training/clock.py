"""Seconds of a run."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Clock:
    """Seconds over all calls that had a part in a run, and milliseconds of its steps alone.

    Args:
        earlier: seconds of the calls before this one.
        step: the steps that they did.
    """

    def __init__(self, earlier: float, step: int) -> None:
        self.earlier, self.step = earlier, step
        self.started = self.mark = time.monotonic()

    def here(self) -> float:
        """Seconds of this call."""
        return time.monotonic() - self.started

    def seconds(self) -> float:
        """Seconds of all calls."""
        return self.earlier + self.here()

    def step_ms(self, step: int) -> float:
        """Milliseconds of one step, over those since this was last asked."""
        now = time.monotonic()
        took = 1000 * (now - self.mark) / (step - self.step)
        self.mark, self.step = now, step
        return took

    @contextmanager
    def aside(self) -> Iterator[None]:
        """What is done inside is no part of a step's time."""
        began = time.monotonic()
        yield
        self.mark += time.monotonic() - began
