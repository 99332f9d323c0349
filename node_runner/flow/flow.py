"""What every flow is: an invertible map from data to noise, of known volume."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from torch import Tensor, nn

from ..ode import Solver, Stats, total
from .divergence import Divergence
from .regularizers import Regularizer


@dataclass(frozen=True)
class Transport:
    """Points carried through a flow.

    Attributes:
        z: where they arrive, (B, *event).
        log_det: log |det dz/dx|, (B,).
        costs: integral of each regularizer's density along the path, by name, (B,).
        solves: the cost of each solve on the way.
    """

    z: Tensor
    log_det: Tensor
    costs: dict[str, Tensor] = field(default_factory=dict)
    solves: tuple[Stats, ...] = ()

    @property
    def stats(self) -> Stats:
        """The sum over all solves, as of now: a backward pass adds to it."""
        return total(self.solves)

    def nfe(self) -> dict[str, int]:
        """Evaluations by the tags of a training log, summed over all solves when called."""
        return self.stats.nfe()


def joined(z: Tensor, parts: Sequence[Transport]) -> Transport:
    """Transports one after another, which have arrived at z: volumes and costs add."""
    costs: dict[str, Tensor] = {}
    for part in parts:
        for name, cost in part.costs.items():
            costs[name] = costs[name] + cost if name in costs else cost
    log_det = parts[0].log_det
    for part in parts[1:]:
        log_det = log_det + part.log_det
    return Transport(z, log_det, costs, tuple(s for part in parts for s in part.solves))


class Flow(nn.Module):
    """An invertible map z = F(x) from data to a standard normal, so that

        log p(x) = log N(F(x); 0, I) + log |det dF/dx|.

    Attributes:
        regularizers: costs that its transport integrates, by name.
        shape: of a sample, where the flow is made for one.
    """

    regularizers: dict[str, Regularizer]
    shape: tuple[int, ...] | None = None

    def __init__(self) -> None:
        super().__init__()
        self.regularizers = {}

    def transport(self, x: Tensor) -> Transport:
        """Carry data x, (B, *event), to noise."""
        raise NotImplementedError

    def inverse(self, z: Tensor) -> Tensor:
        """Carry noise, in the shape that ``transport`` gives it, back to data."""
        raise NotImplementedError

    def evaluated_with(self, solver: Solver, divergence: Divergence | None = None) -> Flow:
        """Return this flow (parameters shared, mode and shape kept) with another solver, another
        divergence unless that is None, and without regularizers.
        """
        return self

    def log_prob(self, x: Tensor) -> tuple[Tensor, Transport]:
        """log p(x) in nats, (B,), and the transport behind it."""
        transport = self.transport(x)
        return log_normal(transport.z) + transport.log_det, transport


def log_normal(z: Tensor) -> Tensor:
    """Log density of the standard normal, (B,) for z of shape (B, *event)."""
    flat = z.flatten(1)
    return -0.5 * (flat.square().sum(1) + flat.shape[1] * math.log(2 * math.pi))
