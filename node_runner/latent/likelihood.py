"""Likelihood of observations given predictions."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.distributions import Normal

from ..data.series import Series


class Gaussian(nn.Module):
    """Gaussian likelihood N(x; x^, sd^2) of the observed entries.

    Args:
        dim: D, number of features.
        sd: Standard deviation of the observations; the initial one if it is learned.
        learned: Whether the deviation is a parameter, one per feature.

    Raises:
        ValueError: For a deviation that is not positive.

    Example:
        >>> from node_runner.data.series import full
        >>> series = full(torch.ones(1, 3), torch.zeros(1, 3, 2))
        >>> Gaussian(2, sd=0.5).log_prob(series, torch.zeros(1, 3, 4, 2)).shape
        torch.Size([1, 4])
    """

    def __init__(self, dim: int, sd: float = 0.1, learned: bool = False) -> None:
        super().__init__()
        if not sd > 0:
            raise ValueError(f"sd is {sd}, must be positive")
        log_sd = torch.full((dim,), math.log(sd))
        self.log_sd = nn.Parameter(log_sd) if learned else nn.Buffer(log_sd)

    def log_prob(self, series: Series, predictions: Tensor) -> Tensor:
        """Return the sum over observed entries in nats, (B, S), for predictions (B, T, S, D)."""
        normal = Normal(predictions, self.log_sd.exp(), validate_args=False)
        log_prob = normal.log_prob(series.values[:, :, None])
        return torch.where(series.mask[:, :, None], log_prob, 0.0).sum((1, 3))


def squared_errors(series: Series, predictions: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean squared error of each series over samples in two weightings, (B,) each: equal
    weight per observation; and equal weight per feature, where one that is never observed has error
    0 (the released code of Rubanova et al. 2019).
    """
    errors = (series.values[:, :, None] - predictions).square().mean(2)
    errors = torch.where(series.mask, errors, 0.0)
    by_feature = errors.sum(1) / series.mask.sum(1).clamp(min=1)
    return errors.sum((1, 2)) / series.mask.sum((1, 2)).clamp(min=1), by_feature.mean(1)
