"""Interface and outputs of time-series models."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from torch import Tensor

from ..data.series import Series
from ..ode import Stats, total
from .likelihood import Gaussian


@dataclass(frozen=True)
class Inference:
    """Output of a model for a batch, from S samples of its latent state (S = 1 without one).

    Attributes:
        predictions: Predictions at the requested times, (B, T, S, D).
        embedding: State that summarises all observations, (B, S, H).
        kl: KL divergence of the posterior from the prior by latent dimension, (B, L), in nats; None
            without a posterior.
        solves: Cost of each ODE solve.
    """

    predictions: Tensor
    embedding: Tensor
    kl: Tensor | None
    solves: tuple[Stats, ...]

    @property
    def stats(self) -> Stats:
        """Sum over all solves at the time of the call: a backward pass adds to it."""
        return total(self.solves)

    def nfe(self) -> dict[str, int]:
        """Return evaluations by the tags of a training log; {} if no ODE was solved."""
        return self.stats.nfe() if self.solves else {}


@runtime_checkable
class SeriesModel(Protocol):
    """A model of irregular series: an nn.Module.

    Attributes:
        dim: D.
        hidden_size: H, entries of the embedding of a series.
        likelihood: Likelihood of observations given predictions.
    """

    dim: int
    hidden_size: int
    likelihood: Gaussian

    def infer(
        self,
        observed: Series,
        times: Tensor,
        beyond: Tensor | None = None,
        samples: int | None = None,
    ) -> Inference:
        """Predict from all observations.

        Args:
            observed: Observations.
            times: Times of predictions, (B, T).
            beyond: Further times after the last observation, (B, T'), for T + T' predictions.
            samples: S (default: that of the model); ignored by a model without a latent state.
        """

    def filter(self, observed: Series) -> Inference:
        """Predict at the observed times. An autoregressive model has read the observation at each
        of these times, as suits a label per time.
        """
