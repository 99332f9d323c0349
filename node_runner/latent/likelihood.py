"""How likely observations are, given what was predicted."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ..data.series import Series


class Gaussian(nn.Module):
    """log N(x; x^, sd^2) of what was observed.

    Args:
        dim: D.
        sd: standard deviation of the observations; where it is learned, at first.
        learned: whether it is a parameter, one for each feature.

    Raises:
        ValueError: for a deviation that is not positive.
    """

    def __init__(self, dim: int, sd: float = 0.1, learned: bool = False) -> None:
        super().__init__()
        if not sd > 0:
            raise ValueError(f"model.likelihood.sd is {sd}, must be positive")
        log_sd = torch.full((dim,), math.log(sd))
        self.log_sd = nn.Parameter(log_sd) if learned else nn.Buffer(log_sd)

    def log_prob(self, series: Series, predictions: Tensor) -> Tensor:
        """Sum over what was observed, in nats, (B, S) for predictions of (B, T, S, D)."""
        miss = (series.values[:, :, None] - predictions) / self.log_sd.exp()
        log_prob = -0.5 * miss.square() - self.log_sd - 0.5 * math.log(2 * math.pi)
        return torch.where(series.mask[:, :, None], log_prob, 0.0).sum((1, 3))


def squared_errors(series: Series, predictions: Tensor) -> tuple[Tensor, Tensor]:
    """Mean squared error of each series by two weights, averaged over samples, (B,) each: every
    observation alike; and every feature alike, one that is never observed having error 0 (the
    released code of Rubanova et al. 2019).
    """
    errors = (series.values[:, :, None] - predictions).square().mean(2)
    errors = torch.where(series.mask, errors, 0.0)
    by_feature = errors.sum(1) / series.mask.sum(1).clamp(min=1)
    return errors.sum((1, 2)) / series.mask.sum((1, 2)).clamp(min=1), by_feature.mean(1)
