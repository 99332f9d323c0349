"""Interpolation and extrapolation of irregular series."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ..data.series import Batch, Series
from ..latent import (
    Inference,
    KLAnnealing,
    LatentModel,
    SeriesModel,
    elbo,
    squared_errors,
)
from ..latent.plots import SeriesAxes, draw_interpolation, draw_series, plot_times
from ..nets import with_solver
from ..ode import Solver
from ..training import Artifacts, Data, DatasetMetric, Evaluation, PrimaryMetric, TrainingStep

SHOWN, FUTURES = 6, 10  # series in the picture, and samples of each
PRIOR = 100  # samples from the prior


class SeriesModelling(nn.Module):
    """Maximise what a model says of the target, given what is observed (``latent.elbo``).

    Args:
        model: of series.
        eval_solver: of evaluation and pictures.
        kl: weight of the KL over training; 1 unless given.
        mean: over observations and latent dimensions instead of sums.
    """

    primary_metric = PrimaryMetric("mse", "")

    def __init__(
        self,
        model: SeriesModel,
        eval_solver: Solver,
        kl: KLAnnealing | None = None,
        mean: bool = False,
    ) -> None:
        super().__init__()
        self.model, self.eval_solver, self.mean = model, eval_solver, mean
        self.kl = KLAnnealing() if kl is None else kl

    def bind(self, data: Data) -> None:
        """The model has as many features as the data."""
        check_series(self.model, data)
        self.kl.steps_per_epoch = data.steps_per_epoch

    def step(self, batch: Batch) -> TrainingStep:
        """A training step on one batch of series."""
        batch = self.cast(batch)
        inference, weight = self.model.infer(batch.observed, batch.target.times), self.kl.step()
        objective, kl = self.objective(inference, batch.target, weight)
        errors, _ = squared_errors(batch.target, inference.predictions.detach())
        metrics = {"mse_observed": errors.mean()} | kl_metrics(inference, kl, weight)
        return TrainingStep(loss=-objective.mean(), metrics=metrics, costs=inference.nfe)

    def cast(self, batch: Batch) -> Batch:
        """The batch in the model's dtype: trajectories are float64 (``data.trajectory``)."""
        dtype = next(self.model.parameters()).dtype
        return batch if batch.target.values.dtype == dtype else batch.to(dtype)

    def objective(
        self, inference: Inference, target: Series, kl_weight: float
    ) -> tuple[Tensor, Tensor]:
        """The objective and the KL of each series, (B,) each."""
        return elbo(self.model.likelihood, inference, target, kl_weight, self.mean)

    def infer(self, batch: Batch) -> Inference:
        """The model's answer in evaluation, to a batch in its own dtype."""
        later = None if batch.beyond is None else batch.beyond.times
        model = with_solver(self.model, self.eval_solver)
        return model.infer(batch.observed, batch.target.times, later)

    def evaluate(self, batch: Batch, split: str) -> Evaluation:
        """Of each series: the objective with w = 1, negated; the mean squared error over all that
        was observed, and over features (the published figures of Rubanova et al. 2019); of what
        lies beyond the observed range the former. Of all: root-mean-square errors.
        """
        batch = self.cast(batch)
        inference, target = self.infer(batch), batch.target
        end = target.times.shape[1]
        alike, by_feature = squared_errors(target, inference.predictions[:, :end])
        objective, _ = self.objective(inference, target, 1.0)
        values = {"loss": -objective, "mse": by_feature, "mse_observed": alike}
        pooled = {"rmse": DatasetMetric(root_mean, (alike,))}
        if batch.beyond is not None:
            later, _ = squared_errors(batch.beyond, inference.predictions[:, end:])
            values["mse_beyond"], pooled["rmse_beyond"] = later, DatasetMetric(root_mean, (later,))
        return Evaluation(values, forward_cost(inference), pooled)

    def sample(self, data: Data) -> Artifacts:
        """Return ``visualize`` and, as arrays of the first test batch, ``times`` (T,), and
        ``samples`` (B, T, S, D) of what the model makes of each series there, inside the range of
        the target and beyond it; what it was told, ``observed_times`` (B, N) and
        ``observed_values`` (B, N, D), nan where nothing is; of a latent model also
        ``prior_samples`` (P, T, D), of states drawn from N(0, I). Values are in the units of the
        files where the data are scaled.
        """
        found, batch = self.visualize(data), self.cast(next(iter(data.batches("test"))))
        model = with_solver(self.model, self.eval_solver)
        times, beyond = plot_times(batch)
        every = times if beyond is None else torch.cat((times, beyond))
        count = len(batch.target.times)
        wide = (times.expand(count, -1), None if beyond is None else beyond.expand(count, -1))
        found.arrays |= {
            "times": every,
            "samples": in_files(data, model.infer(batch.observed, *wide, FUTURES).predictions),
            "observed_times": batch.observed.times,
            "observed_values": in_files(data, seen(batch.observed)),
        }
        if isinstance(model, LatentModel):
            z0 = every.new_empty(PRIOR, 1, model.hidden_size).normal_()
            curves = model.decode(z0, every.expand(PRIOR, -1))[:, :, 0]
            found.arrays["prior_samples"] = in_files(data, curves)
        return found

    def visualize(self, data: Data) -> Artifacts:
        """The first test series with what the model makes of them, and of a latent model what lies
        between two of them.
        """
        batch = self.cast(first(next(iter(data.batches("test"))), SHOWN))
        model = with_solver(self.model, self.eval_solver)
        labels = SeriesAxes.of(data)
        figures = {"series": draw_series(model, batch, FUTURES, labels)}
        if isinstance(model, LatentModel):
            figures["between"] = draw_interpolation(model, batch, labels)
        return Artifacts(figures)


def in_files(data: Data, values: Tensor) -> Tensor:
    """Values (..., D) in the units of the files: as they are where the data are not scaled."""
    scaling = getattr(data, "scaling", None)
    return values if scaling is None else scaling.undo(values)


def seen(series: Series) -> Tensor:
    """The values of a series, nan where nothing was observed."""
    return series.values.masked_fill(~series.mask, torch.nan)


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
