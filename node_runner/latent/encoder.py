"""From observations to a distribution of the latent state at time 0."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ..data.series import Series
from ..nets import Feedforward
from .cells import Cell
from .cells.protocol import Solves


class Posterior(NamedTuple):
    """N(mean, diag sd^2) of z(0).

    Attributes:
        mean, sd: (B, L).
        solves: the cost of each solve on the way.
    """

    mean: Tensor
    sd: Tensor
    solves: Solves = ()

    def sample(self, count: int) -> Tensor:
        """z, (B, count, L), differentiably in mean and sd."""
        mean, sd = self.mean[:, None], self.sd[:, None]
        noise = mean.new_empty(len(mean), count, mean.shape[2]).normal_()
        return mean + sd * noise

    def kl(self) -> Tensor:
        """KL(q | N(0, I)) by dimension, (B, L), in nats."""
        return 0.5 * (self.mean.square() + self.sd.square() - 1) - self.sd.log()


class Encoder(nn.Module):
    """q(z(0) | x) = N(mean, sd^2), both given by a net from the state of a recurrent cell that has
    read the series backward, down to time 0 (Chen et al. 2018, section 5; Rubanova et al. 2019,
    section 3.2).

    The net is also told the time of the first observation, which a cell that does not move in gaps
    cannot know of.

    Args:
        cell: that reads.
        latent: L.
        hidden: widths of the net's hidden layers, tanh.
    """

    def __init__(self, cell: Cell, latent: int, hidden: Sequence[int] = ()) -> None:
        super().__init__()
        self.cell, self.latent = cell, latent
        self.head = Feedforward(cell.size + 1, 2 * latent, hidden)

    def forward(self, series: Series) -> Posterior:
        reading = self.cell.read(series.backward())
        first = series.times[:, 0]
        last_read = reading.at(series.lengths[:, None])[:, 0]
        h, spent = self.cell.evolve(last_read, first)
        mean, log_variance = self.head(torch.cat((h, first[:, None]), dim=1)).chunk(2, dim=1)
        return Posterior(mean, (0.5 * log_variance).exp(), (*reading.solves, *spent))
