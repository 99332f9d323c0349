"""Methods that take the steps they are given: explicit Runge-Kutta, Adams, implicit Runge-Kutta."""

from __future__ import annotations

from torch import Tensor

from ... import methods
from ...errors import unknown_name
from . import implicit
from .adams import Adams
from .explicit import Explicit
from .protocol import Advance, Span, Stepper
from .runge_kutta import Implicit

__all__ = ["Advance", "Span", "Stepper", "get", "names", "options_of"]

# torchdiffeq's names and the core's: rk4 is the 3/8 rule there.
EXPLICIT = {name: name for name in ("euler", "midpoint", "heun2", "heun3")} | {"rk4": "rk38"}
ADAMS = {"explicit_adams": False, "implicit_adams": True, "fixed_adams": True}


def names() -> list[str]:
    """All methods, in alphabetical order."""
    return sorted([*EXPLICIT, *ADAMS, *implicit.names()])


def options_of(method: str) -> tuple[str, ...]:
    """The options of a method beyond those of the grid.

    Raises:
        ValueError: if there is no such method.
    """
    if method not in names():
        raise unknown_name("method", method, names())
    if method in ADAMS:
        return ("max_order", "max_iters")
    return () if method in EXPLICIT else ("max_iters",)


def get(
    method: str, *, rtol: float | Tensor = 1e-7, atol: float | Tensor = 1e-9, **options: float
) -> Stepper:
    """The stepper of ``method``.

    Args:
        method: a name of torchdiffeq's, one of ``names()``; ``rk4`` is the 3/8 rule.
        rtol, atol: tolerances of the solve. Adams-Moulton's corrector iterates to them; the other
            methods have no use for them.
        options: see ``options_of``: ``max_order`` (12) and ``max_iters`` (4) of Adams methods,
            ``max_iters`` (100) of implicit ones.

    Raises:
        ValueError: for a method or an option that does not exist, or an option out of range; the
            message lists what there is.
    """
    known = options_of(method)
    for option in options:
        if option not in known:
            raise ValueError(
                f"unknown option {option!r} of {method}; it has "
                f"{' and '.join(known) or 'none but those of the grid'}"
            )
    if method in EXPLICIT:
        return Explicit(method, methods.get(EXPLICIT[method]).tableau)
    if method in ADAMS:
        return Adams(method, ADAMS[method], rtol=rtol, atol=atol, **options)
    return Implicit(method, implicit.get(method), **options)
