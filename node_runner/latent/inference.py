"""What models of series have in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from torch import Tensor

from ..data.series import Series
from ..ode import Solver, Stats, total
from .likelihood import Gaussian


@dataclass(frozen=True)
class Inference:
    """What a model makes of a batch, from S samples of its latent state (one, where it has none).

    Attributes:
        predictions: at the times asked for, (B, T, S, D).
        summary: of all that was observed, (B, S, H).
        kl: of the posterior from the prior, by latent dimension, (B, L); None without a posterior.
        solves: the cost of each solve.
    """

    predictions: Tensor
    summary: Tensor
    kl: Tensor | None
    solves: tuple[Stats, ...]

    @property
    def stats(self) -> Stats:
        """The sum over all solves, as of now: a backward pass adds to it."""
        return total(self.solves)

    def nfe(self) -> dict[str, int]:
        """Evaluations by the tags of a training log; empty where nothing was solved."""
        return self.stats.nfe() if self.solves else {}


@runtime_checkable
class SeriesModel(Protocol):
    """A model of irregular series: an nn.Module.

    Attributes:
        dim: D.
        size: H, of the summary of a series.
        likelihood: of observations about predictions.
    """

    dim: int
    size: int
    likelihood: Gaussian

    def infer(
        self,
        observed: Series,
        times: Tensor,
        beyond: Tensor | None = None,
        samples: int | None = None,
    ) -> Inference:
        """Predict at times (B, T) and then at those beyond, (B, T'), which are later than all that
        is observed: T + T' predictions.

        Args:
            samples: S, where the model has a say in it; its own unless given.
        """

    def follow(self, observed: Series) -> Inference:
        """Predict at the times observed, told all that the model may know there: an autoregressive
        model has then seen what it is asked for, which suits labels of times.
        """

    def evaluated_with(self, solver: Solver) -> SeriesModel:
        """The same model (its parameters are shared) under another solver."""
