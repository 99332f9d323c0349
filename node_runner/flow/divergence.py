"""Divergence estimators: tr(df/dx) from vector-Jacobian products.

An estimator is defined by its probes e_1 ... e_K with E[sum_k e_k e_k^T] = I. Then

    div f = E sum_k (e_k^T J) . e_k,    |J|_F^2 = E sum_k |e_k^T J|^2,

and the same vector-Jacobian products e_k^T J serve both. The standard basis gives exact values; one
random sign or normal vector per sample gives Hutchinson's unbiased estimate (Grathwohl et al. 2018,
eq. (7)).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import sqrt
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

_CHUNK = 2**20  # entries of all probes whose products are taken at once, which bounds the memory


class Divergence(Protocol):
    """A set of probes. They are drawn once per solve and stay fixed during it, so that the ODE has
    one right-hand side.
    """

    def probes(self, x: Tensor) -> Tensor:
        """Return (K, B, *event) for x of shape (B, *event), with E[sum_k e_k e_k^T] = I."""

    def check(self, dim: int) -> None:
        """Check that the estimator is meant for samples of ``dim`` entries.

        Raises:
            ValueError: If not; the message names an alternative.
        """


@dataclass(frozen=True)
class Exact:
    """All basis vectors: exact, at D vector-Jacobian products per evaluation of f.

    Args:
        limit: Largest D that is accepted.

    Example:
        >>> Exact().probes(torch.zeros(5, 2)).shape
        torch.Size([2, 5, 2])
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
                f"and are unbiased (to allow it: divergence.limit={dim} or "
                f"eval_divergence.limit={dim}, whichever is exact)"
            )


@dataclass(frozen=True)
class Hutchinson:
    """``count`` random vectors per sample with independent entries of mean 0 and variance 1.

    Args:
        count: K.

    Raises:
        ValueError: For a count below 1.

    Example:
        >>> Rademacher(3).probes(torch.zeros(5, 2)).shape
        torch.Size([3, 5, 2])
    """

    count: int = 1

    def __post_init__(self) -> None:
        if self.count < 1:
            raise ValueError(f"count is {self.count}, must be at least 1")

    def check(self, dim: int) -> None:
        """Accept any dimension: the cost does not depend on it."""


class Rademacher(Hutchinson):
    """Random signs: the least variance where J is nearly diagonal."""

    def probes(self, x: Tensor) -> Tensor:
        signs = torch.randint(0, 2, (self.count, *x.shape), device=x.device)
        return (2 * signs - 1).to(x.dtype) / sqrt(self.count)


class Gaussian(Hutchinson):
    """Standard normal vectors."""

    def probes(self, x: Tensor) -> Tensor:
        return torch.randn(self.count, *x.shape, dtype=x.dtype, device=x.device) / sqrt(self.count)


class FieldDerivatives(NamedTuple):
    """f and products with its Jacobian J at one point.

    Attributes:
        dx: f(t, x), (B, *event).
        vjps: e_k^T J, (K, B, *event).
        div: Divergence, (B,).
    """

    dx: Tensor
    vjps: Tensor
    div: Tensor


def divergence_and_vjps(
    f: Callable[[Tensor, Tensor], Tensor], t: Tensor, x: Tensor, probes: Tensor
) -> FieldDerivatives:
    """Return f(t, x), its vector-Jacobian products with ``probes``, and the divergence from them.

    Args:
        f: Right-hand side, whose rows do not depend on each other.
        t: Time, ().
        x: Points, (B, *event).
        probes: (K, B, *event).

    Example:
        >>> x = torch.tensor([[1.0, 2.0]])
        >>> divergence_and_vjps(lambda t, x: x**2, torch.zeros(()), x, Exact().probes(x)).div
        tensor([6.])
    """
    value_and_vjp: Any = torch.func.vjp(lambda point: f(t, point), x)  # a pair, as has_aux is False
    dx, vjp = value_and_vjp
    if len(probes) == 1:  # avoids vmap, which costs more than the product itself on small nets
        vjps = vjp(probes[0])[0][None]
    else:
        chunk = max(1, _CHUNK // x.numel())
        vjps = torch.func.vmap(vjp, chunk_size=chunk if chunk < len(probes) else None)(probes)[0]
    return FieldDerivatives(dx, vjps, (vjps * probes).transpose(0, 1).flatten(1).sum(1))
