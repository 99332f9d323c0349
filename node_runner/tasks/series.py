"""Interpolation and extrapolation of irregular series."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from ..data.series import Batch, Series
from ..latent import (
    Annealing,
    Inference,
    LatentModel,
    SeriesModel,
    evidence,
    squared_errors,
)
from ..latent.picture import draw_between, draw_series
from ..ode import Solver
from ..training import Data, Evaluation, Exhibit, Headline, Pooled, Step

SHOWN, FUTURES = 6, 10  # series in the picture, and samples of each


class SeriesModelling(nn.Module):
    """Maximise what a model says of the target, given what is observed (``latent.evidence``).

    Args:
        model: of series.
        eval_solver: of evaluation and pictures.
        kl: weight of the KL over training; 1 unless given.
        mean: over observations and latent dimensions instead of sums.
    """

    headline = Headline("mse", "")

    def __init__(
        self,
        model: SeriesModel,
        eval_solver: Solver,
        kl: Annealing | None = None,
        mean: bool = False,
    ) -> None:
        super().__init__()
        self.model, self.eval_solver, self.mean = model, eval_solver, mean
        self.kl = Annealing() if kl is None else kl

    def check(self, data: Data) -> None:
        """The model has as many features as the data."""
        check_series(self.model, data)
        self.kl.steps_per_epoch = data.steps_per_epoch

    def step(self, batch: Batch) -> Step:
        """A training step on one batch of series."""
        inference, weight = self.model.infer(batch.observed, batch.target.times), self.kl.step()
        objective, kl = self.objective(inference, batch.target, weight)
        errors, _ = squared_errors(batch.target, inference.predictions.detach())
        metrics = {"mse_observed": errors.mean()} | kl_metrics(inference, kl, weight)
        return Step(loss=-objective.mean(), metrics=metrics, costs=inference.nfe)

    def objective(
        self, inference: Inference, target: Series, kl_weight: float
    ) -> tuple[Tensor, Tensor]:
        """The objective and the KL of each series, (B,) each."""
        return evidence(self.model.likelihood, inference, target, kl_weight, self.mean)

    def infer(self, batch: Batch) -> Inference:
        """The model's answer in evaluation."""
        later = None if batch.beyond is None else batch.beyond.times
        model = self.model.evaluated_with(self.eval_solver)
        return model.infer(batch.observed, batch.target.times, later)

    def evaluate(self, batch: Batch, split: str) -> Evaluation:
        """Of each series: the objective with w = 1, negated; the mean squared error over all that
        was observed, and over features (the published figures of Rubanova et al. 2019); of what
        lies beyond the observed range the former. Of all: root-mean-square errors.
        """
        inference, target = self.infer(batch), batch.target
        end = target.times.shape[1]
        alike, by_feature = squared_errors(target, inference.predictions[:, :end])
        objective, _ = self.objective(inference, target, 1.0)
        values = {"loss": -objective, "mse": by_feature, "mse_observed": alike}
        pooled = {"rmse": Pooled(root_mean, (alike,))}
        if batch.beyond is not None:
            later, _ = squared_errors(batch.beyond, inference.predictions[:, end:])
            values["mse_beyond"], pooled["rmse_beyond"] = later, Pooled(root_mean, (later,))
        return Evaluation(values, forward_cost(inference), pooled)

    def show(self, data: Data) -> Exhibit:
        """The first test series with what the model makes of them, and of a latent model what lies
        between two of them.
        """
        batch = first(next(iter(data.batches("test"))), SHOWN)
        model = self.model.evaluated_with(self.eval_solver)
        figures = {"series": draw_series(model, batch, FUTURES)}
        if isinstance(model, LatentModel):
            figures["between"] = draw_between(model, batch)
        return Exhibit(figures)


def check_series(model: SeriesModel, data: Data) -> None:
    """The model predicts series, the data are such, and both have as many features.

    Raises:
        ValueError: if not.
    """
    if not isinstance(model, SeriesModel):
        raise ValueError(
            f"the model is a {type(model).__name__}, which predicts no series: choose "
            "model=latent_ode or one of those beside it"
        )
    if not isinstance(data.train_batch(0), Batch):
        raise ValueError(f"{data.name} are no series to predict: choose data=spirals or the like")
    check_features(model.dim, data)


def check_features(dim: int, data: Data) -> None:
    """The data have as many features as a model is for.

    Raises:
        ValueError: if not.
    """
    if data.shape != (dim,):
        raise ValueError(
            f"the model is for series of {dim} features and {data.name} has "
            f"{data.shape[0]}: set series.dim={data.shape[0]}"
        )


def kl_metrics(inference: Inference, kl: Tensor, weight: float) -> dict[str, Tensor]:
    """Of a training step of a latent model."""
    if inference.kl is None:
        return {}
    kl = kl.detach()
    return {"kl": kl.mean(), "kl_weight": kl.new_tensor(weight)}


def forward_cost(inference: Inference) -> dict[str, float]:
    """nfe of an evaluation, where anything was solved."""
    return {"nfe": inference.stats.forward.nfe} if inference.solves else {}


def root_mean(values: Tensor) -> float:
    return values.double().mean().sqrt().item()


def first(batch: Batch, count: int) -> Batch:
    """The first series of a batch."""

    def some(part: Any) -> Any:
        if isinstance(part, Series):
            return Series(*(each[:count] for each in part))
        return None if part is None else part[:count]

    return Batch(*(some(part) for part in batch))
