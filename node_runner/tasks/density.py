"""Density estimation: training of flows by an objective, evaluation by a metric."""

from __future__ import annotations

from math import prod
from typing import Protocol

import torch
from torch import Tensor, nn

from ..flow import CNF, Divergence, Exact, Flow
from ..flow.plots import (
    animate_flow,
    draw_densities,
    draw_flow,
    draw_trajectories,
    evaluate_density,
    grid_points,
    integrate_density,
    straightness,
)
from ..ode import Solver
from ..training import Artifacts, Data, DatasetMetric, Evaluation, PrimaryMetric, TrainingStep
from .objectives import Likelihood, Metric, Objective

PROBED = 100  # test samples on which the spread of a stochastic log-likelihood is measured


class Views(Protocol):
    """Figures and numbers of a trained density."""

    def visualize(self, task: Density, data: Data) -> Artifacts:
        """Return the artifacts of every run."""

    def sample(self, task: Density, data: Data) -> Artifacts:
        """Return those of ``mode=sample``."""


class Density(nn.Module):
    """Train a flow: loss = mean of the objective + sum_i weight_i mean(cost_i).

    It is evaluated without regularizers and with its own solver: for validation with the divergence
    of training, for the test with another (Grathwohl et al. 2018, section 4.1).

    With an encoder, batches are samples with labels (x, labels), and the density is p(x | c) for
    the context c = encoder(labels).

    Args:
        flow: Flow to train.
        eval_solver: ODE solver of evaluation, pictures and samples.
        eval_divergence: Divergence of the test and of pictures (default: exact).
        extent: Half the side of the square of pictures and sums (two dimensions only).
        grid: Points along each side of that square.
        objective: Training objective (default: the metric).
        metric: Metric of validation and test (default: negative log-likelihood).
        views: Artifacts of a trained flow (default: those of densities in the plane).
        encoder: Net from labels (B,) to contexts (B, C).

    Raises:
        ValueError: For an extent or a grid out of range.
    """

    primary_metric: PrimaryMetric

    def __init__(
        self,
        flow: Flow,
        eval_solver: Solver,
        eval_divergence: Divergence | None = None,
        extent: float = 5.0,
        grid: int = 200,
        objective: Objective | None = None,
        metric: Metric | None = None,
        views: Views | None = None,
        encoder: nn.Module | None = None,
    ) -> None:
        super().__init__()
        if not extent > 0:
            raise ValueError(f"extent is {extent}, must be positive")
        if grid < 2:
            raise ValueError(f"grid is {grid}, must be at least 2")
        self.flow, self.eval_solver, self.encoder = flow, eval_solver, encoder
        self.eval_divergence = Exact() if eval_divergence is None else eval_divergence
        self.metric = Likelihood() if metric is None else metric
        self.objective = self.metric if objective is None else objective
        self.views = PlaneViews(extent, grid) if views is None else views
        self.primary_metric, self.classes = self.metric.primary_metric, 0

    def bind(self, data: Data) -> None:
        """Check that flow and data fit, and read the number of classes.

        Raises:
            ValueError: If shapes, labels or contexts differ, or a divergence is too expensive.
        """
        self.metric.bind(data)
        if self.flow.shape not in (None, data.shape):
            key, value = "model.dim", data.shape[0]
            if isinstance(self.flow, CNF):
                key = "model.field.dim"
            elif len(self.flow.shape) > 1 or len(data.shape) > 1:
                key, value = "model.shape", str(list(data.shape)).replace(" ", "")
            raise ValueError(
                f"the model is for samples of shape {list(self.flow.shape)} and {data.name} has "
                f"{list(data.shape)}: set {key}={value}"
            )
        self._bind_labels(data)
        dim = prod(data.shape)
        for cnf in self.flow.modules():
            if isinstance(cnf, CNF):
                cnf.divergence.check(dim)
        self.eval_divergence.check(dim)

    def _bind_labels(self, data: Data) -> None:
        batch, classes = data.train_batch(0), getattr(data, "classes", None)
        if self.encoder is None:
            if not isinstance(batch, Tensor):
                raise ValueError(
                    f"{data.name} has labels or times, and a flow without task.encoder learns from "
                    "samples alone: choose data=toy, npy or a table, or of images "
                    "data=mnist_pixels, cifar or npy_pixels"
                )
            contexts = 0
        else:
            if isinstance(batch, Tensor) or classes is None or len(batch) != 2:
                raise ValueError(
                    f"{data.name} has no labels for task.encoder: choose data=labelled_moons"
                )
            self.classes = classes
            try:
                contexts = self.contexts(data.train_batch(0)[1].device).shape[1]
            except IndexError as error:
                raise ValueError(
                    f"task.encoder knows fewer classes than {data.name}, which has {classes}: set "
                    f"task.encoder.classes={classes}"
                ) from error
        if contexts != self.flow.context:
            raise ValueError(
                f"task.encoder gives contexts of {contexts} entries and the model takes "
                f"{self.flow.context}: set model.field.context={contexts}"
            )

    def contexts(self, device: torch.device) -> Tensor:
        """Return the context of each class, (classes, C)."""
        return self.encoder(torch.arange(self.classes, device=device))

    def split(self, batch: Tensor | tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor | None]:
        """Return samples and their contexts."""
        if self.encoder is None:
            return batch, None
        x, labels = batch
        return x, self.encoder(labels)

    def step(self, batch: Tensor | tuple[Tensor, Tensor]) -> TrainingStep:
        """Return loss, metrics and costs of a training batch (B, *event), with labels (B,)."""
        values, transport = self.objective(self.flow, *self.split(batch))
        value, costs = values.mean(), {}
        if transport is not None:
            costs = {name: cost.mean() for name, cost in transport.costs.items()}
        penalties = [self.flow.regularizers[name].weight * cost for name, cost in costs.items()]
        metrics = {self.primary_metric.metric: value} if self.objective is self.metric else {}
        return TrainingStep(
            loss=value + sum(penalties),
            metrics=metrics | {f"cost/{k}": v for k, v in costs.items()},
            costs=dict if transport is None else transport.nfe,
        )

    def evaluated_flow(self, split: str = "test") -> Flow:
        """Return the flow with the solver, and for the test the divergence, of evaluation."""
        divergence = self.eval_divergence if split == "test" else None
        return self.flow.with_solver(self.eval_solver, divergence)

    def evaluate(self, batch: Tensor | tuple[Tensor, Tensor], split: str) -> Evaluation:
        """Return the metric of each sample, and with labels its mean in each class."""
        flow, (x, context) = self.evaluated_flow(split), self.split(batch)
        values, transport = self.metric(flow, x, context)
        name, pooled = self.primary_metric.metric, {}
        for k in range(self.classes):
            pooled[f"{name}_class_{k}"] = DatasetMetric(_masked_mean, (values, batch[1] == k))
        found = {name: values}
        if split == "test":
            found |= self.metric.further(flow, x)
        return Evaluation(found, {"nfe": transport.stats.forward.nfe}, pooled)

    def visualize(self, data: Data) -> Artifacts:
        """Return the artifacts of every run."""
        return self.views.visualize(self, data)

    def sample(self, data: Data) -> Artifacts:
        """Return the artifacts of ``mode=sample``."""
        return self.views.sample(self, data)

    def probe_spread(self, data: Data) -> dict[str, float]:
        """Return the standard deviation over draws of the probes of the log-likelihood of one
        sample, in nats, from two draws for each of the first test samples; {} if it is exact.
        """
        if isinstance(self.eval_divergence, Exact):
            return {}
        batch = next(iter(data.batches("test")))
        x, context = self.split(batch)
        context = None if context is None else context[:PROBED]
        x, flow = self.metric.points(x[:PROBED]), self.evaluated_flow()
        one, two = (flow.log_prob(x, context) for _ in range(2))
        return {"likelihood/probe_sd": ((one - two).square().mean() / 2).sqrt().item()}


