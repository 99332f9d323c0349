"""Second derivatives: their graph where they are right, an error by name where not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor


class GradientAlias:
    """An alias of x used to take a gradient without double-counting paths through x.

    ``autograd.grad`` with x and a parameter that x itself depends on would follow the path through
    x as well, and count it twice, since the caller's graph goes on from the gradient in x. Inside
    ``closing`` nothing passes the alias; afterwards derivatives of what was found there do.
    """

    def __init__(self, x: Tensor) -> None:
        self.closed = False
        self.tensor = (
            _GatedIdentity.apply(self, x) if x.requires_grad else x.detach().requires_grad_()
        )

    @contextmanager
    def closing(self) -> Iterator[None]:
        """Let no gradient through to x."""
        self.closed = True
        try:
            yield
        finally:
            self.closed = False


class _GatedIdentity(torch.autograd.Function):
    """The identity, whose gradient an alias may stop."""

    @staticmethod
    def forward(ctx: Any, alias: GradientAlias, x: Tensor) -> Tensor:
        ctx.alias = alias
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, Tensor | None]:
        return None, None if ctx.alias.closed else gradient


class NotDifferentiable(torch.autograd.Function):
    """Tensors, as they are, that refuse to be differentiated.

    ``NotDifferentiable.apply(reason, *tensors)`` returns them; a derivative through them raises
    NotImplementedError with that reason.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(reason: str, *tensors: Tensor) -> tuple[Tensor, ...]:
        return tuple(tensor.view_as(tensor) for tensor in tensors)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: tuple[Tensor, ...]) -> None:
        ctx.reason = inputs[0]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[None, ...]:
        raise NotImplementedError(ctx.reason)

    @staticmethod
    def jvp(ctx: Any, *tangents: Tensor) -> tuple[Tensor, ...]:
        raise NotImplementedError(ctx.reason)


class FirstDerivativeOnly(torch.autograd.Function):
    """The identity, whose gradient refuses to be differentiated.

    ``FirstDerivativeOnly.apply(reason, tensor)``: its first derivative is unchanged; a second one,
    which would be wrong, raises NotImplementedError with that reason.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(reason: str, tensor: Tensor) -> Tensor:
        return tensor.view_as(tensor)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        ctx.reason = inputs[0]
        ctx.save_for_backward(inputs[1])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, Tensor]:
        if not torch.is_grad_enabled():
            return None, gradient
        # With the tensor beside it, so that it is a part of the graph.
        return None, NotDifferentiable.apply(ctx.reason, gradient, ctx.saved_tensors[0])[0]

    @staticmethod
    def jvp(ctx: Any, _: None, tangent: Tensor) -> Tensor:
        return tangent.view_as(tangent)
