"""The stage equations of an implicit Runge-Kutta step: Newton's iteration, and the gradient of
what it finds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import inf, isfinite
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

from ...dynamo import run_eagerly
from ...gradients.again import Once
from ...rhs import without_autocast
from ...transforms import forward_level

REFUSAL = (
    "the gradient of an implicit Runge-Kutta step cannot be differentiated again, since how its "
    "stages move is not: take an explicit or an Adams method for gradients of gradients"
)
ROUNDING = 16.0  # residuals this many times the rounding of their terms are zero
SLOW = 0.1  # a residual not this much smaller than the last asks for new Jacobians


@dataclass(frozen=True)
class Equations:
    """k_i = f(t_i, base_i + sum_j adt_ij k_j) for m stages of a state of n numbers.

    Attributes:
        f: (t, y) -> dy/dt on flat states, shape (n,).
        times: m 0-dim tensors.
        base: shape (m, n).
        adt: dt times the block of a, shape (m, m).
    """

    f: Callable[[Tensor, Tensor], Tensor]
    times: list[Tensor]
    base: Tensor
    adt: Tensor

    def points(self, k: Tensor) -> Tensor:
        """Where f is evaluated, shape (m, n), given k of that shape."""
        return self.base + self.adt @ k

    def rates(self, k: Tensor) -> Tensor:
        """The right sides, shape (m, n)."""
        points = self.points(k)
        return torch.stack([self.f(t, y) for t, y in zip(self.times, points, strict=True)])

    @torch.no_grad()
    def jacobians(self, k: Tensor) -> Tensor:
        """df/dy at each stage, shape (m, n, n), without graph."""
        points = zip(self.times, self.points(k), strict=True)
        return torch.stack([jacobian(self.f, t, y) for t, y in points])

    def matrix(self, jacobians: Tensor) -> Tensor:
        """I - adt_ij J_i, the derivative of k - rates(k), shape (m n, m n); J of shape (m, n, n) or
        (1, n, n).
        """
        m, n = self.base.shape
        blocks = self.adt[:, None, :, None] * jacobians[:, :, None, :]
        identity = torch.eye(m * n, dtype=blocks.dtype, device=blocks.device)
        return identity - blocks.reshape(m * n, m * n)

    def excess(self, k: Tensor, rates: Tensor, jacobians: Tensor) -> Tensor:
        """|k - rates| over the rounding of its terms, shape (m, n).

        A point y = base + adt k is known to rounding of the terms of that sum, and f at it to J
        times that: the larger f's slope, the larger what must pass for zero. NaN where that slope
        is not finite: nothing can be told then.
        """
        reach = self.base.abs() + self.adt.abs() @ k.abs()
        slopes = (jacobians.abs() @ reach[..., None])[..., 0]
        noise = torch.finfo(k.dtype).eps * (k.abs() + rates.abs() + slopes)
        return (k - rates).abs() / noise.clamp_min(torch.finfo(k.dtype).tiny) + 0 * noise

    def negligible(self, delta: Tensor, k: Tensor) -> bool:
        """Whether a change of k moves no point by eps^(2/3) of the largest of its terms."""
        reach = self.base.abs() + self.adt.abs() @ k.abs()
        allowed = torch.finfo(k.dtype).eps ** (2 / 3) * reach.max()
        return bool((self.adt @ delta).abs().max() <= allowed)


@dataclass
class NotConverged(Exception):
    """Newton's iteration gave up. Made into a SolverError by the step, which knows where it is.

    Attributes:
        k, rates: where it was and f there, shape (m, n).
        excess: their difference over rounding.
        iterations: corrections made.
    """

    k: Tensor
    rates: Tensor
    excess: Tensor
    iterations: int


@torch.no_grad()
def newton(
    equations: Equations,
    k: Tensor,
    jacobians: Tensor,
    factors: tuple[Tensor, Tensor],
    max_iters: int,
) -> Tensor:
    """The k that solves the equations to rounding, shape (m, n), without graph.

    Simplified Newton: the Jacobian at the start of the step, shape (1, n, n), serves every stage
    and iteration as long as each shrinks the residual tenfold (Hairer, Wanner, Solving ODEs II,
    IV.8); then the exact ones at the present stages are taken. No correction is damped: tried on
    Robertson's and van der Pol's problems, damping lost solves that find their way without it, and
    won none.

    Args:
        equations: to be solved.
        k: first guess.
        jacobians, factors: at the start of the step, and of the matrix they give.
        max_iters: corrections, at most; a linear f needs one.

    Raises:
        NotConverged: after max_iters corrections, or where a value is not finite.
    """
    if not k.numel():  # an empty state
        return k
    delta, last, renewed = None, inf, False
    for iteration in range(max_iters + 1):
        rates = equations.rates(k)
        excess = equations.excess(k, rates, jacobians)
        worst = excess.max().item()  # synchronises, once an iteration
        if worst <= ROUNDING:
            return k
        if iteration == max_iters or not isfinite(worst):
            raise NotConverged(k, rates, excess, iteration)
        slow = iteration > 0 and worst > SLOW * last
        if slow and renewed and equations.negligible(delta, k):
            return k  # f itself is rounded by more than its slope explains
        if slow:
            jacobians = equations.jacobians(k)
            factors = factor(equations.matrix(jacobians))
        last, renewed = worst, slow
        delta = torch.linalg.lu_solve(*factors, (k - rates).reshape(-1, 1)).view_as(k)
        k = k - delta


def factor(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """LU factors and pivots; those of a singular matrix make the next residual infinite or NaN."""
    return torch.linalg.lu_factor_ex(matrix)[:2]


def jacobian(f: Callable, t: Tensor, y: Tensor) -> Tensor:
    """df/dy at (t, y) of shape (n,): shape (n, n), at one evaluation of f.

    f itself runs as always, so that counters, .item() and work in place in it do no harm; only its
    backward pass is batched over the n rows, and taken row by row where that cannot be. A field
    that hides its graph, as the right side of an adjoint equation does, is differenced.
    """
    if not y.numel():
        return y.new_zeros(0, 0)
    with torch.inference_mode(False), torch.enable_grad():
        t, y = t.detach().clone(), y.detach().clone().requires_grad_()
        rate = f(t, y)
        if rate.requires_grad:
            rows = torch.eye(len(y), dtype=y.dtype, device=y.device)
            options = {"retain_graph": True, "allow_unused": True}
            try:
                found = torch.autograd.grad(rate, y, rows, is_grads_batched=True, **options)[0]
            except RuntimeError:  # a backward that vmap cannot batch
                each = [torch.autograd.grad(rate, y, row, **options)[0] for row in rows]
                found = None if each[0] is None else torch.stack(each)
            if found is not None:
                return found
    return differences(f, t, y.detach(), rate.detach())


@torch.no_grad()
def differences(f: Callable, t: Tensor, y: Tensor, rate: Tensor) -> Tensor:
    """df/dy by forward differences, to half the digits, at n + 1 evaluations: enough for Newton's
    iteration, whose residual is exact. At one where that shows no dependence on y.
    """
    size = y.abs() + y.abs().mean()
    h = torch.finfo(y.dtype).eps ** 0.5 * torch.where(size > 0, size, 1.0)
    spread = torch.linspace(1, 2, len(y), dtype=y.dtype, device=y.device)
    if torch.equal(f(t, y + h * spread), rate):
        return torch.zeros(len(y), len(y), dtype=y.dtype, device=y.device)
    moved = y + torch.diag(h)
    columns = [(f(t, point) - rate) / (point[i] - y[i]) for i, point in enumerate(moved)]
    return torch.stack(columns, 1)


class Solution(torch.autograd.Function):
    """k as a function of all that the equations depend on, by the implicit function theorem.

    With r = k - rates(k) = 0 and M = dr/dk there, dk = -M^-1 dr, where dr is the change of r at
    fixed k: a gradient g in k is -M^-T g in r. No iteration is differentiated or stored; M is
    computed when the gradient is asked for, at one evaluation of f a stage.
    """

    @staticmethod
    @run_eagerly
    def forward(ctx: Any, residual: Tensor, k: Tensor, equations: Equations) -> Tensor:
        found = k.clone()
        ctx.equations = equations
        ctx.save_for_backward(found)
        return found

    @staticmethod
    @run_eagerly
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        (k,) = ctx.saved_tensors
        with without_autocast(k.device):
            matrix = ctx.equations.matrix(ctx.equations.jacobians(k)).detach()
        solved = torch.linalg.solve(matrix.mT, gradient.detach().reshape(-1)).view_as(gradient)
        return Once.apply(REFUSAL, -solved, k)[0], None, None


def attach(equations: Equations, k: Tensor) -> Tensor:
    """k, shape (m, n), with the gradient of the solution where one is wanted."""
    if forward_level():
        return with_tangent(equations, forward_ad.unpack_dual(k).primal)
    if not torch.is_grad_enabled():
        return k
    residual = k - equations.rates(k)
    return Solution.apply(residual, k, equations) if residual.requires_grad else k


def with_tangent(equations: Equations, k: Tensor) -> Tensor:
    """k with its forward-mode derivative M^-1 d rates at fixed k, M = I - adt J, by one more
    correction.

    Raises:
        NotImplementedError: where a reverse-mode gradient is wanted as well.
    """
    residual = k - equations.rates(k)
    if residual.requires_grad:
        raise NotImplementedError(
            "an implicit Runge-Kutta step has no forward- and reverse-mode derivatives together: "
            "take one of them, or an explicit method"
        )
    matrix = forward_ad.unpack_dual(equations.matrix(equations.jacobians(k))).primal
    return k - torch.linalg.solve(matrix, residual.reshape(-1)).view_as(k)
