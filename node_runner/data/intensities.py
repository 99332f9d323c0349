"""Intensities of Poisson processes on a window [0, T] whose integrals are known, one a series."""

from __future__ import annotations

from collections.abc import Iterator
from math import pi, sqrt
from typing import Literal, NamedTuple, Protocol

import torch
from torch import Tensor

Name = Literal["sine", "decay", "bursts"]


class Draw:
    """Random numbers of n series, (n, k), from one stream.

    Args:
        n: series.
        end: T.
        rate: events a unit of time, about.
    """

    def __init__(self, n: int, end: float, rate: float, generator: torch.Generator) -> None:
        self.n, self.end, self.rate, self.generator = n, end, rate, generator

    def uniform(self, low: float, high: float, k: int = 1) -> Tensor:
        device = self.generator.device
        u = torch.rand(self.n, k, generator=self.generator, device=device)
        return low + (high - low) * u


class Intensity(Protocol):
    """A NamedTuple of the parameters of n intensities, (n, k) each."""

    def __iter__(self) -> Iterator[Tensor]:
        """Yield the parameters."""

    def rate(self, t: Tensor) -> Tensor:
        """lambda(t), positive, (n, m) for t (n, m) or (m,)."""

    def integral(self, t: Tensor) -> Tensor:
        """int_0^t lambda, in the same shapes."""

    def bound(self) -> Tensor:
        """What lambda nowhere exceeds, (n, 1)."""


class Sine(NamedTuple):
    """lambda(t) = a (1 + b sin(w t + p)), one to two and a half periods in the window."""

    a: Tensor
    b: Tensor
    w: Tensor
    p: Tensor

    @classmethod
    def draw(cls, draw: Draw) -> Sine:
        w = 2 * pi / draw.end * draw.uniform(1.0, 2.5)
        a, b = draw.rate * draw.uniform(0.5, 1.5), draw.uniform(0.7, 0.98)
        return cls(a, b, w, 2 * pi * draw.uniform(0.0, 1.0))

    def rate(self, t: Tensor) -> Tensor:
        return self.a * (1 + self.b * (self.w * t + self.p).sin())

    def integral(self, t: Tensor) -> Tensor:
        return self.a * (t + self.b / self.w * (self.p.cos() - (self.w * t + self.p).cos()))

    def bound(self) -> Tensor:
        return self.a * (1 + self.b)


class Decay(NamedTuple):
    """lambda(t) = c + h exp(-t / s), s from a tenth to four tenths of the window."""

    c: Tensor
    h: Tensor
    s: Tensor

    @classmethod
    def draw(cls, draw: Draw) -> Decay:
        c, h = draw.rate * draw.uniform(0.1, 0.5), draw.rate * draw.uniform(1.0, 5.0)
        return cls(c, h, draw.end * draw.uniform(0.1, 0.4))

    def rate(self, t: Tensor) -> Tensor:
        return self.c + self.h * (-t / self.s).exp()

    def integral(self, t: Tensor) -> Tensor:
        return self.c * t - self.h * self.s * torch.expm1(-t / self.s)

    def bound(self) -> Tensor:
        return self.c + self.h


class Bursts(NamedTuple):
    """lambda(t) = c + sum_k n_k N(t; m_k, s_k^2): two bursts of n_k events each at times m_k
    anywhere in the window, of which a part may lie outside.
    """

    c: Tensor
    n: Tensor
    m: Tensor
    s: Tensor

    @classmethod
    def draw(cls, draw: Draw) -> Bursts:
        c, n = draw.rate * draw.uniform(0.1, 0.4), draw.rate * draw.end * draw.uniform(0.2, 0.6, 2)
        return cls(
            c, n, draw.end * draw.uniform(0.0, 1.0, 2), draw.end * draw.uniform(0.05, 0.1, 2)
        )

    def rate(self, t: Tensor) -> Tensor:
        z = self.standard(t)
        return self.c + ((-0.5 * z.square()).exp() * self.height()).sum(-1)

    def integral(self, t: Tensor) -> Tensor:
        rise = (
            torch.erf(self.standard(t) / sqrt(2)) - torch.erf(-self.m / self.s / sqrt(2))[:, None]
        )
        return self.c * t + 0.5 * (self.n[:, None] * rise).sum(-1)

    def bound(self) -> Tensor:
        return self.c + self.height().sum(-1)

    def standard(self, t: Tensor) -> Tensor:
        """(t - m) / s, (n, m, 2)."""
        return (t[..., None] - self.m[:, None]) / self.s[:, None]

    def height(self) -> Tensor:
        """Of each burst, (n, 1, 2)."""
        return (self.n / self.s / sqrt(2 * pi))[:, None]


FAMILIES: dict[str, type[Sine] | type[Decay] | type[Bursts]] = {
    "sine": Sine,
    "decay": Decay,
    "bursts": Bursts,
}


def draw(name: str, n: int, end: float, rate: float, generator: torch.Generator) -> Intensity:
    """n random intensities of a family, on the generator's device.

    Raises:
        ValueError: for an unknown name.
    """
    if name not in FAMILIES:
        raise ValueError(f"family is {name!r}; choose from {', '.join(FAMILIES)}")
    return FAMILIES[name].draw(Draw(n, end, rate, generator))
