"""Frobenius norm of the Jacobian (RNODE)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from .protocol import PathPoint


@dataclass(frozen=True)
class Jacobian:
    """1/D sum_k |e_k^T df/dx|^2, an unbiased estimate of |df/dx|_F^2 / D (Finlay et al. 2020,
    section 3.2).

    The products are those of the divergence, so no further backward pass is needed.
    """

    weight: float = 0.01

    def __call__(self, point: PathPoint) -> Tensor:
        return point.vjps.square().sum(0).flatten(1).mean(1)
