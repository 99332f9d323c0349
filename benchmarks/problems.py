"""Initial value problems: oscillators, predator and prey, orbits, a small net, a rigid body."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Problem:
    """y' = f(t, y) on [0, end] from y0, in the dtype asked for."""

    name: str
    f: Callable[[Tensor, Tensor], Tensor]
    y0: Tensor
    end: float


def van_der_pol(mu: float = 2.0, batch: int = 256, end: float = 10.0) -> Problem:
    """x'' = mu (1 - x^2) x' - x from a batch of starting points."""

    def f(t: Tensor, y: Tensor) -> Tensor:
        x, v = y[:, 0], y[:, 1]
        return torch.stack((v, mu * (1 - x * x) * v - x), dim=1)

    generator = torch.Generator().manual_seed(0)
    return Problem(
        "van der Pol",
        f,
        4 * torch.rand(batch, 2, generator=generator, dtype=torch.float64) - 2,
        end,
    )


def lotka_volterra() -> Problem:
    def f(t: Tensor, y: Tensor) -> Tensor:
        prey, predator = y[:, 0], y[:, 1]
        return torch.stack((1.5 * prey - prey * predator, prey * predator - 3 * predator), dim=1)

    generator = torch.Generator().manual_seed(1)
    return Problem(
        "Lotka-Volterra", f, 1 + torch.rand(64, 2, generator=generator, dtype=torch.float64), 8.0
    )


def kepler() -> Problem:
    """Orbits of eccentricity 0.3 to 0.5, one and a half revolutions."""

    def f(t: Tensor, y: Tensor) -> Tensor:
        position, velocity = y[:, :2], y[:, 2:]
        return torch.cat((velocity, -position / position.norm(dim=1, keepdim=True) ** 3), dim=1)

    e = torch.linspace(0.3, 0.5, 16, dtype=torch.float64)
    zero = torch.zeros_like(e)
    return Problem(
        "Kepler", f, torch.stack((1 - e, zero, zero, ((1 + e) / (1 - e)).sqrt()), dim=1), 9.4
    )


def forced_pendulum() -> Problem:
    """Damped pendulum with a periodic drive: depends on time."""

    def f(t: Tensor, y: Tensor) -> Tensor:
        angle, speed = y[:, 0], y[:, 1]
        return torch.stack(
            (speed, -torch.sin(angle) - 0.2 * speed + 0.8 * torch.cos(1.3 * t)), dim=1
        )

    generator = torch.Generator().manual_seed(2)
    return Problem(
        "forced pendulum", f, torch.randn(32, 2, generator=generator, dtype=torch.float64), 15.0
    )


def neural() -> Problem:
    """A random tanh network of width 64 on 16 dimensions, rotating and contracting."""
    generator = torch.Generator().manual_seed(3)
    w1 = torch.randn(17, 64, generator=generator, dtype=torch.float64) / 2
    w2 = torch.randn(64, 16, generator=generator, dtype=torch.float64) / 4

    def f(t: Tensor, y: Tensor) -> Tensor:
        a, b = w1.to(y.dtype), w2.to(y.dtype)
        return torch.tanh(y @ a[:16] + t * a[16]) @ b - 0.1 * y

    return Problem(
        "tanh network", f, torch.randn(128, 16, generator=generator, dtype=torch.float64), 5.0
    )


def rigid_body() -> Problem:
    """Euler's equations of a rotating body without torque, from around the start of problem B5 of
    Hull et al. 1972 (SIAM J. Numer. Anal. 9, p. 603).
    """

    def f(t: Tensor, y: Tensor) -> Tensor:
        a, b, c = y.unbind(1)
        return torch.stack((b * c, -a * c, -0.51 * a * b), dim=1)

    spread = torch.linspace(0.0, 0.3, 16, dtype=torch.float64)
    return Problem("rigid body", f, torch.stack((spread, 1 - spread, 1 + spread), dim=1), 20.0)


PROBLEMS = [van_der_pol(), lotka_volterra(), kepler(), forced_pendulum(), neural()]
