"""Change of velocity along the path."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from .protocol import PathPoint


@dataclass(frozen=True)
class TotalDerivative:
    """mean_d (df/dt + (df/dx) f)_d^2: zero for straight paths at constant speed. The directional
    penalty of FFJORD's released code.
    """

    weight: float = 0.01

    def __call__(self, point: PathPoint) -> Tensor:
        return point.total_derivative().flatten(1).square().mean(1)
