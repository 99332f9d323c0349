"""Logit: from the unit interval to the real line."""

from __future__ import annotations

from math import log

import torch
import torch.nn.functional as F
from torch import Tensor

from ..flow import Flow, Transport


class Logit(Flow):
    """z = logit(y), y = alpha + (1 - 2 alpha) x, for x in [0, 1] (Dinh et al. 2017, section 4.1).

    log |det| = sum_d softplus(z_d) + softplus(-z_d) + log(1 - 2 alpha), since 1 / (y (1 - y)) =
    (1 + e^z) (1 + e^-z).

    Args:
        alpha: Distance of y from the ends of the interval, in [0, 1/2); positive if x can be 0 or
            1, where the logit is infinite.

    Raises:
        ValueError: For an alpha out of range.

    Example:
        >>> Logit(0.0).transport(torch.full((1, 2), 0.5)).z
        tensor([[0., 0.]])
    """

    def __init__(self, alpha: float = 0.05) -> None:
        super().__init__()
        if not 0 <= alpha < 0.5:
            raise ValueError(f"alpha is {alpha}, must be from 0 to below 0.5")
        self.alpha = alpha

    def transport(self, x: Tensor, context: Tensor | None = None) -> Transport:
        self._check_context(x, context)
        z = torch.logit(self.alpha + (1 - 2 * self.alpha) * x)
        density = F.softplus(z) + F.softplus(-z) + log(1 - 2 * self.alpha)
        return Transport(z, density.flatten(1).sum(1))

    def inverse(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        self._check_context(z, context)
        return (torch.sigmoid(z) - self.alpha) / (1 - 2 * self.alpha)
