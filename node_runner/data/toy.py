"""Two-dimensional toy densities, drawn fresh on the device at every step.

The ten of FFJORD's released code (Grathwohl et al. 2018, section 4.1), with its scales and noise.
"""

from __future__ import annotations

from collections.abc import Callable
from math import pi
from typing import Any, Literal

import torch
from torch import Tensor

from .sampler import GeneratedData

Name = Literal[
    "swissroll",
    "circles",
    "rings",
    "moons",
    "8gaussians",
    "pinwheel",
    "2spirals",
    "checkerboard",
    "line",
    "cos",
]


class Draw:
    """Random numbers of one stream on one device."""

    def __init__(self, generator: torch.Generator) -> None:
        self.generator = generator
        self.kind: dict[str, Any] = {"generator": generator, "device": generator.device}

    def uniform(self, *shape: int) -> Tensor:
        return torch.rand(*shape, **self.kind)

    def normal(self, *shape: int) -> Tensor:
        return torch.randn(*shape, **self.kind)

    def integers(self, high: int, n: int) -> Tensor:
        return torch.randint(high, (n,), **self.kind)

    def spaced(self, n: int, end: float) -> Tensor:
        """n even points of [0, end)."""
        return torch.arange(n, device=self.generator.device) * (end / max(n, 1))


def polar(radius: Tensor | float, angle: Tensor) -> Tensor:
    return torch.stack((radius * angle.cos(), radius * angle.sin()), dim=1)


def swissroll(n: int, draw: Draw) -> Tensor:
    angle = 1.5 * pi * (1 + 2 * draw.uniform(n))
    return (polar(angle, angle) + draw.normal(n, 2)) / 5


def circles(n: int, draw: Draw) -> Tensor:
    outer = polar(1.0, draw.spaced(n // 2, 2 * pi))
    inner = polar(0.5, draw.spaced(n - n // 2, 2 * pi))
    return 3 * (torch.cat((outer, inner)) + 0.08 * draw.normal(n, 2))


def rings(n: int, draw: Draw) -> Tensor:
    sizes = [(n + i) // 4 for i in range(4)]
    radii = (0.75, 1.5, 2.25, 3.0)
    rows = [polar(r, draw.spaced(k, 2 * pi)) for r, k in zip(radii, sizes, strict=True)]
    return torch.cat(rows) + 0.08 * draw.normal(n, 2)


def moons(n: int, draw: Draw) -> Tensor:
    upper = polar(1.0, draw.spaced(n // 2, pi))
    lower = polar(1.0, draw.spaced(n - n // 2, pi)) * -1 + torch.tensor(
        [1.0, 0.5], device=upper.device
    )
    points = torch.cat((upper, lower)) + 0.1 * draw.normal(n, 2)
    return 2 * points + torch.tensor([-1.0, -0.2], device=upper.device)


def eight_gaussians(n: int, draw: Draw) -> Tensor:
    centre = polar(4.0, draw.integers(8, n) * (pi / 4))
    return (centre + 0.5 * draw.normal(n, 2)) / 1.414


def pinwheel(n: int, draw: Draw) -> Tensor:
    along, across = 1 + 0.3 * draw.normal(n), 0.1 * draw.normal(n)
    angle = draw.integers(5, n) * (2 * pi / 5) + 0.25 * along.exp()
    cos, sin = angle.cos(), angle.sin()
    return 2 * torch.stack((along * cos + across * sin, across * cos - along * sin), dim=1)


def two_spirals(n: int, draw: Draw) -> Tensor:
    angle = 3 * pi * draw.uniform(n).sqrt()
    arm = torch.stack((-angle * angle.cos(), angle * angle.sin()), dim=1) + 0.5 * draw.uniform(n, 2)
    sign = 1 - 2 * (torch.arange(n, device=arm.device) % 2)
    return arm * sign[:, None] / 3 + 0.1 * draw.normal(n, 2)


def checkerboard(n: int, draw: Draw) -> Tensor:
    x = 4 * draw.uniform(n) - 2
    y = draw.uniform(n) - 2 * draw.integers(2, n) + x.floor() % 2
    return 2 * torch.stack((x, y), dim=1)


def line(n: int, draw: Draw) -> Tensor:
    x = 5 * draw.uniform(n) - 2.5
    return torch.stack((x, x), dim=1)


def cos(n: int, draw: Draw) -> Tensor:
    x = 5 * draw.uniform(n) - 2.5
    return torch.stack((x, 2.5 * x.sin()), dim=1)


SETS: dict[str, Callable[[int, Draw], Tensor]] = {
    "swissroll": swissroll,
    "circles": circles,
    "rings": rings,
    "moons": moons,
    "8gaussians": eight_gaussians,
    "pinwheel": pinwheel,
    "2spirals": two_spirals,
    "checkerboard": checkerboard,
    "line": line,
    "cos": cos,
}


def sample(name: str, n: int, generator: torch.Generator) -> Tensor:
    """Return n points of the density ``name``, (n, 2), on the generator's device.

    Raises:
        ValueError: for an unknown name.
    """
    if name not in SETS:
        raise ValueError(f"name is {name!r}; choose from {', '.join(SETS)}")
    return SETS[name](n, Draw(generator))


class Toy(GeneratedData):
    """An endless stream of samples of a two-dimensional density.

    Args:
        seed, device, batch_size, validation_size, test_size, epoch_steps: as for ``GeneratedData``.
        name: Name of the density.

    Raises:
        ValueError: for an unknown name or a size below 1.

    Example:
        >>> Toy(0, torch.device("cpu"), "moons", batch_size=4).train_batch(step=0).shape
        torch.Size([4, 2])
    """

    shape = (2,)

    def __init__(
        self,
        seed: int,
        device: torch.device,
        name: Name = "8gaussians",
        batch_size: int = 100,
        validation_size: int = 1000,
        test_size: int = 10_000,
        epoch_steps: int = 100,
    ) -> None:
        super().__init__(seed, device, batch_size, validation_size, test_size, epoch_steps)
        self.name = name
        self.train_batch(0)  # an unknown name is refused before work starts

    def draw(self, n: int, generator: torch.Generator) -> Tensor:
        return sample(self.name, n, generator)
