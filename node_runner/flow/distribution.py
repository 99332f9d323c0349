"""A flow as a torch distribution."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints

from .flow import Flow


class FlowDistribution(Distribution):
    """The density p(x | c) of a flow.

    Args:
        flow: Flow with a fixed ``shape``, which becomes the event shape.
        context: c, (*batch, C); None for an unconditional flow, whose batch shape is ().

    Raises:
        ValueError: If the flow has no fixed shape, or the context does not fit it.

    Example:
        >>> from node_runner.flow import Planar
        >>> normal = FlowDistribution(Planar(2))
        >>> normal.event_shape, normal.log_prob(normal.sample((3, 4))).shape
        (torch.Size([2]), torch.Size([3, 4]))
    """

    has_rsample = True
    arg_constraints: dict[str, constraints.Constraint] = {}

    def __init__(self, flow: Flow, context: Tensor | None = None) -> None:
        if flow.shape is None:
            raise ValueError(f"flow is a {type(flow).__name__} without a shape: set flow.shape")
        if (0 if context is None else context.shape[-1]) != flow.context:
            raise ValueError(
                f"context has shape {None if context is None else tuple(context.shape)}, must have "
                f"{flow.context} entries per sample (0: None)"
            )
        self.flow, self.context = flow, context
        batch = torch.Size() if context is None else context.shape[:-1]
        super().__init__(batch, torch.Size(flow.shape))

    @property
    def support(self) -> constraints.Constraint:
        """All of R^D."""
        return constraints.independent(constraints.real, len(self.event_shape))

    def expand(
        self,
        batch_shape: torch.Size | list[int] | tuple[int, ...],
        _instance: Distribution | None = None,
    ) -> FlowDistribution:
        """Return the distribution with its context repeated to a larger batch shape."""
        made = self._get_checked_instance(FlowDistribution, _instance)
        made.flow, made.context = self.flow, self.context
        if self.context is not None:
            made.context = self.context.expand(*batch_shape, -1)
        super(FlowDistribution, made).__init__(
            torch.Size(batch_shape), self.event_shape, validate_args=False
        )
        made._validate_args = self._validate_args
        return made

    def rsample(self, sample_shape: torch.Size | list[int] | tuple[int, ...] = ()) -> Tensor:
        """Draw samples, (*sample_shape, *batch, *event); gradients reach flow and context."""
        lead = torch.Size(sample_shape) + self.batch_shape
        shape = self.flow.noise_shape
        assert shape is not None  # flow.shape is given
        noise = torch.randn(lead.numel(), *shape, **self._kind())
        x = self.flow.inverse(noise, self._context(lead))
        return x.view(lead + self.event_shape)

    def log_prob(self, value: Tensor) -> Tensor:
        """Return log p(value | c) in nats, (*lead,) for values (*lead, *event)."""
        if self._validate_args:
            self._validate_sample(value)
        if value.shape[-len(self.event_shape) :] != self.event_shape:
            shape = list(self.event_shape)
            raise ValueError(f"value has shape {list(value.shape)}, must end in {shape}")
        lead = value.shape[: value.dim() - len(self.event_shape)]
        lead = torch.broadcast_shapes(lead, self.batch_shape)
        points = value.expand(lead + self.event_shape).reshape(-1, *self.event_shape)
        return self.flow.log_prob(points, self._context(lead)).view(lead)

    def _context(self, lead: torch.Size) -> Tensor | None:
        if self.context is None:
            return None
        return self.context.expand(*lead, -1).reshape(-1, self.flow.context)

    def _kind(self) -> dict:
        like = next(self.flow.parameters(), torch.empty(0))
        return {"dtype": like.dtype, "device": like.device}
