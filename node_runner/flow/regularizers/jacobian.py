"""Frobenius norm of the Jacobian."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from .protocol import Local


@dataclass(frozen=True)
class Jacobian:
    """1/D sum_k |e_k^T df/dx|^2, an unbiased estimate of |df/dx|_F^2 / D (Finlay et al. 2020,
    section 3.2).

    The rows are those of the divergence, so it costs no second backward pass.
    """

    weight: float = 0.01

    def __call__(self, local: Local) -> Tensor:
        return local.rows.square().sum(0).flatten(1).mean(1)
