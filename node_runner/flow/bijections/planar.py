"""One layer of a planar flow."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..flow import Flow, Transport

HALVINGS = 60  # of the interval that an inverse lies in: more than float64 can tell apart


class Planar(Flow):
    """z = x + u tanh(w . x + b), log |det| = log(1 + w . u (1 - tanh^2)) (Rezende and Mohamed 2015,
    equations (10) to (12)).

    It is invertible for w . u > -1, which u's component along w is bent to satisfy (their appendix
    A.1). Where |w| is below the machine's epsilon nothing is bent: w / |w|^2 and its gradient would
    overflow, and w . x is lost beside b.

    Args:
        dim: D.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.shape = (dim,)
        self.w, self.u = (nn.Parameter(torch.randn(dim) / dim**0.5) for _ in range(2))
        self.b = nn.Parameter(torch.zeros(()))

    def bent(self) -> tuple[Tensor, Tensor]:
        """u as it is used, and w . u."""
        dot, square = self.w @ self.u, self.w.square().sum()
        has_direction = square >= torch.finfo(square.dtype).eps ** 2
        inner = torch.where(has_direction, F.softplus(dot) - 1, dot)
        # Both branches of a where have gradients: the one that is not taken must stay finite.
        along = self.w / torch.where(has_direction, square, 1.0)
        return self.u + (inner - dot) * along, inner

    def transport(self, x: Tensor) -> Transport:
        u, inner = self.bent()
        h = torch.tanh(x @ self.w + self.b)
        return Transport(x + h[:, None] * u, torch.log1p(inner * (1 - h.square())))

    def inverse(self, z: Tensor) -> Tensor:
        """x by bisection: along w it solves a + (w . u) tanh(a + b) = w . z, which grows with a."""
        u, inner = self.bent()
        goal = z @ self.w
        low, high = goal - inner.abs(), goal + inner.abs()
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            above = middle + inner * torch.tanh(middle + self.b) > goal
            low, high = torch.where(above, low, middle), torch.where(above, middle, high)
        return z - torch.tanh((low + high) / 2 + self.b)[:, None] * u
