"""Mean absolute velocity."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from .protocol import PathPoint


@dataclass(frozen=True)
class L1:
    """mean_d |f_d|."""

    weight: float = 0.01

    def __call__(self, point: PathPoint) -> Tensor:
        return point.dx.flatten(1).abs().mean(1)
