"""Root finder: the ITP method on a bracket."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import ceil, copysign, log2


@dataclass
class Bracket:
    """A root of g between a and b, closed in on by the ITP method (Oliveira & Takahashi 2021, ACM
    TOMS 47(1), algorithm 1): secants, truncated and projected so that it never takes more than one
    evaluation above bisection.

    g may be zero on a whole interval up to b, as where it is one-sided: b is then the first place
    at which it is. It may jump, too.

    It asks for g at ``propose()`` and takes it by ``update``, so that several can be closed at
    once.

    Args:
        a, b: ends, a < b.
        at_a, at_b: g there, of different signs; at_b may be zero.
        tolerance: length to end with.

    Attributes:
        root: b, where g has reached zero or passed it.
    """

    a: float
    b: float
    at_a: float
    at_b: float
    tolerance: float
    length: float = field(init=False)
    most: int = field(init=False)
    taken: int = 0
    probed: bool = False  # just before an end at which g is zero

    def __post_init__(self) -> None:
        self.length = self.b - self.a
        self.most = max(0, ceil(log2(self.length / self.tolerance))) + 1 if self.length > 0 else 0

    @property
    def closed(self) -> bool:
        return self.b - self.a <= self.tolerance or self.taken > self.most + 2

    @property
    def root(self) -> float:
        return self.b

    def propose(self) -> float:
        """Where to look next."""
        width = self.b - self.a
        middle = self.a + width / 2
        if self.at_b == 0:
            # A root at b, most often. If g is zero there as well, values say nothing more.
            before = middle if self.probed else self.b - 0.999 * self.tolerance
            self.probed = True
            return before if self.a < before < self.b else middle
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
        if at_x != 0 and (at_x > 0) == (self.at_a > 0):
            self.a, self.at_a = x, at_x
        else:
            self.b, self.at_b = x, at_x
