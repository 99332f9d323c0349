"""Interpolation and extrapolation of irregular series."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ..data.series import Batch, Series
from ..latent import Inference, LatentModel, SeriesModel, squared_errors
from ..latent.picture import draw_between, draw_series
from ..ode import Solver
from ..training import Data, Evaluation, Exhibit, Headline, Pooled, Step

SHOWN, FUTURES = 6, 10  # series in the picture, and samples of each


class SeriesModelling(nn.Module):
    """Maximise what a model of series says of the target, given what is observed:

        log 1/S sum_s exp(log p(target | z_s) - w KL(q(z | observed) | N(0, I))), z_s ~ q,

    the evidence lower bound for S = 1 and w = 1, the plain log-likelihood of a model without latent
    state.

    Args:
        model: of series.
        eval_solver: of evaluation and pictures.
        kl_wait: epochs in which w is 0.
        kl_rate: from then on w = 1 - kl_rate^(epoch - kl_wait), epochs counted from 0; 0 for w = 1
            from the start (Rubanova et al. 2019 wait for 10 epochs, and have 0.99).
        mean: divide the log-likelihood by the number of observations and the KL by that of latent
            dimensions, as the released code of Rubanova et al. does; the objective is then a bound
            no more, and the KL weighs more than it should where there are more observations than
            latent dimensions.

    Raises:
        ValueError: for a value out of range.
    """

    headline = Headline("mse", "")

    def __init__(
        self,
        model: SeriesModel,
        eval_solver: Solver,
        kl_wait: int = 0,
        kl_rate: float = 0.0,
        mean: bool = False,
    ) -> None:
        super().__init__()
        if kl_wait < 0 or not 0 <= kl_rate < 1:
            raise ValueError(
                f"task.kl_wait is {kl_wait}, task.kl_rate {kl_rate}: must be at least 0, and from "
                "0 to below 1"
            )
        self.model, self.eval_solver, self.mean = model, eval_solver, mean
        self.kl_wait, self.kl_rate = kl_wait, kl_rate
        self.steps_per_epoch, self.steps = 1, 0

    def get_extra_state(self) -> int:
        """Steps done: a resumed run goes on with its KL weight."""
        return self.steps

    def set_extra_state(self, state: int) -> None:
        self.steps = state

    def check(self, data: Data) -> None:
        """The model has as many features as the data."""
        if data.shape != (self.model.dim,):
            raise ValueError(
                f"the model is for series of {self.model.dim} features and {data.name} has "
                f"{data.shape[0]}: set model.dim={data.shape[0]}"
            )
        self.steps_per_epoch = data.steps_per_epoch

    def kl_weight(self) -> float:
        """w of the next step."""
        epoch = self.steps // self.steps_per_epoch
        if epoch < self.kl_wait:
            return 0.0
        return 1 - self.kl_rate ** (epoch - self.kl_wait) if self.kl_rate else 1.0

    def step(self, batch: Batch) -> Step:
        """A training step on one batch of series."""
        inference = self.model.infer(batch.observed, batch.target.times)
        weight = self.kl_weight()
        self.steps += 1
        objective, kl = self.objective(inference, batch.target, weight)
        errors, _ = squared_errors(batch.target, inference.predictions)
        metrics = {"mse_observed": errors.mean()}
        if inference.kl is not None:
            metrics |= {"kl": kl.mean(), "kl_weight": torch.tensor(weight)}
        return Step(loss=-objective.mean(), metrics=metrics, costs=inference.nfe)

    def objective(
        self, inference: Inference, target: Series, kl_weight: float
    ) -> tuple[Tensor, Tensor]:
        """The objective and the KL of each series, (B,) each."""
        predictions = inference.predictions[:, : target.times.shape[1]]
        log_prob = self.model.likelihood.log_prob(target, predictions)
        kl = torch.zeros_like(log_prob) if inference.kl is None else inference.kl
        kl = kl.mean(1) if self.mean else kl.sum(1)
        if self.mean:
            log_prob = log_prob / target.mask.sum((1, 2))[:, None]
        bound = torch.logsumexp(log_prob, dim=1) - torch.log(log_prob.new_tensor(log_prob.shape[1]))
        return bound - kl_weight * kl, kl

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
