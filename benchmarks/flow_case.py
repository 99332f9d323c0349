"""A training step of a CNF, by node_runner's solver and by torchdiffeq's: what the benchmarks of
flows on vectors share. The same field, probes and divergence_and_vjps serve both.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from benchmarks.training_step import Counted, Step, flat, our_step
from node_runner.flow import CNF, Divergence, divergence_and_vjps, log_normal
from node_runner.flow.regularizers import Regularizer
from node_runner.ode import Solver


def signs(x: Tensor) -> Tensor:
    """One Rademacher probe a sample, (1, *x)."""
    return 2.0 * torch.randint(0, 2, (1, *x.shape)) - 1


@dataclasses.dataclass(frozen=True)
class Fixed:
    """A divergence estimator whose probes are given."""

    signs: Tensor

    def probes(self, x: Tensor) -> Tensor:
        return self.signs.to(x.dtype)

    def check(self, dim: int) -> None:
        pass


@dataclasses.dataclass(frozen=True)
class FlowCase:
    """A field, a batch and its probes."""

    field: nn.Module
    start: Tensor
    signs: Tensor
    rtol: float
    atol: float
    end: float
    regularizers: Mapping[str, Regularizer] = dataclasses.field(default_factory=dict)
    finest: float = 1e-11  # the tolerance of the float64 reference

    @property
    def params(self) -> tuple[nn.Parameter, ...]:
        return tuple(self.field.parameters())

    def evaluate(self, x: Tensor) -> tuple[Tensor, ...]:
        dx, _, div = divergence_and_vjps(self.field, torch.zeros(()), x, self.signs)
        return dx, div

    def gradients(self, loss: Tensor) -> tuple[Tensor, ...]:
        return (flat(torch.autograd.grad(loss, self.params)),)

    def ours(self, solver: Solver) -> Step:
        divergence: Divergence = Fixed(self.signs)
        flow = CNF(self.field, solver, divergence, self.regularizers, self.end)
        transport = flow.transport(self.start)
        log_prob = transport.log_prob
        costs = sum(0.01 * cost.mean() for cost in transport.costs.values())
        gradients = self.gradients(costs - log_prob.mean())
        return our_step(gradients, transport.stats)

    def theirs(self, solve: Callable, **options: object) -> Step:
        def rates(t: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
            dx, _, div = divergence_and_vjps(self.field, t, state[0], self.signs)
            return dx, div

        f, start = Counted(rates), (self.start, self.start.new_zeros(len(self.start)))
        ts = torch.tensor([0.0, self.end])
        z, log_det = solve(f, start, ts, rtol=self.rtol, atol=self.atol, method="dopri5", **options)
        return f.step(lambda: self.gradients(-(log_normal(z[-1]) + log_det[-1]).mean()))

    def exact(self) -> tuple[Tensor, ...]:
        double = dataclasses.replace(
            self,
            field=copy.deepcopy(self.field).double(),
            start=self.start.double(),
            signs=self.signs.double(),
        )
        return double.ours(Solver("dopri8", self.finest, self.finest)).gradients
