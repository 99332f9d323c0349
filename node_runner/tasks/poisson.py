"""Poisson processes: the intensity behind events."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..data.events import Events
from ..latent import Inference, KLAnnealing, PointProcess, log_likelihood
from ..latent.plots import draw_intensities
from ..nets import with_solver
from ..ode import Solver
from ..training import Artifacts, Data, DatasetMetric, Evaluation, PrimaryMetric, TrainingStep
from .series import check_features, forward_cost, kl_metrics

SHOWN = 6  # series in the picture


class PoissonEvents(nn.Module):
    """Maximise the evidence lower bound of events (Chen et al. 2018, section 5),

        1/S sum_s log p(t_1 .. t_N | z_s) - w KL(q | N(0, I)), z_s ~ q(z(0) | t_1 .. t_N)

    With w = 1 it is a bound for any S, as it would not be with the mean over probabilities that
    ``latent.elbo`` takes for S > 1.

    Args:
        model: of events.
        eval_solver: of evaluation and pictures.
        kl: weight of the KL over training; 1 unless given.
        samples: S of evaluation and pictures.

    Raises:
        ValueError: for less than one sample.
    """

    primary_metric = PrimaryMetric("nll", "nats")

    def __init__(
        self,
        model: PointProcess,
        eval_solver: Solver,
        kl: KLAnnealing | None = None,
        samples: int = 10,
    ) -> None:
        super().__init__()
        if samples < 1:
            raise ValueError(f"samples is {samples}, must be at least 1")
        self.model, self.eval_solver, self.samples = model, eval_solver, samples
        self.kl = KLAnnealing() if kl is None else kl

    def bind(self, data: Data) -> None:
        """The data are events."""
        if not isinstance(data.train_batch(0), Events):
            raise ValueError(
                f"poisson_events is for times of events, and {data.name} has none: leave out "
                "data=, or choose data=events"
            )
        check_features(self.model.dim, data)
        self.kl.steps_per_epoch = data.steps_per_epoch

    def step(self, batch: Events) -> TrainingStep:
        """A training step on one batch of series."""
        log_prob, inference = self.model.infer(batch.observed)
        weight, kl = self.kl.step(), inference.kl.sum(1)
        loss = (weight * kl - log_prob.mean(1)).mean()
        nll = (kl - log_prob.mean(1)).mean().detach()
        metrics = {"nll": nll} | kl_metrics(inference, kl, weight)
        return TrainingStep(loss=loss, metrics=metrics, costs=inference.nfe)

    def evaluate(self, batch: Events, split: str) -> Evaluation:
        """Of each series: ``nll``, the negated bound with w = 1; the negative log-likelihood of the
        true intensity, and of the homogeneous process that suits its events best; and the relative
        L2 errors from the true intensity of the mean intensity over samples, and of that same
        constant. Of all: the nats an event by which the model's bound is above the constant.
        """
        log_prob, inference = self.infer(batch)
        nll = inference.kl.sum(1) - log_prob.mean(1)
        true = -log_likelihood(batch.intensity.log(), batch.arrivals, batch.integral)
        count, end = batch.counts.to(nll.dtype), batch.end
        constant = count - torch.xlogy(count, count / end)  # no events: rate 0, probability 1
        rates = inference.predictions.mean((2, 3))
        values = {
            "nll": nll,
            "nll_true": true,
            "nll_constant": constant,
            "rate_error": relative_error(rates, batch),
            "rate_error_constant": relative_error((count / end)[:, None], batch),
        }
        pooled = {"gain": DatasetMetric(nats_an_event, (constant - nll, count))}
        return Evaluation(values, forward_cost(inference), pooled)

    def infer(self, batch: Events) -> tuple[Tensor, Inference]:
        """log p of each sample and the inference, with intensities on the batch's grid."""
        model = with_solver(self.model, self.eval_solver)
        return model.infer(batch.observed, batch.grid, self.samples)

    def sample(self, data: Data) -> Artifacts:
        """Return ``visualize`` and, as arrays of the first test batch, ``times`` (G,),
        ``intensities`` (B, G, S) of samples of the latent state there, in events a unit of time,
        ``true_intensity`` (B, G), and ``events`` (B, N), nan behind the last of a series.
        """
        found, batch = self.visualize(data), next(iter(data.batches("test")))
        found.arrays |= {
            "times": batch.grid[0],
            "intensities": self.infer(batch)[1].predictions[..., 0],
            "true_intensity": batch.curve,
            "events": batch.observed.times.masked_fill(~batch.arrivals, torch.nan),
        }
        return found

    def visualize(self, data: Data) -> Artifacts:
        """The first test series: the learned intensity beside the true one."""
        batch = next(iter(data.batches("test")))
        rates = self.infer(batch)[1].predictions[..., 0]
        return Artifacts({"intensity": draw_intensities(first(batch, SHOWN), rates[:SHOWN])})


def relative_error(rates: Tensor, batch: Events) -> Tensor:
    """|rates - true| / |true| in L2 over the window, by the trapezoidal rule, (B,) for rates on the
    batch's grid, (B, G) or (B, 1).
    """
    error = torch.trapezoid((rates - batch.curve).square(), batch.grid)
    return (error / torch.trapezoid(batch.curve.square(), batch.grid)).sqrt()


def nats_an_event(gain: Tensor, count: Tensor) -> float:
    """NaN where there are no events at all."""
    return (gain.double().sum() / count.double().sum()).item()


def first(batch: Events, count: int) -> Events:
    """The first series of a batch."""
    observed, *rest = batch
    return Events(
        type(observed)(*(part[:count] for part in observed)), *(part[:count] for part in rest)
    )
