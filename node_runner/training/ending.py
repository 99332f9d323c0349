"""How training ends."""

from __future__ import annotations

from typing import NamedTuple


class Ending(NamedTuple):
    """ "done" or "stopped", and why if it was before its last step."""

    state: str
    message: str | None = None


class Diverged(ArithmeticError):
    """The loss or a weight stopped being a finite number."""
