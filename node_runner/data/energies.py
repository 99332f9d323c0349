"""Two-dimensional densities known up to a constant, p(x) ~ e^-U(x): the four of Rezende and Mohamed
2015, table 1, with the constants of their figure 3.

All but the first go on for ever along x_1, so that no e^-U of theirs has a finite sum. Here a wall
that starts at 4, where their pictures end, holds each entry: U + 1/2 sum_i (max(|x_i| - 4, 0) /
0.2)^2. What is learned inside is the same, and a divergence from it is a number.
"""

from __future__ import annotations

from collections.abc import Callable
from math import log, pi
from typing import Literal

import torch
from torch import Tensor

Name = Literal["u1", "u2", "u3", "u4"]
EDGE, SOFTNESS = 4.0, 0.2
SIDE, CELLS = 6.0, 1200  # of the square that a normaliser is summed over


def wave(x: Tensor) -> Tensor:
    return torch.sin(2 * pi * x / 4)


def bump(x: Tensor) -> Tensor:
    return 3 * torch.exp(-0.5 * ((x - 1) / 0.6) ** 2)


def step(x: Tensor) -> Tensor:
    return 3 * torch.sigmoid((x - 1) / 0.3)


def bands(*bands: tuple[Tensor, float]) -> Tensor:
    """-log sum of e^(-1/2 (distance / width)^2)."""
    return -torch.logsumexp(torch.stack([-0.5 * (d / width) ** 2 for d, width in bands]), 0)


def u1(x: Tensor, y: Tensor) -> Tensor:
    ring = 0.5 * ((torch.hypot(x, y) - 2) / 0.4) ** 2
    return ring + bands((x - 2, 0.6), (x + 2, 0.6))


def u2(x: Tensor, y: Tensor) -> Tensor:
    return bands((y - wave(x), 0.4))


def u3(x: Tensor, y: Tensor) -> Tensor:
    return bands((y - wave(x), 0.35), (y - wave(x) + bump(x), 0.35))


def u4(x: Tensor, y: Tensor) -> Tensor:
    return bands((y - wave(x), 0.4), (y - wave(x) + step(x), 0.35))


ENERGIES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"u1": u1, "u2": u2, "u3": u3, "u4": u4}


def energy(name: Name, x: Tensor) -> Tensor:
    """U of points (N, 2), (N,), the wall included.

    Raises:
        ValueError: for an unknown name.
    """
    if name not in ENERGIES:
        raise ValueError(f"energy is {name!r}; choose from {', '.join(ENERGIES)}")
    wall = 0.5 * ((x.abs() - EDGE).clamp_min(0) / SOFTNESS).square().sum(1)
    return ENERGIES[name](*x.unbind(1)) + wall


def log_normaliser(name: Name) -> float:
    """log of the integral of e^-U, by the midpoint rule."""
    side = torch.linspace(-SIDE, SIDE, 2 * CELLS + 1, dtype=torch.float64)[1::2]
    points = torch.cartesian_prod(side, side)
    cell = (2 * SIDE / CELLS) ** 2
    return torch.logsumexp(-energy(name, points), 0).item() + log(cell)
