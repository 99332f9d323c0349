"""Roots of functions of one number."""

from __future__ import annotations

from collections.abc import Callable
from math import copysign


def root(
    g: Callable[[float], float], a: float, b: float, at_a: float, at_b: float, atol: float
) -> float:
    """Where g changes its sign between a and b, to ``atol`` or to the precision of floats.

    Secants of the bracket, kept half a tolerance away from its ends so that it closes from both
    sides; every third trial halves it instead, so that no g takes more than three times the
    evaluations of bisection.

    Args:
        g: the function.
        a, b: ends of the bracket, a < b or b < a.
        at_a, at_b: g(a) and g(b): at_a not zero, at_b zero or of the other sign.
        atol: length of the bracket to end with.
    """
    trial = 0
    while abs(b - a) > atol:
        trial += 1
        edge = copysign(min(atol, abs(b - a)) / 2, b - a)
        middle, secant = a + (b - a) / 2, b - at_b * ((b - a) / (at_b - at_a))
        low, high = sorted((a + edge, b - edge))
        x = secant if low <= secant <= high else low if secant < low else high
        if trial % 3 == 0 or not a != x != b:
            x = middle
        if x in (a, b):
            break
        at_x = g(x)
        if at_x * at_a > 0:
            a, at_a = x, at_x
        else:
            b, at_b = x, at_x
    return b - at_b * ((b - a) / (at_b - at_a))
