"""Implicit Runge-Kutta methods by torchdiffeq's names."""

from __future__ import annotations

from math import sqrt

from ... import methods
from ...steppers.implicit_tableau import ImplicitTableau

# torchdiffeq's names and the core's.
SAME = ("implicit_euler", "implicit_midpoint", "trapezoid", "sdirk2", "trbdf2")
NAMES = {name: name for name in SAME} | {
    "radauIIA3": "radau_iia3",
    "gl4": "gauss4",
    "gl6": "gauss6",
}

# Without the explicit first stage that the core's radau_iia5 has for its error estimate (Hairer,
# Wanner, Solving ODEs II, table IV.5.6).
R = sqrt(6)
LAST = ((16 - R) / 36, (16 + R) / 36, 1 / 9)
RADAU_IIA5 = ImplicitTableau(
    order=5,
    c=((4 - R) / 10, (4 + R) / 10, 1.0),
    a=(
        ((88 - 7 * R) / 360, (296 - 169 * R) / 1800, (-2 + 3 * R) / 225),
        ((296 + 169 * R) / 1800, (88 + 7 * R) / 360, (-2 - 3 * R) / 225),
        LAST,
    ),
    b=LAST,
)


def names() -> list[str]:
    """All methods, in alphabetical order."""
    return sorted([*NAMES, "radauIIA5"])


def get(name: str) -> ImplicitTableau:
    """The tableau of method ``name``, one of ``names()``."""
    return RADAU_IIA5 if name == "radauIIA5" else methods.get(NAMES[name]).tableau
