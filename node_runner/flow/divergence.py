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

CHUNK = 2**20  # entries of all probes that are pushed through f at once, which bounds the memory


class Divergence(Protocol):
    """A set of probes. They are drawn once a solve and stay fixed through it, so that the ODE has
    one right side.
    """

    def probes(self, x: Tensor) -> Tensor:
        """(K, B, *event) for x of shape (B, *event), with E[sum_k e_k e_k^T] = I."""

    def check(self, dim: int) -> None:
        """Refuse samples of more entries than it is meant for.

        Raises:
            ValueError: saying what to use instead.
        """


@dataclass(frozen=True)
class Exact:
    """All basis vectors: exact, at D vector-Jacobian products an evaluation.

    Args:
        limit: the most that D may be.
    """

    limit: int = 128

    def probes(self, x: Tensor) -> Tensor:
        d = x[0].numel()
        self.check(d)
        basis = torch.eye(d, dtype=x.dtype, device=x.device)
        return basis.view(d, 1, *x.shape[1:]).expand(d, *x.shape)

    def check(self, dim: int) -> None:
        if dim > self.limit:
            raise ValueError(
                f"the exact divergence of {dim} dimensions takes {dim} vector-Jacobian products "
                "an evaluation of f; divergence=rademacher and eval_divergence=rademacher take one "
                f"and are unbiased (if you mean it: divergence.limit={dim} or "
                f"eval_divergence.limit={dim}, whichever is exact)"
            )


@dataclass(frozen=True)
class Hutchinson:
    """``count`` random vectors a sample with independent entries of mean 0 and variance 1."""

    count: int = 1

    def __post_init__(self) -> None:
        if self.count < 1:
            raise ValueError(f"divergence.count is {self.count}, must be at least 1")

    def check(self, dim: int) -> None:
        """As many as the products that are taken, whatever the dimension."""


class Rademacher(Hutchinson):
    """``count`` vectors of random signs a sample: the least variance where J is near its
    diagonal.
    """

    def probes(self, x: Tensor) -> Tensor:
        signs = torch.randint(0, 2, (self.count, *x.shape), device=x.device)
        return (2 * signs - 1).to(x.dtype) / sqrt(self.count)


class Gaussian(Hutchinson):
    """``count`` standard normal vectors a sample."""

    def probes(self, x: Tensor) -> Tensor:
        return torch.randn(self.count, *x.shape, dtype=x.dtype, device=x.device) / sqrt(self.count)


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
    if len(probes) == 1:  # spares vmap, which costs more than the product itself on small nets
        rows = vjp(probes[0])[0][None]
    else:
        chunk = max(1, CHUNK // x.numel())
        rows = torch.func.vmap(vjp, chunk_size=chunk if chunk < len(probes) else None)(probes)[0]
    return Pushforward(dx, rows, (rows * probes).transpose(0, 1).flatten(1).sum(1))
