"""Density estimation by maximum likelihood."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..flow import CNF, Exact
from ..flow.picture import draw_flow, integrate_density
from ..ode import Solver
from ..training import Data, Evaluation, Exhibit, Headline, Step


class Density(nn.Module):
    """Fit a flow to samples: loss = mean of -log p(x) in nats + sum_i weight_i mean(cost_i).

    Evaluated with the exact divergence and its own solver, without regularizers.

    Args:
        flow: the CNF to train.
        eval_solver: of evaluation, pictures and samples.
        extent: half the side of the square that is drawn and summed over (two dimensions only).
        grid: points along each side of that square.
    """

    headline = Headline("nll", "nats")

    def __init__(
        self, flow: CNF, eval_solver: Solver, extent: float = 5.0, grid: int = 200
    ) -> None:
        super().__init__()
        if not extent > 0 or grid < 2:
            raise ValueError(f"task.extent is {extent}, task.grid {grid}: must be > 0 and >= 2")
        self.flow, self.eval_solver = flow, eval_solver
        self.extent, self.grid = extent, grid

    def step(self, batch: Tensor) -> Step:
        """batch: (B, D)."""
        log_prob, transport = self.flow.log_prob(batch)
        nll = -log_prob.mean()
        costs = {name: cost.mean() for name, cost in transport.costs.items()}
        penalties = [self.flow.regularizers[name].weight * cost for name, cost in costs.items()]
        return Step(
            loss=nll + sum(penalties),
            metrics={"nll": nll, **{f"cost/{name}": cost for name, cost in costs.items()}},
            costs=transport.stats.nfe,
        )

    def evaluated_flow(self) -> CNF:
        return self.flow.evaluated_with(self.eval_solver, Exact())

    def evaluate(self, batch: Tensor) -> Evaluation:
        """-log p(x) of each sample, by the exact trace."""
        log_prob, transport = self.evaluated_flow().log_prob(batch)
        return Evaluation({"nll": -log_prob}, {"nfe": transport.stats.forward.nfe})

    def show(self, data: Data) -> Exhibit:
        """Samples, density and flow of a two-dimensional density, and the density's sum."""
        samples = torch.cat(list(data.batches("test")))
        if samples.shape[1:] != (2,):
            return Exhibit()
        flow = self.evaluated_flow()
        density, total = integrate_density(flow, self.extent, self.grid, samples.device)
        figure = draw_flow(flow, samples, density, self.extent)
        return Exhibit({"density": figure}, {"density/integral": total})