class PlaneViews:
    """Pictures of a density in the plane; of other densities numbers and samples only.

    Args:
        extent: Half the side of the square that is drawn and summed over.
        grid: Points along each side.
    """

    def __init__(self, extent: float = 5.0, grid: int = 200) -> None:
        self.extent, self.grid = extent, grid

    def visualize(self, task: Density, data: Data) -> Artifacts:
        """Return samples, density and flow of a two-dimensional density, the integral of the
        density, and the spread of a stochastic log-likelihood.
        """
        scalars = task.probe_spread(data)
        if data.shape != (2,):
            return Artifacts(scalars=scalars)
        if task.encoder is not None:
            return self._show_classes(task, data, scalars)
        samples, flow = torch.cat(list(data.batches("test"))), task.evaluated_flow()
        density, total = integrate_density(flow, self.extent, self.grid, samples.device)
        figure = draw_flow(flow, samples, density, self.extent)
        scalars["density/integral"] = total
        if isinstance(flow, CNF):
            scalars["flow/straightness"] = straightness(flow, samples)
        return Artifacts({"density": figure}, scalars)

    def _show_classes(self, task: Density, data: Data, scalars: dict[str, float]) -> Artifacts:
        """Return p(x | class) for each class, with data and samples of all classes."""
        batches = list(data.batches("test"))
        x, labels = (torch.cat(parts) for parts in zip(*batches, strict=True))
        flow, contexts, densities = task.evaluated_flow(), task.contexts(x.device), {}
        points = grid_points(self.extent, self.grid, x.device)
        cell = (2 * self.extent / self.grid) ** 2
        for k, context in enumerate(contexts):

            def density(part: Tensor, context: Tensor = context) -> Tensor:
                return flow.log_prob(part, context.expand(len(part), -1)).exp()

            densities[f"class {k}"] = evaluate_density(points, density)
            total = densities[f"class {k}"].double().sum().item() * cell
            scalars[f"density/integral_class_{k}"] = total
        drawn = flow.as_distribution(contexts[labels]).sample()
        figure = draw_densities(densities, drawn, self.extent, data=x)
        arrays = {"samples": drawn, "labels": labels}
        return Artifacts({"density": figure}, scalars, arrays)

    def sample(self, task: Density, data: Data) -> Artifacts:
        """Return ``visualize`` and samples as an array, in the units of the files if the data are
        scaled, and of a two-dimensional CNF its trajectories and an animation.
        """
        exhibit, flow = self.visualize(task, data), task.evaluated_flow()
        if task.encoder is not None:
            return exhibit
        noise = torch.randn_like(torch.cat(list(data.batches("test"))))
        samples = torch.cat([flow.inverse(part) for part in noise.split(2000)])
        scaling = getattr(data, "scaling", None)
        exhibit.arrays["samples"] = samples if scaling is None else scaling.undo(samples)
        if data.shape == (2,) and isinstance(flow, CNF):
            straight = straightness(flow, samples)
            figure = draw_trajectories(flow, noise, self.extent, straight)
            exhibit.figures["trajectories"] = figure
            exhibit.animations["flow"] = animate_flow(flow, noise, self.extent, self.grid // 2)
        return exhibit


def _masked_mean(values: Tensor, mask: Tensor) -> float:
    return values[mask].double().mean().item()
