"""Reasons for which training ends."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["Diverged", "Ending"]


class Ending(NamedTuple):
    """The state in which training ends.

    Attributes:
        state: "done" or "stopped".
        message: Reason, if training ended before its last step.
    """

    state: str
    message: str | None = None


class Diverged(ArithmeticError):
    """The loss or a weight stopped being a finite number."""
