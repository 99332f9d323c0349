"""The evidence lower bound and the schedule of its KL weight."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ..data.series import Series
from .inference import Inference
from .likelihood import Gaussian


class KLAnnealing(nn.Module):
    """Weight w of the KL: 0 for ``wait`` epochs, then 1 - rate^(epoch - wait), epochs counted
    from 0; always 1 if wait and rate are 0 (Rubanova et al. 2019 use 10 and 0.99).

    The count of training steps is part of the checkpoint.

    Args:
        wait: Epochs with weight 0.
        rate: Decay rate per epoch, in [0, 1).

    Attributes:
        steps_per_epoch: Training steps per epoch; set by the task's ``bind(data)``.

    Raises:
        ValueError: For a value out of range; from ``weight`` and ``step``, if epochs are to be
            counted and ``steps_per_epoch`` was never set.

    Example:
        >>> annealing = KLAnnealing(wait=1, rate=0.5)
        >>> annealing.steps_per_epoch = 1
        >>> [annealing.step() for _ in range(4)]
        [0.0, 0.0, 0.5, 0.75]
    """

    steps_per_epoch: int | None

    def __init__(self, wait: int = 0, rate: float = 0.0) -> None:
        super().__init__()
        if wait < 0:
            raise ValueError(f"wait is {wait}, must be at least 0")
        if not 0 <= rate < 1:
            raise ValueError(f"rate is {rate}, must be from 0 to below 1")
        self.wait, self.rate, self.steps, self.steps_per_epoch = wait, rate, 0, None

    def get_extra_state(self) -> int:
        return self.steps

    def set_extra_state(self, state: int) -> None:
        self.steps = state

    def weight(self) -> float:
        """Return w of the next step."""
        if not self.wait and not self.rate:
            return 1.0
        if self.steps_per_epoch is None:
            raise ValueError(
                f"KL annealing (wait={self.wait}, rate={self.rate}) counts epochs, and "
                "steps_per_epoch is not set: call task.bind(data) before training"
            )
        epoch = self.steps // self.steps_per_epoch
        if epoch < self.wait:
            return 0.0
        return 1 - self.rate ** (epoch - self.wait) if self.rate else 1.0

    def step(self) -> float:
        """Return w of this step and count it."""
        weight = self.weight()
        self.steps += 1
        return weight


def elbo(
    likelihood: Gaussian, inference: Inference, target: Series, kl_weight: float, mean: bool
) -> tuple[Tensor, Tensor]:
    """Return log 1/S sum_s p(target | z_s) - w KL(q | N(0, I)), z_s ~ q, and the KL, (B,) each, in
    nats: the evidence lower bound for S = 1 and w = 1, and the log-likelihood of a model without a
    latent state.

    Args:
        likelihood: Likelihood of observations given predictions.
        inference: Output of the model, whose first predictions are at the times of ``target``.
        target: Observations to predict.
        kl_weight: w.
        mean: Divide the log-likelihood by the number of observations and the KL by that of latent
            dimensions, as the released code of Rubanova et al. 2019 does. The result is no longer
            a bound: the KL is overweighted where there are more observations than latent
            dimensions.
    """
    predictions = inference.predictions[:, : target.times.shape[1]]
    log_prob = likelihood.log_prob(target, predictions)
    if mean:
        log_prob = log_prob / target.mask.sum((1, 2))[:, None]
    bound = torch.logsumexp(log_prob, dim=1) - math.log(log_prob.shape[1])
    if inference.kl is None:
        return bound, torch.zeros_like(bound)
    kl = inference.kl.mean(1) if mean else inference.kl.sum(1)
    return bound - kl_weight * kl, kl
