"""Acceleration along the path."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from .protocol import Local


@dataclass(frozen=True)
class TotalDerivative:
    """mean_d (df/dt + (df/dx) f)_d^2: how much a particle's velocity changes on its way. It is zero
    for straight paths walked at constant speed. The directional penalty of FFJORD's released code.
    """

    weight: float = 0.01

    def __call__(self, local: Local) -> Tensor:
        return local.acceleration().flatten(1).square().mean(1)
