"""Classification of irregular series, whole or at each of their times."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ..data.series import Batch
from ..latent import Inference, KLAnnealing, SeriesModel, elbo
from ..nets import with_solver
from ..ode import Solver
from ..plotting import add_colour_bar
from ..training import Artifacts, Data, DatasetMetric, Evaluation, PrimaryMetric, TrainingStep
from .series import check_series, forward_cost, kl_metrics

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class SeriesClassification(nn.Module):
    """Minimise ``weight`` times the cross-entropy of labels, plus the negated evidence of the
    series themselves where ``reconstruct`` (Rubanova et al. 2019, sections 4.3 and 4.4: on
    PhysioNet they reconstruct, with a weight of 100; on human activity they do not).

    A label of a whole series is told by the classifier from z(0), or from the last state of a model
    without it; one of a time by the model's own predictions there, of which those of an
    autoregressive model have seen that time.

    Args:
        model: of series.
        eval_solver: of evaluation.
        classifier: given H, a net from a state (..., H) to logits (..., classes); None where the
            labels are of times, of which the model predicts logits.
        reconstruct: whether to learn the series, too.
        weight: of the cross-entropy.
        kl: weight of the KL over training; 1 unless given.
        mean: over observations and latent dimensions instead of sums, in the evidence.

    Raises:
        ValueError: for a weight that is not positive.
    """

    primary_metric = PrimaryMetric("nll", "nats")

    def __init__(
        self,
        model: SeriesModel,
        eval_solver: Solver,
        classifier: Callable[[int], nn.Module] | None = None,
        reconstruct: bool = True,
        weight: float = 100.0,
        kl: KLAnnealing | None = None,
        mean: bool = True,
    ) -> None:
        super().__init__()
        if not weight > 0:
            raise ValueError(f"weight is {weight}, must be positive")
        if reconstruct and classifier is None:
            raise ValueError(
                "task.reconstruct is true, but without task.classifier the model predicts labels: "
                "set task.reconstruct=false"
            )
        self.model, self.eval_solver = model, eval_solver
        self.classifier = None if classifier is None else classifier(model.hidden_size)
        self.reconstruct, self.weight, self.mean = reconstruct, weight, mean
        self.kl = KLAnnealing() if kl is None else kl

    def bind(self, data: Data) -> None:
        """The model has as many features as the data, the classifier as many classes, and there are
        labels.
        """
        check_series(self.model, data)
        batch = data.train_batch(0)
        if batch.labels is None:
            raise ValueError(
                f"{data.name} has no labels to classify by: leave out data=, or choose "
                "data=physionet or activity"
            )
        of_times, own = batch.labels.dim() > 1, self.classifier is None
        if of_times != own:
            raise ValueError(
                f"{data.name} has labels of {'times' if of_times else 'whole series'}, and "
                f"task.classifier is {'missing' if own else 'given'}: it must be null for labels "
                "of times, and a net for those of series"
            )
        with torch.no_grad():
            answers = self.classify(self.model, batch)[0].shape[-1]
        if answers != data.classes:
            raise ValueError(
                f"the classifier chooses among {answers} classes and {data.name} has "
                f"{data.classes}: set {'series.outputs' if own else 'task.classifier.outputs'}="
                f"{data.classes}"
            )
        self.kl.steps_per_epoch = data.steps_per_epoch

    def classify(self, model: SeriesModel, batch: Batch) -> tuple[Tensor, Inference]:
        """log p(class), (B, ..., S, C) as the labels are (B, ...), and the inference behind it."""
        if self.classifier is None:
            inference = model.filter(batch.observed)
            return inference.predictions.log_softmax(-1), inference
        inference = model.infer(batch.observed, batch.target.times)
        return self.classifier(inference.embedding).log_softmax(-1), inference

    def step(self, batch: Batch) -> TrainingStep:
        """A training step: the cross-entropy of each sample of the state."""
        log_prob, inference = self.classify(self.model, batch)
        right = picked(log_prob, batch.labels[..., None].expand(log_prob.shape[:-1]))
        known = counted(batch)[..., None].expand_as(right)
        cross_entropy = -(right * known).sum() / known.sum()
        loss = self.weight * cross_entropy
        metrics = {"nll": cross_entropy.detach()}
        kl_weight = self.kl.step()
        if self.reconstruct:
            found = elbo(self.model.likelihood, inference, batch.target, kl_weight, self.mean)
            loss = loss - found[0].mean()
            metrics |= {"evidence": found[0].mean().detach()} | kl_metrics(
                inference, found[1], kl_weight
            )
        return TrainingStep(loss=loss, metrics=metrics, costs=inference.nfe)

    def evaluate(self, batch: Batch, split: str) -> Evaluation:
        """Of each series: cross-entropy and error of the mean probability over samples; over times,
        where each has a label, their mean. Of all, if there are two classes of series: the area
        under the receiver's curve.
        """
        log_prob, inference = self.classify(with_solver(self.model, self.eval_solver), batch)
        log_prob = log_prob.logsumexp(-2) - math.log(log_prob.shape[-2])
        known = counted(batch)
        wrong = (log_prob.argmax(-1) != batch.labels) & known
        nll = torch.where(known, -picked(log_prob, batch.labels), 0.0)
        times = known.flatten(1).sum(1) if known.dim() > 1 else 1
        values = {"nll": of_series(nll) / times, "error": of_series(wrong.double()) / times}
        values["accuracy"] = 1 - values["error"]
        pooled = {}
        if log_prob.shape[-1] == 2 and log_prob.dim() == 2:
            pooled["auc"] = DatasetMetric(area_under_curve, (log_prob[:, 1], batch.labels))
        return Evaluation(values, forward_cost(inference), pooled)

    def sample(self, data: Data) -> Artifacts:
        """Return ``visualize`` and, as arrays of the first test batch, ``probabilities``
        (B, ..., C), their mean over samples, and ``labels`` (B, ...), -1 where there is none.
        """
        found, batch = self.visualize(data), next(iter(data.batches("test")))
        log_prob = self.classify(with_solver(self.model, self.eval_solver), batch)[0]
        labels = batch.labels.masked_fill(~counted(batch), -1)
        found.arrays |= {"probabilities": log_prob.exp().mean(-2), "labels": labels}
        return found

    def visualize(self, data: Data) -> Artifacts:
        """How often each class is told for another, on the test set."""
        model, pairs = with_solver(self.model, self.eval_solver), []
        for batch in data.batches("test"):
            log_prob = self.classify(model, batch)[0].logsumexp(-2)
            known = counted(batch)
            pairs.append(torch.stack((batch.labels[known], log_prob.argmax(-1)[known])))
        names = getattr(data, "class_names", tuple(map(str, range(data.classes))))
        return Artifacts({"confusion": draw_confusion(torch.cat(pairs, 1).cpu(), names)})


def picked(log_prob: Tensor, labels: Tensor) -> Tensor:
    """log p(label), (B, ...)."""
    return log_prob.gather(-1, labels[..., None])[..., 0]


def counted(batch: Batch) -> Tensor:
    """Which labels are there: all of series, those of present times; in the labels' shape."""
    if batch.labels.dim() > 1:
        return batch.observed.present
    return torch.ones_like(batch.labels, dtype=torch.bool)


