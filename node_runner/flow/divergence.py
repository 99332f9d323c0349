"""tr(df/dx) by probing the Jacobian from the left.

An estimator is only its probes e_1 ... e_K with E[sum_k e_k e_k^T] = I. Then

    div f = E sum_k (e_k^T J) . e_k,    |J|_F^2 = E sum_k |e_k^T J|^2,

and the rows e_k^T J, one vector-Jacobian product each, serve both. The standard basis gives the
exact values; one random sign or normal vector a sample gives Hutchinson's unbiased estimate
(Grathwohl et al. 2018, eq. (7)).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import sqrt
from typing import NamedTuple, Protocol

import torch
from torch import Tensor


class Divergence(Protocol):
    """A set of probes. They are drawn once a solve and stay fixed through it, so that the ODE has
    one right side.
    """

    def probes(self, x: Tensor) -> Tensor:
        """(K, B, *event) for x of shape (B, *event), with E[sum_k e_k e_k^T] = I."""


@dataclass(frozen=True)
class Exact:
    """All basis vectors: exact, at D vector-Jacobian products an evaluation."""

    def probes(self, x: Tensor) -> Tensor:
        d = x[0].numel()
        basis = torch.eye(d, dtype=x.dtype, device=x.device)
        return basis.view(d, 1, *x.shape[1:]).expand(d, *x.shape)


@dataclass(frozen=True)
class Rademacher:
    """``count`` vectors of random signs a sample: the least variance where J is near its
    diagonal.
    """

    count: int = 1

    def __post_init__(self) -> None:
        check_count(self.count)

    def probes(self, x: Tensor) -> Tensor:
        signs = torch.randint(0, 2, (self.count, *x.shape), device=x.device)
        return (2 * signs - 1).to(x.dtype) / sqrt(self.count)


@dataclass(frozen=True)
class Gaussian:
    """``count`` standard normal vectors a sample."""

    count: int = 1

    def __post_init__(self) -> None:
        check_count(self.count)

    def probes(self, x: Tensor) -> Tensor:
        return torch.randn(self.count, *x.shape, dtype=x.dtype, device=x.device) / sqrt(self.count)


def check_count(count: int) -> None:
    if count < 1:
        raise ValueError(f"divergence.count is {count}, must be at least 1")


class Pushforward(NamedTuple):
    """dx = f(t, x), (B, *event); rows e_k^T J, (K, B, *event); div, (B,)."""

    dx: Tensor
    rows: Tensor
    div: Tensor


def pushforward(
    f: Callable[[Tensor, Tensor], Tensor], t: Tensor, x: Tensor, probes: Tensor
) -> Pushforward:
    """f at (t, x), the rows of its Jacobian along ``probes`` (K, B, *event), and its divergence."""
    dx, vjp = torch.func.vjp(lambda point: f(t, point), x)
    # A single probe spares vmap, which costs more than the product itself on small nets.
    rows = vjp(probes[0])[0][None] if len(probes) == 1 else torch.func.vmap(vjp)(probes)[0]
    return Pushforward(dx, rows, (rows * probes).transpose(0, 1).flatten(1).sum(1))
