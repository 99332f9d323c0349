"""Kinetic energy of the transport (RNODE)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from .protocol import PathPoint


@dataclass(frozen=True)
class Kinetic:
    """1/2 mean_d f_d^2: its minimum is optimal transport, with straight paths (Finlay et al. 2020,
    section 3.1).

    The mean over dimensions, as in the authors' code, keeps ``weight`` comparable between data
    sets.
    """

    weight: float = 0.01

    def __call__(self, point: PathPoint) -> Tensor:
        return 0.5 * point.dx.flatten(1).square().mean(1)
