"""Absolute velocity."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from .protocol import Local


@dataclass(frozen=True)
class L1:
    """mean_d |f_d|."""

    weight: float = 0.01

    def __call__(self, local: Local) -> Tensor:
        return local.dx.flatten(1).abs().mean(1)
