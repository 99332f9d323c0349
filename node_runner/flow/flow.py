"""Base class of normalizing flows: invertible maps from data to noise with a known volume."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from ..nets import with_solver
from ..ode import Solver, Stats, total
from .divergence import Divergence
from .regularizers import Regularizer


@dataclass(frozen=True)
class Transport:
    """The result of carrying points through a flow.

    Attributes:
        z: Images of the points, (B, *event).
        log_det: log |det dz/dx|, (B,).
        costs: Integral of each regularizer's density along the path, by name, (B,).
        solves: Cost of each ODE solve.
    """

    z: Tensor
    log_det: Tensor
    costs: dict[str, Tensor] = field(default_factory=dict)
    solves: tuple[Stats, ...] = ()

    @property
    def log_prob(self) -> Tensor:
        """log N(z; 0, I) + log |det dz/dx|: log-density of the points in nats, (B,)."""
        return log_normal(self.z) + self.log_det

    @property
    def stats(self) -> Stats:
        """Sum over all solves at the time of the call: a backward pass adds to it."""
        return total(self.solves)

    def nfe(self) -> dict[str, float]:
        """Return evaluations by the tags of a training log, summed over all solves when called."""
        return self.stats.nfe()


def concatenate(z: Tensor, parts: Sequence[Transport]) -> Transport:
    """Return the transport to z by several transports in sequence: volumes and costs add."""
    costs: dict[str, Tensor] = {}
    for part in parts:
        for name, cost in part.costs.items():
            costs[name] = costs[name] + cost if name in costs else cost
    log_det = parts[0].log_det
    for part in parts[1:]:
        log_det = log_det + part.log_det
    return Transport(z, log_det, costs, tuple(s for part in parts for s in part.solves))


class Flow(nn.Module):
    """An invertible map z = F(x; c) from data to a standard normal, so that

        log p(x | c) = log N(F(x; c); 0, I) + log |det dF/dx|.

    The context c, (B, C), is one vector per sample; without it the density is unconditional.

    Attributes:
        regularizers: Costs that ``transport`` integrates, by name.
        shape: Shape of a sample; None if the flow accepts several.
        context: C, number of context entries; 0 for an unconditional flow.

    Example:
        >>> from node_runner.flow import Planar
        >>> flow = Planar(2)
        >>> flow.log_prob(torch.zeros(3, 2)).shape, flow.sample(5).shape
        (torch.Size([3]), torch.Size([5, 2]))
    """

    regularizers: dict[str, Regularizer]
    shape: tuple[int, ...] | None = None
    context: int = 0

    def __init__(self) -> None:
        super().__init__()
        self.regularizers = {}

    @property
    def noise_shape(self) -> tuple[int, ...] | None:
        """Shape of the noise of one sample, as ``transport`` returns it."""
        return self.shape

    def transport(self, x: Tensor, context: Tensor | None = None) -> Transport:
        """Carry data x, (B, *event), to noise."""
        raise NotImplementedError

    def inverse(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        """Carry noise, in the shape that ``transport`` returns, to data, (B, *event)."""
        raise NotImplementedError

    def log_prob(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Return log p(x | c) in nats, (B,). ``transport(x, context)`` also has costs and solves.

        Args:
            x: Samples, (B, *event).
            context: c, (B, C), which gradients reach.

        Raises:
            ValueError: If the context does not have C entries per sample.
        """
        return self.transport(x, context).log_prob

    def sample(self, n: int, context: Tensor | None = None) -> Tensor:
        """Draw n samples without gradients, (n, *event), or (n, B, *event) for a context (B, C)."""
        return self.as_distribution(context).sample((n,))

    def as_distribution(self, context: Tensor | None = None) -> torch.distributions.Distribution:
        """Return p(x | c) as a ``torch.distributions.Distribution``.

        Args:
            context: c, (*batch, C); ``batch`` becomes the batch shape.

        Raises:
            ValueError: If the flow has no fixed ``shape``.
        """
        from .distribution import FlowDistribution

        return FlowDistribution(self, context)

    def with_solver(self, solver: Solver, divergence: Divergence | None = None) -> Flow:
        """Return this flow for evaluation: another solver, no regularizers, a fixed end time.

        Parameters are shared; mode and shape stay.

        Args:
            solver: ODE solver.
            divergence: Estimator of the divergence (default: that of this flow).
        """
        settings = {} if divergence is None else {"divergence": divergence}
        return with_solver(self, solver, regularizers={}, steer=0.0, **settings)

    def _check_context(self, x: Tensor, context: Tensor | None) -> None:
        if context is None and not self.context:
            return
        expected = (len(x), self.context)
        shape = None if context is None else tuple(context.shape)
        if not self.context or shape != expected:
            raise ValueError(
                f"context has shape {shape}, and this {type(self).__name__} "
                + (f"needs {expected}" if self.context else "is unconditional: it takes None")
            )


def log_normal(z: Tensor) -> Tensor:
    """Return the log-density of the standard normal, (B,) for z of shape (B, *event)."""
    flat = z.flatten(1)
    return -0.5 * (flat.square().sum(1) + flat.shape[1] * math.log(2 * math.pi))