def of_series(values: Tensor) -> Tensor:
    """Sum over times, if there are any, (B,)."""
    return values.sum(1) if values.dim() > 1 else values


def area_under_curve(score: Tensor, label: Tensor) -> float:
    """The chance that a positive has a higher score than a negative, ties counting half (Mann and
    Whitney 1947); NaN where there is but one class.
    """
    positive, negative = score[label == 1], score[label == 0]
    if not len(positive) or not len(negative):
        return float("nan")
    ordered = negative.sort().values
    below = torch.searchsorted(ordered, positive)
    up_to = torch.searchsorted(ordered, positive, right=True)
    return ((below + up_to).double().mean() / (2 * len(negative))).item()


def draw_confusion(pairs: Tensor, names: Sequence[str]) -> Figure:
    """Draw the confusion matrix, as shares of each true class and counts.

    Args:
        pairs: True and predicted classes, (2, N).
        names: Name of each class.
    """
    from matplotlib.figure import Figure  # imported late: takes half a second

    (labels, answers), classes = pairs, len(names)
    counts = torch.bincount(labels * classes + answers, minlength=classes**2).view(classes, classes)
    shares = counts / counts.sum(1, keepdim=True).clamp(min=1)
    longest = max(map(len, names))
    side, room = 1.2 + 0.55 * classes, 0.08 * longest  # inches; room is for the tick labels
    figure = Figure(figsize=(side + room + 1.4, side + room), layout="constrained")
    axis = figure.subplots()
    image = axis.imshow(shares.numpy(), cmap="Blues", vmin=0, vmax=1)
    for i in range(classes):
        for j in range(classes):
            colour = "white" if float(shares[i, j]) > 0.5 else "black"
            style = {"ha": "center", "va": "center", "fontsize": 8, "color": colour}
            axis.text(j, i, f"{shares[i, j]:.2f}\n{int(counts[i, j])}", **style)
    axis.set(xlabel="predicted class", ylabel="true class")
    tilted = {"rotation": 40, "ha": "right"} if longest > 2 else {}
    axis.set_xticks(range(classes), names, **tilted)
    axis.set_yticks(range(classes), names)
    add_colour_bar(image, axis, "share of the true class")
    return figure
