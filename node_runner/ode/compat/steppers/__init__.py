"""Methods that take the steps they are given: explicit Runge-Kutta, Adams, implicit Runge-Kutta."""

from __future__ import annotations

from ... import methods
from ...errors import unknown_name
from .explicit import Explicit
from .protocol import Advance, Span, Stepper

__all__ = ["Advance", "Span", "Stepper", "get", "names"]

# torchdiffeq's names and the core's; rk4 there is the 3/8 rule.
EXPLICIT = {"euler": "euler", "midpoint": "midpoint", "heun2": "heun2", "heun3": "heun3"}
EXPLICIT |= {"rk4": "rk38"}


def names() -> list[str]:
    """All methods, in alphabetical order."""
    return sorted(EXPLICIT)


def get(method: str, **options: object) -> Stepper:
    """The stepper of ``method``."""
    if method not in names():
        raise unknown_name("method", method, names())
    return Explicit(methods.get(EXPLICIT[method]))
