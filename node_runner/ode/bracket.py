"""Bracketing a root."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from math import ceil, copysign, log2, ulp


@dataclass
class Bracket:
    """A root of g between a and b, closed in on by the ITP method (Oliveira & Takahashi 2021, ACM
    TOMS 47(1), algorithm 1): secants, truncated and projected so that it never takes more than one
    evaluation above bisection.

    It asks for g at ``propose()`` and is told by ``update``, so that several can be closed at once.

    Args:
        a, b: ends, a < b.
        at_a, at_b: g there, of different signs; at_b may be zero.
        tolerance: length to end with.
    """

    a: float
    b: float
    at_a: float
    at_b: float
    tolerance: float
    length: float = field(init=False)
    most: int = field(init=False)
    taken: int = 0

    def __post_init__(self) -> None:
        self.length = self.b - self.a
        self.most = max(0, ceil(log2(self.length / self.tolerance))) + 1 if self.length > 0 else 0

    @property
    def closed(self) -> bool:
        return self.at_b == 0 or self.b - self.a <= self.tolerance or self.taken > self.most + 2

    @property
    def root(self) -> float:
        """The end at which g is nearer to zero; b where they are alike."""
        return self.a if abs(self.at_a) < abs(self.at_b) else self.b

    def propose(self) -> float:
        """Where to look next."""
        width = self.b - self.a
        middle = self.a + width / 2
        secant = self.a + width * (self.at_a / (self.at_a - self.at_b))
        toward = copysign(1.0, middle - secant)
        shift = 0.2 * width * width / self.length
        truncated = secant + toward * shift if shift <= abs(middle - secant) else middle
        # The thousandth is for rounding, which must not make the last bracket a little too long.
        slack = max(0.0, 0.999 * self.tolerance * 2.0 ** (self.most - self.taken - 1) - width / 2)
        if abs(truncated - middle) > slack:
            truncated = middle - toward * slack
        return truncated if self.a < truncated < self.b else middle

    def update(self, x: float, at_x: float) -> None:
        self.taken += 1
        if at_x == 0:
            self.a = self.b = x
            self.at_a = self.at_b = 0.0
        elif (at_x > 0) == (self.at_a > 0):
            self.a, self.at_a = x, at_x
        else:
            self.b, self.at_b = x, at_x


def bracketed_root(
    g: Callable[[float], float], a: float, b: float, at_a: float, at_b: float, tolerance: float
) -> float:
    """A root of g between a and b, to ``tolerance`` or as near as floats can tell.

    Args:
        g: the function.
        a, b: ends, in either order.
        at_a, at_b: g(a), not zero, and g(b), zero or of the other sign.
        tolerance: how far off the root may be.
    """
    sign = 1.0 if b > a else -1.0
    bracket = Bracket(sign * a, sign * b, at_a, at_b, max(tolerance, ulp(a), ulp(b)))
    while not bracket.closed:
        x = bracket.propose()
        bracket.update(x, g(sign * x))
    return sign * bracket.root
