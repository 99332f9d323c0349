"""Forward-mode derivatives and the transforms of torch.func around a solve."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.autograd import forward_ad


def transformed() -> bool:
    """Whether a transform of torch.func or a level of forward-mode differentiation is active, so
    that tensors may be more than their values and nothing may be written in place.
    """
    return functorch_active() or forward_level()


def forward_level() -> bool:
    """Whether a level of forward-mode differentiation is active."""
    return forward_ad._current_level >= 0


def functorch_active() -> bool:
    return torch._C._are_functorch_transforms_active()


def has_tangent(tensor: Tensor) -> bool:
    """Whether a forward-mode derivative comes with the tensor."""
    return forward_level() and forward_ad.unpack_dual(tensor).tangent is not None


def _batched(tensor: Tensor) -> bool:
    """Whether vmap runs over the tensor; ``is_grads_batched`` has a vmap of its own."""
    return "Batched" in str(torch._C._dispatch_keys(tensor))


def records() -> bool:
    """Whether the steps of a solve must be ordinary operations on new tensors: for a graph, or for
    a transform.
    """
    return torch.is_grad_enabled() or transformed()


def values_of(tensor: Tensor) -> list[float]:
    """The values as floats: a read of the device.

    Raises:
        NotImplementedError: under vmap, where each sample has values of its own.
    """
    try:
        return tensor.tolist()
    except RuntimeError:
        if not functorch_active():
            raise
        raise NotImplementedError(
            "torch.func.vmap over a solve that reads a value (an error that chooses a step, an "
            "event, an output time) does not work, since the samples would part: make the samples "
            "a dimension of y0, or use a fixed-step method (method='rk4', step_size=...) with "
            "gradient=Direct()"
        ) from None


def all_finite(tensor: Tensor) -> bool:
    """Whether no value is NaN or infinite: a read of the device. Under vmap no value can be read,
    and the answer is True.
    """
    try:
        return bool(torch.isfinite(tensor).all())
    except RuntimeError:
        if not functorch_active():
            raise
        return True


DIRECT = "gradient=Direct() (odeint for odeint_adjoint)"


def refuse_functorch(name: str, instead: str = DIRECT) -> None:
    """Refuse what does not work inside a transform of torch.func.

    Raises:
        NotImplementedError: naming it and what works.
    """
    if functorch_active():
        raise NotImplementedError(
            f"{name} does not work inside a transform of torch.func (grad, jacrev, jvp, vmap ...): "
            f"use {instead}"
        )


def refuse_tangents(name: str, *tensors: Tensor, instead: str = DIRECT) -> None:
    """Refuse what would lose a forward-mode derivative.

    Raises:
        NotImplementedError: naming it and what works.
    """
    if any(map(has_tangent, tensors)):
        raise NotImplementedError(f"{name} has no forward-mode derivative: use {instead}")


def refuse_batched(name: str, cotangents: Tensor) -> None:
    """Refuse a backward solve of many cotangents at once.

    Raises:
        NotImplementedError: naming the strategy and those that work.
    """
    if _batched(cotangents):
        raise NotImplementedError(
            f"{name} solves backwards for one cotangent at a time, so is_grads_batched=True and "
            "vmap over a gradient do not work: take one gradient after another, or use "
            "gradient=Direct() (odeint for odeint_adjoint)"
        )
