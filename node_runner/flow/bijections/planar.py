"""Planar flow layer."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..flow import Flow, Transport

_BISECTIONS = 60  # halvings of the interval around an inverse: more than float64 resolves


class Planar(Flow):
    """z = x + u tanh(w . x + b), log |det| = log(1 + w . u (1 - tanh^2)) (Rezende and Mohamed 2015,
    equations (10) to (12)).

    It is invertible for w . u > -1; u's component along w is changed to satisfy this (their
    appendix A.1), except where |w| is below the machine epsilon: w / |w|^2 and its gradient would
    overflow, and w . x is negligible against b.

    Args:
        dim: D.

    Example:
        >>> flow, x = Planar(2), torch.zeros(3, 2)
        >>> torch.allclose(flow.inverse(flow.transport(x).z), x, atol=1e-5)
        True
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.shape = (dim,)
        self.w, self.u = (nn.Parameter(torch.randn(dim) / dim**0.5) for _ in range(2))
        self.b = nn.Parameter(torch.zeros(()))

    def invertible_u(self) -> tuple[Tensor, Tensor]:
        """Return u with w . u > -1, (D,), and w . u, ()."""
        dot, square = self.w @ self.u, self.w.square().sum()
        has_direction = square >= torch.finfo(square.dtype).eps ** 2
        inner = torch.where(has_direction, F.softplus(dot) - 1, dot)
        # Both branches of torch.where have gradients: the unused one must stay finite, too.
        along = self.w / torch.where(has_direction, square, 1.0)
        return self.u + (inner - dot) * along, inner

    def transport(self, x: Tensor, context: Tensor | None = None) -> Transport:
        self._check_context(x, context)
        u, inner = self.invertible_u()
        h = torch.tanh(x @ self.w + self.b)
        return Transport(x + h[:, None] * u, torch.log1p(inner * (1 - h.square())))

    def inverse(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        """Return x, (B, D), by bisection of a + (w . u) tanh(a + b) = w . z for a = w . x."""
        self._check_context(z, context)
        u, inner = self.invertible_u()
        goal = z @ self.w
        low, high = goal - inner.abs(), goal + inner.abs()
        for _ in range(_BISECTIONS):
            middle = (low + high) / 2
            above = middle + inner * torch.tanh(middle + self.b) > goal
            low, high = torch.where(above, low, middle), torch.where(above, middle, high)
        return z - torch.tanh((low + high) / 2 + self.b)[:, None] * u
