"""Encoder: from observations to a distribution of the latent state at time 0."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.distributions import Normal, kl_divergence

from ..data.series import Series
from ..nets import Feedforward
from .cells import Cell
from .cells.protocol import SolveStats


class Posterior(NamedTuple):
    """N(mean, diag sd^2) of z(0).

    Attributes:
        mean, sd: (B, L).
        solves: Cost of each ODE solve.
    """

    mean: Tensor
    sd: Tensor
    solves: SolveStats = ()

    def sample(self, count: int) -> Tensor:
        """Draw z, (B, count, L), with gradients in mean and sd."""
        b, latent = self.mean.shape
        normal = Normal(self.mean[:, None], self.sd[:, None], validate_args=False)
        return normal.expand((b, count, latent)).rsample()

    def kl(self) -> Tensor:
        """Return KL(q | N(0, I)) by dimension, (B, L), in nats."""
        prior = Normal(torch.zeros_like(self.mean), torch.ones_like(self.sd), validate_args=False)
        return kl_divergence(Normal(self.mean, self.sd, validate_args=False), prior)


class Encoder(nn.Module):
    """q(z(0) | x) = N(mean, sd^2), from a net on the state of a recurrent cell that has read the
    series backward, down to time 0 (Chen et al. 2018, section 5; Rubanova et al. 2019, section
    3.2).

    The time of the first observation is another input of the net: the state of a cell that is
    constant in gaps does not depend on it.

    Args:
        cell: Recurrent cell that reads the series.
        latent: L, size of the latent state.
        hidden: Widths of the net's hidden layers, tanh.

    Example:
        >>> from node_runner.data.series import full
        >>> from node_runner.latent import RNN
        >>> series = full(torch.ones(4, 3), torch.zeros(4, 3, 2))
        >>> Encoder(RNN(2), latent=5)(series).sample(6).shape
        torch.Size([4, 6, 5])
    """

    def __init__(self, cell: Cell, latent: int, hidden: Sequence[int] = ()) -> None:
        super().__init__()
        self.cell, self.latent = cell, latent
        self.head = Feedforward(cell.hidden_size + 1, 2 * latent, hidden)

    def forward(self, series: Series) -> Posterior:
        reading = self.cell.read(series.backward())
        first = series.times[:, 0]
        last_read = reading.at(series.lengths[:, None])[:, 0]
        h, spent = self.cell.evolve(last_read, first)
        mean, log_variance = self.head(torch.cat((h, first[:, None]), dim=1)).chunk(2, dim=1)
        return Posterior(mean, (0.5 * log_variance).exp(), (*reading.solves, *spent))
