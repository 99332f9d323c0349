"""Length of the path."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

import torch
from torch import Tensor

from .protocol import PathPoint


@dataclass(frozen=True)
class L2:
    """|f|_2 / sqrt(D): its integral is the path's length. ``Kinetic`` has half its square."""

    weight: float = 0.01

    def __call__(self, point: PathPoint) -> Tensor:
        flat = point.dx.flatten(1)
        return torch.linalg.vector_norm(flat, dim=1) / sqrt(flat.shape[1])
