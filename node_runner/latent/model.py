"""Latent-variable models of irregular series."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..data.series import Series
from .dynamics import Dynamics
from .encoder import Encoder
from .inference import Inference
from .likelihood import Gaussian


class LatentModel(nn.Module):
    """z(0) ~ q(z(0) | x), z(t) by the dynamics, x^(t) = decoder(z(t)).

    A latent ODE (Chen et al. 2018, section 5; Rubanova et al. 2019) where the dynamics are an ODE,
    an RNN-VAE where they are a recurrent net.

    Args:
        dim: D, number of features.
        encoder: q, encoder of a series.
        dynamics: Dynamics of z.
        decoder: Net from z (..., L) to x^ (..., D).
        likelihood: Likelihood of observations given x^.
        samples: S, samples of z(0) in training and evaluation.

    Raises:
        ValueError: For less than one sample.

    Example:
        >>> from node_runner.latent import RNN, RNNDynamics
        >>> model = LatentModel(
        ...     2, Encoder(RNN(2, 5), 3), RNNDynamics(3), nn.Linear(3, 2), Gaussian(2)
        ... )
        >>> model.decode(torch.zeros(4, 1, 3), torch.ones(4, 7)).shape
        torch.Size([4, 7, 1, 2])
    """

    def __init__(
        self,
        dim: int,
        encoder: Encoder,
        dynamics: Dynamics,
        decoder: nn.Module,
        likelihood: Gaussian,
        samples: int = 1,
    ) -> None:
        super().__init__()
        if samples < 1:
            raise ValueError(f"samples is {samples}, must be at least 1")
        self.dim, self.encoder, self.dynamics, self.decoder = dim, encoder, dynamics, decoder
        self.likelihood, self.samples, self.hidden_size = likelihood, samples, encoder.latent

    def infer(
        self,
        observed: Series,
        times: Tensor,
        beyond: Tensor | None = None,
        samples: int | None = None,
    ) -> Inference:
        if beyond is not None:
            times = torch.cat((times, beyond), dim=1)
        posterior = self.encoder(observed)
        z0 = posterior.sample(samples or self.samples)
        states, solves = self.dynamics(z0, times)
        all_solves = (*posterior.solves, *solves)
        return Inference(self.decoder(states), z0, posterior.kl(), all_solves)

    def filter(self, observed: Series) -> Inference:
        return self.infer(observed, observed.times)

    def decode(self, z0: Tensor, times: Tensor) -> Tensor:
        """Return predictions (B, T, S, D) at times (B, T) for states (B, S, L) at time 0."""
        return self.decoder(self.dynamics(z0, times)[0])
