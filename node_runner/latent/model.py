"""Latent-variable models of irregular series."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..data.series import Series
from ..nets import variant
from ..ode import Solver
from .dynamics import Dynamics
from .encoder import Encoder
from .inference import Inference
from .likelihood import Gaussian


class LatentModel(nn.Module):
    """z(0) ~ q(z(0) | x), z(t) by the dynamics, x^(t) = decoder(z(t)).

    A latent ODE (Chen et al. 2018, section 5; Rubanova et al. 2019) where the dynamics are an ODE,
    an RNN-VAE where they are a recurrent net.

    Args:
        dim: D.
        encoder: q.
        dynamics: of z.
        decoder: from z (..., L) to x^ (..., D).
        likelihood: of observations about x^.
        samples: S of z(0), in training and evaluation.

    Raises:
        ValueError: for less than one sample.
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
            raise ValueError(f"model.samples is {samples}, must be at least 1")
        self.dim, self.encoder, self.dynamics, self.decoder = dim, encoder, dynamics, decoder
        self.likelihood, self.samples, self.size = likelihood, samples, encoder.latent

    def evaluated_with(self, solver: Solver) -> LatentModel:
        """Under another solver of the dynamics; that of the encoder's gaps, if any, is a part of
        the encoder and stays.
        """
        return variant(self, {"dynamics": self.dynamics.evaluated_with(solver)})

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

    def follow(self, observed: Series) -> Inference:
        return self.infer(observed, observed.times)

    def decode(self, z0: Tensor, times: Tensor) -> Tensor:
        """What comes of states at time 0, (B, S, L), at times (B, T): (B, T, S, D)."""
        return self.decoder(self.dynamics(z0, times)[0])
