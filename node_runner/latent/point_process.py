"""Poisson processes whose intensity is a function of a latent state."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from ..data.events import arrivals
from ..data.series import Series
from ..nets import variant
from ..ode import Solver
from .dynamics import ODE
from .encoder import Encoder
from .inference import Inference

LINEAR = -20.0  # below it log softplus(a) is a to within 1e-9


class Intensity(nn.Module):
    """lambda(z) = scale softplus(net(z)), from z (..., L) to (...), in events a unit of time.

    Softplus, not exp, to make it positive: the integral of lambda is part of the solve. With exp a
    large output would be an exponentially large rate with as large a slope, so that one bad step of
    the optimizer blows up the integral, its gradient and the solver's steps. Softplus grows as its
    argument does, and its slope is at most 1.

    Args:
        net: from z to one number, (..., 1).
        scale: events a unit of time, about, so that the net's outputs are about 1: training from
            far away first learns the level and stays there long.

    Raises:
        ValueError: for a scale that is not positive.
    """

    def __init__(self, net: nn.Module, scale: float = 1.0) -> None:
        super().__init__()
        if not scale > 0:
            raise ValueError(f"model.intensity.scale is {scale}, must be positive")
        self.net, self.scale = net, scale

    def forward(self, z: Tensor) -> Tensor:
        return self.scale * softplus(self.net(z)[..., 0])

    def log(self, z: Tensor) -> Tensor:
        """log lambda(z), finite and with a gradient also where lambda is below the smallest
        number.
        """
        a = self.net(z)[..., 0]
        small = a.clamp(max=LINEAR) - LINEAR  # 0 where it is not
        return softplus(a.clamp(min=LINEAR)).log() + small + math.log(self.scale)


class PointProcess(nn.Module):
    """z(0) ~ q(z(0) | events), dz/dt = f(t, z), and events a Poisson process of intensity lambda(z)
    (Chen et al. 2018, section 5, "Poisson process likelihoods"; Rubanova et al. 2019):

        log p(t_1 .. t_N | z(0)) = sum_i log lambda(z(t_i)) - int_0^T lambda(z(t)) dt

    The integral is a quadrature of the solve that leads from event to event.

    Args:
        dim: features of what is observed: 1, of events.
        encoder: q, which reads the events and the silence after them backward.
        dynamics: of z.
        intensity: lambda.
        samples: S of z(0), in training.

    Raises:
        ValueError: for less than one sample.
    """

    def __init__(
        self, dim: int, encoder: Encoder, dynamics: ODE, intensity: Intensity, samples: int = 1
    ) -> None:
        super().__init__()
        if samples < 1:
            raise ValueError(f"model.samples is {samples}, must be at least 1")
        self.dim, self.encoder, self.dynamics = dim, encoder, dynamics
        self.intensity, self.samples = intensity, samples

    def evaluated_with(self, solver: Solver) -> PointProcess:
        """Under another solver of the dynamics; that of the encoder's gaps, if any, stays."""
        return variant(self, {"dynamics": self.dynamics.evaluated_with(solver)})

    def infer(
        self, observed: Series, times: Tensor | None = None, samples: int | None = None
    ) -> tuple[Tensor, Inference]:
        """log p(observed | z(0)) of each sample, (B, S), in nats, and what it comes from: its
        predictions are intensities at ``times``, (B, T, S, 1).

        Args:
            observed: arrivals and the mark of the window's end (``data.events.Events``).
            times: (B, T) inside the window, none unless given.
            samples: S; the model's own unless given.
        """
        posterior = self.encoder(observed)
        z0, known = posterior.sample(samples or self.samples), observed.times.shape[1]
        asked = observed.times if times is None else torch.cat((observed.times, times), dim=1)
        states, integrals, spent = self.dynamics.integrate(z0, asked, self.intensity)
        at_events, at_times = states[:, :known], states[:, known:]
        log_rates, total = self.intensity.log(at_events), integrals[:, known - 1]
        inference = Inference(
            self.intensity(at_times)[..., None], z0, posterior.kl(), (*posterior.solves, *spent)
        )
        return log_likelihood(log_rates, arrivals(observed), total), inference


def log_likelihood(log_rates: Tensor, happened: Tensor, integral: Tensor) -> Tensor:
    """sum_i log lambda(t_i) - int_0^T lambda, of events of a Poisson process, in nats (Daley &
    Vere-Jones 2003, proposition 7.2.III).

    Args:
        log_rates: log lambda at the times, (B, T, ...).
        happened: which of the times are events, (B, T).
        integral: over the window, (B, ...).
    """
    happened = happened.view(*happened.shape, *[1] * (log_rates.dim() - 2))
    return torch.where(happened, log_rates, 0.0).sum(1) - integral
