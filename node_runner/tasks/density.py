"""Density estimation by maximum likelihood."""

from __future__ import annotations

from math import prod

import torch
from torch import Tensor, nn

from ..flow import CNF, Divergence, Exact, Flow, Transport
from ..flow.plots import (
    animate_flow,
    draw_flow,
    draw_trajectories,
    integrate_density,
    straightness,
)
from ..ode import Solver
from ..training import Data, Evaluation, Exhibit, Headline, Step

PROBED = 100  # test samples on which the spread of a stochastic log-likelihood is measured


class Density(nn.Module):
    """Fit a flow to samples: loss = mean of -log p(x) in nats + sum_i weight_i mean(cost_i).

    Evaluated without regularizers and with its own solver: for validation with the divergence of
    training, for the test with its own (Grathwohl et al. 2018, section 4.1).

    Args:
        flow: to train.
        eval_solver: of evaluation, pictures and samples.
        eval_divergence: of the test and of pictures; exact unless given.
        extent: half the side of the square that is drawn and summed over (two dimensions only).
        grid: points along each side of that square.
    """

    headline = Headline("nll", "nats")

    def __init__(
        self,
        flow: Flow,
        eval_solver: Solver,
        eval_divergence: Divergence | None = None,
        extent: float = 5.0,
        grid: int = 200,
    ) -> None:
        super().__init__()
        if not extent > 0 or grid < 2:
            raise ValueError(f"task.extent is {extent}, task.grid {grid}: must be > 0 and >= 2")
        self.flow, self.eval_solver = flow, eval_solver
        self.eval_divergence = Exact() if eval_divergence is None else eval_divergence
        self.extent, self.grid = extent, grid

    def check(self, data: Data) -> None:
        """The data are samples, the flow is for those of this shape, and its divergences for this
        many dimensions.
        """
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
        if not isinstance(data.train_batch(0), Tensor):
            raise ValueError(
                f"{data.name} has labels or times, and a flow learns from samples alone: choose "
                "data=toy, npy or a table, or of images data=mnist_pixels, cifar or npy_pixels"
            )
        dim = prod(data.shape)
        for cnf in self.flow.modules():
            if isinstance(cnf, CNF):
                cnf.divergence.check(dim)
        self.eval_divergence.check(dim)

    def score(self, flow: Flow, batch: Tensor) -> tuple[Tensor, Transport]:
        """-log p(x) of each sample in the headline's unit, (B,), and the transport behind it."""
        log_prob, transport = flow.log_prob(batch)
        return -log_prob, transport

    def step(self, batch: Tensor) -> Step:
        """batch: (B, *event)."""
        values, transport = self.score(self.flow, batch)
        value = values.mean()
        costs = {name: cost.mean() for name, cost in transport.costs.items()}
        penalties = [self.flow.regularizers[name].weight * cost for name, cost in costs.items()]
        return Step(
            loss=value + sum(penalties),
            metrics={self.headline.metric: value} | {f"cost/{k}": v for k, v in costs.items()},
            costs=transport.nfe,
        )

    def evaluated_flow(self, split: str = "test") -> Flow:
        divergence = self.eval_divergence if split == "test" else None
        return self.flow.evaluated_with(self.eval_solver, divergence)

    def evaluate(self, batch: Tensor, split: str) -> Evaluation:
        """-log p(x) of each sample."""
        values, transport = self.score(self.evaluated_flow(split), batch)
        return Evaluation({self.headline.metric: values}, {"nfe": transport.stats.forward.nfe})

    def show(self, data: Data) -> Exhibit:
        """How far a likelihood depends on the probes drawn; samples, density and flow of a
        two-dimensional density, and the density's sum.
        """
        scalars = self.probe_spread(data)
        if data.shape != (2,):
            return Exhibit(scalars=scalars)
        samples, flow = torch.cat(list(data.batches("test"))), self.evaluated_flow()
        density, total = integrate_density(flow, self.extent, self.grid, samples.device)
        figure = draw_flow(flow, samples, density, self.extent)
        scalars["density/integral"] = total
        if isinstance(flow, CNF):
            scalars["flow/straightness"] = straightness(flow, samples)
        return Exhibit({"density": figure}, scalars)

    def sample(self, data: Data) -> Exhibit:
        """What ``show`` gives, samples as an array, in the units of the files where the data are
        scaled, and of a two-dimensional CNF its trajectories and an animation.
        """
        found, flow = self.show(data), self.evaluated_flow()
        noise = torch.randn_like(torch.cat(list(data.batches("test"))))
        samples = torch.cat([flow.inverse(part) for part in noise.split(2000)])
        scaling = getattr(data, "scaling", None)
        found.arrays["samples"] = samples if scaling is None else scaling.undo(samples)
        if data.shape == (2,) and isinstance(flow, CNF):
            straight = straightness(flow, samples)
            figure = draw_trajectories(flow, noise, self.extent, straight)
            found.figures["trajectories"] = figure
            found.animations["flow"] = animate_flow(flow, noise, self.extent, self.grid // 2)
        return found

    def probe_spread(self, data: Data) -> dict[str, float]:
        """Standard deviation of one sample's log-likelihood over draws of the probes, in nats, from
        two draws for each of the first test samples; nothing where the divergence is exact.
        """
        if isinstance(self.eval_divergence, Exact):
            return {}
        batch = next(iter(data.batches("test")))[:PROBED]
        one, two = (self.likelihood(batch) for _ in range(2))
        return {"likelihood/probe_sd": ((one - two).square().mean() / 2).sqrt().item()}

    def likelihood(self, batch: Tensor) -> Tensor:
        """log p of the test, (B,)."""
        return self.evaluated_flow().log_prob(batch)[0]
