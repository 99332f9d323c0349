"""Poisson processes with an intensity that depends on a latent state."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from ..data.events import arrivals
from ..data.series import Series
from .dynamics import ODE
from .encoder import Encoder
from .inference import Inference

_LINEAR = -20.0  # below it, log softplus(a) = a to within 1e-9


class Intensity(nn.Module):
    """lambda(z) = scale softplus(net(z)), from z (..., L) to (...), in events per unit of time.

    Softplus instead of exp keeps lambda positive because the integral of lambda is part of the
    solve: with exp one bad optimizer step makes rate and slope exponentially large, and with them
    the integral, its gradient and the number of solver steps. Softplus grows linearly with a slope
    of at most 1.

    Args:
        net: Net from z to one number, (..., 1).
        scale: Typical number of events per unit of time, so that the net's outputs are about 1:
            otherwise training first spends many steps on the overall level.

    Raises:
        ValueError: For a scale that is not positive.

    Example:
        >>> Intensity(nn.Linear(3, 1), scale=10.0)(torch.zeros(2, 5, 3)).shape
        torch.Size([2, 5])
    """

    def __init__(self, net: nn.Module, scale: float = 1.0) -> None:
        super().__init__()
        if not scale > 0:
            raise ValueError(f"scale is {scale}, must be positive")
        self.net, self.scale = net, scale

    def forward(self, z: Tensor) -> Tensor:
        return self.scale * softplus(self.net(z)[..., 0])

    def log(self, z: Tensor) -> Tensor:
        """Return log lambda(z), finite and with a gradient even where lambda underflows."""
        a = self.net(z)[..., 0]
        small = a.clamp(max=_LINEAR) - _LINEAR  # 0 above it
        return softplus(a.clamp(min=_LINEAR)).log() + small + math.log(self.scale)


class PointProcess(nn.Module):
    """z(0) ~ q(z(0) | events), dz/dt = f(t, z), and events a Poisson process of intensity lambda(z)
    (Chen et al. 2018, section 5, "Poisson process likelihoods"; Rubanova et al. 2019):

        log p(t_1 .. t_N | z(0)) = sum_i log lambda(z(t_i)) - int_0^T lambda(z(t)) dt

    The integral is a quadrature of the same ODE solve.

    Args:
        dim: Number of observed features: 1 for events.
        encoder: q, which reads the events and the silence after them backward.
        dynamics: Dynamics of z.
        intensity: lambda.
        samples: S, samples of z(0) in training.

    Raises:
        ValueError: For less than one sample.

    Example:
        >>> from node_runner.fields import MLP
        >>> from node_runner.latent import RNN
        >>> from node_runner.ode import Solver
        >>> dynamics = ODE(MLP(3, (8,)), Solver("dopri5"))
        >>> process = PointProcess(1, Encoder(RNN(1), 3), dynamics, Intensity(nn.Linear(3, 1)))
    """

    def __init__(
        self, dim: int, encoder: Encoder, dynamics: ODE, intensity: Intensity, samples: int = 1
    ) -> None:
        super().__init__()
        if samples < 1:
            raise ValueError(f"samples is {samples}, must be at least 1")
        self.dim, self.encoder, self.dynamics = dim, encoder, dynamics
        self.intensity, self.samples = intensity, samples

    def infer(
        self, observed: Series, times: Tensor | None = None, samples: int | None = None
    ) -> tuple[Tensor, Inference]:
        """Return log p(observed | z(0)) of each sample, (B, S), in nats, and the inference, whose
        predictions are intensities at ``times``, (B, T, S, 1).

        Args:
            observed: Arrivals and the mark of the window's end (``data.events.Events``).
            times: Times inside the window, (B, T) (default: none).
            samples: S (default: that of the model).
        """
        posterior = self.encoder(observed)
        z0, count = posterior.sample(samples or self.samples), observed.times.shape[1]
        requested = observed.times if times is None else torch.cat((observed.times, times), dim=1)
        states, integrals, solves = self.dynamics.integrate(z0, requested, self.intensity)
        at_events, at_times = states[:, :count], states[:, count:]
        log_rates, total = self.intensity.log(at_events), integrals[:, count - 1]
        inference = Inference(
            self.intensity(at_times)[..., None], z0, posterior.kl(), (*posterior.solves, *solves)
        )
        return log_likelihood(log_rates, arrivals(observed), total), inference


def log_likelihood(log_rates: Tensor, happened: Tensor, integral: Tensor) -> Tensor:
    """Return sum_i log lambda(t_i) - int_0^T lambda of events of a Poisson process, (B, ...), in
    nats (Daley & Vere-Jones 2003, proposition 7.2.III).

    Args:
        log_rates: log lambda at the times, (B, T, ...).
        happened: Which of the times are events, (B, T).
        integral: int_0^T lambda, (B, ...).
    """
    happened = happened.view(*happened.shape, *[1] * (log_rates.dim() - 2))
    return torch.where(happened, log_rates, 0.0).sum(1) - integral
