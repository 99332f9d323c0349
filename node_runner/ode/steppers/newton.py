"""Newton's iteration for the equations of an implicit step, and the gradient of their solution."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import inf, isfinite
from typing import Any, Literal

import torch
from torch import Tensor
from torch.autograd import forward_ad

from ..dynamo import run_eagerly
from ..error_norm import ErrorNorm
from ..errors import OptionError
from ..gradients.double_backward import NotDifferentiable
from ..rhs import without_autocast
from ..state import Layout
from ..stepper import Rates, StepFailed
from ..transforms import forward_level

Jacobian = Literal["rows", "full"]

REFUSAL = (
    "the gradient of an implicit step cannot be differentiated again, since how its stages move is "
    "not: take an explicit method for gradients of gradients"
)
COUPLED = (
    "jacobian is 'rows', but a row of the batch changes the rate of another (as batch "
    "normalisation or attention over the batch does); choose jacobian='full'"
)
KAPPA = 0.03  # of the tolerance that the error of the iteration may take
ROUNDING = 16.0  # residuals this many times the rounding of their terms are zero
CARRIED = 0.01  # the contraction that the first iteration may expect of the last solution, at least
MANY = 8  # iterations to rounding after which a new Jacobian is worth its cost
SLOW = 0.1  # a contraction above this asks for a new Jacobian


class Blocks:
    """The flat state as rows of a batch whose rates depend on themselves alone, (B, D): the
    diagonal blocks of its Jacobian. One row where the whole is one block.

    Args:
        layout: of the state, whose entries (B, ...) have the batch first; where one has no
            batch, or they have several, all is one row.
        jacobian: "full" for one row in any case.
    """

    def __init__(self, layout: Layout, jacobian: Jacobian) -> None:
        shapes, sizes = layout.shapes[: layout.num_entries], layout.sizes[: layout.num_entries]
        batches = {shape[:1] for shape in shapes}
        batched = len(batches) == 1 and max(map(len, shapes)) > 1 and jacobian == "rows"
        self.rows = shapes[0][0] if batched else 1
        self.sizes = [size // max(1, self.rows) for size in sizes]
        self.columns = sum(self.sizes)

    def split(self, flat: Tensor) -> Tensor:
        """(..., state_size) as (..., B, D)."""
        lead = flat.shape[:-1]
        if self.rows == 1 or len(self.sizes) == 1:
            return flat.reshape(*lead, self.rows, self.columns)
        parts = flat.split([self.rows * size for size in self.sizes], dim=-1)
        pairs = zip(parts, self.sizes, strict=True)
        return torch.cat([part.reshape(*lead, self.rows, size) for part, size in pairs], dim=-1)

    def join(self, rows: Tensor) -> Tensor:
        """(..., B, D) as (..., state_size)."""
        lead = rows.shape[:-2]
        if self.rows == 1 or len(self.sizes) == 1:
            return rows.reshape(*lead, -1)
        return torch.cat([p.reshape(*lead, -1) for p in rows.split(self.sizes, dim=-1)], dim=-1)


@dataclass(frozen=True)
class Equations:
    """z_i = base_i + sum_j scale_ij f(t_j, z_j) for m stages of n numbers.

    Attributes:
        f: (t, z) -> dz/dt, shape (n,).
        blocks: of the state.
        times: m times.
        base: shape (m, n).
        scale: dt times the block of a, shape (m, m).
    """

    f: Callable[[float, Tensor], Tensor]
    blocks: Blocks
    times: list[float]
    base: Tensor
    scale: Tensor

    def rates(self, z: Tensor) -> Tensor:
        """f at the points z, shape (m, n)."""
        if len(z) == 1:
            return self.f(self.times[0], z[0])[None]
        # Copied, since f may write each of them to the same memory.
        each = zip(self.times, z, strict=True)
        return torch.stack([self.f(t, point).clone() for t, point in each])

    def residual(self, z: Tensor, rates: Tensor) -> Tensor:
        """z less the right side, shape (m, n)."""
        return z - self.base - self.scale @ rates

    def matrix(self, jacobians: Tensor) -> Tensor:
        """I - scale_ij J_j, the derivative of the residual, shape (B, m D, m D); J of shape (m or
        1, B, D, D).
        """
        size = len(self.scale) * self.blocks.columns
        products = self.scale[:, None, :, None] * jacobians.permute(1, 2, 0, 3)[:, None]
        identity = torch.eye(size, dtype=products.dtype, device=products.device)
        return identity - products.reshape(-1, size, size)

    def column(self, vectors: Tensor) -> Tensor:
        """(m, n) as the right side of a linear system with ``matrix``, (B, m D, 1)."""
        rows = self.blocks.split(vectors).transpose(0, 1)
        return rows.reshape(len(rows), -1, 1)

    def vectors(self, column: Tensor) -> Tensor:
        """The inverse of ``column``."""
        rows = column.reshape(len(column), len(self.scale), self.blocks.columns)
        return self.blocks.join(rows.transpose(0, 1))

    def rounding(self, z: Tensor, rates: Tensor, jacobians: Tensor) -> Tensor:
        """Rounding of the terms of the residual, shape (m, n).

        A point is known to its own rounding, and f there to J times that: the steeper f, the larger
        a residual that must pass for zero. NaN where that slope is not finite.
        """
        slopes = jacobians.abs() @ self.blocks.split(z.abs())[..., None]
        rates = rates.abs() + self.blocks.join(slopes[..., 0])
        reach = z.abs() + self.base.abs() + self.scale.abs() @ rates
        return torch.finfo(z.dtype).eps * reach + 0 * reach


class Newton:
    """Simplified Newton iteration: one Jacobian serves many iterations, stages and steps.

    It is renewed where the iteration contracts slowly, or not at all (Hairer, Wanner, Solving ODEs
    II, IV.8). The state that f sees takes part; quadratures do not. No correction is damped.

    With step-size control the iteration ends when the estimate of the error left, theta / (1 -
    theta) |dz| with the contraction theta (their eq. (8.10)), is within 0.03 of the tolerance. With
    fixed steps it goes on to rounding.

    Args:
        f: on the flat state.
        layout: of the state.
        norm: its tolerances scale corrections.
        jacobian: "rows" for a batch whose rows do not see each other: (B, D, D), from D
            vector-Jacobian products, with one batched LU decomposition. "full" for any f: (n, n).
        iterations: in one solution, at most.
        adaptive: whether steps are controlled.

    Attributes:
        evaluated, factored: Jacobians and LU decompositions computed so far.
        corrections: iterations so far.
        stale: whether the next solution begins with a new Jacobian.
        eta: theta / (1 - theta) that its first iteration may expect.

    Raises:
        ValueError: for options out of range.
    """

    def __init__(
        self,
        f: Rates,
        layout: Layout,
        norm: ErrorNorm,
        jacobian: Jacobian = "rows",
        iterations: int = 10,
        adaptive: bool = True,
    ) -> None:
        if jacobian not in ("rows", "full"):
            raise ValueError(f"jacobian is {jacobian!r}, must be 'rows' or 'full'")
        if not (iterations >= 1 and int(iterations) == iterations):
            raise ValueError(f"iterations is {iterations!r}, must be a positive integer")
        self.rates, self.layout, self.blocks = f, layout, Blocks(layout, jacobian)
        self.iterations, self.adaptive = int(iterations), adaptive
        fed = layout.state_size
        self.rtol, self.atol = (x[:fed] if x.dim() else x for x in (norm.rtol, norm.atol))
        self.jacobians = torch.empty(0)  # (m or 1, B, D, D), once there is one
        self.stale = True
        self.factors: tuple[Tensor, ...] = ()
        self.scale: Tensor | None = None  # that the factors hold
        self.eta = 1.0
        self.checked = self.blocks.rows == 1
        self.evaluated = self.factored = self.corrections = 0

    def f(self, t: float, z: Tensor) -> Tensor:
        """Rate of the state without quadratures, shape (state_size,)."""
        return self.layout.flatten(self.rates(None, t, z)[: self.layout.num_entries])

    @torch.no_grad()
    def solve(
        self,
        times: list[float],
        base: Tensor,
        scale: Tensor,
        guess: Tensor,
        rate: Tensor | None = None,
    ) -> Tensor:
        """The points z with z_i = base_i + sum_j scale_ij f(t_j, z_j), without graph.

        Args:
            times: m times.
            base, guess: shape (m, state_size).
            scale: dt times the block of a, shape (m, m). The same tensor as in the last call, not
                an equal one, keeps the factors without a look at the device.
            rate: f where the step starts, shape (state_size,): stands for f at the guess of every
                stage in a first correction, which is left out where it is not finite.

        Raises:
            StepFailed: naming the cause and t.
            ValueError: for "rows" where rows of the batch see each other.
        """
        if not guess.numel():
            return guess
        # No operation here has a tangent: forward-mode derivatives are those of ``attached``.
        with forward_ad._set_fwd_grad_enabled(False):
            equations = Equations(self.f, self.blocks, times, base.detach(), scale)
            iterate = self._to_tolerance if self.adaptive else self._to_rounding
            fresh = self.stale
            known = guess.detach(), None if rate is None else rate.detach()
            try:
                return self._iterate(iterate, equations, *known)
            except StepFailed:
                if fresh:
                    raise
            return self._iterate(iterate, equations, *known)

    def attached(self, times: list[float], base: Tensor, scale: Tensor, z: Tensor) -> Tensor:
        """z, as ``solve`` returned it, with the gradient of the solution where one is wanted; z
        itself otherwise. One more evaluation of f a stage.
        """
        if not z.numel():
            return base
        equations = Equations(self.f, self.blocks, times, base, scale)
        if forward_level():
            return with_tangent(equations, z)
        if not torch.is_grad_enabled():
            return z
        residual = equations.residual(z, equations.rates(z))
        return Solution.apply(residual, z, equations) if residual.requires_grad else z

    @torch.no_grad()
    def damped(self, vector: Tensor, scale: float) -> Tensor:
        """(I - scale J)^-1 vector with the last Jacobian, shape (state_size,)."""
        if not vector.numel():
            return vector
        rows = self.blocks.split(vector)
        identity = torch.eye(self.blocks.columns, dtype=rows.dtype, device=rows.device)
        solved = torch.linalg.solve_ex(identity - scale * self.jacobians[0], rows[..., None])[0]
        return self.blocks.join(solved[..., 0])

    def _iterate(
        self, iterate: Callable, equations: Equations, guess: Tensor, rate: Tensor | None
    ) -> Tensor:
        """The solution with the Jacobian at hand, or one at the first guess; a failure marks it."""
        if self.stale:
            self._renew(equations, guess[:1])
        elif self.scale is not equations.scale:
            self._factor(equations)
        if rate is not None:
            first = self._correction(equations, guess, rate.expand_as(guess))
            guess = torch.where(torch.isfinite(first).all(), guess - first, guess)
        try:
            return iterate(equations, guess)
        except StepFailed:
            self.stale, self.eta = True, 1.0
            raise

    def _to_tolerance(self, equations: Equations, z: Tensor) -> Tensor:
        """The solution to a small part of the tolerance."""
        allowed, last, theta, eta = self._allowed(z), inf, 0.0, self.eta
        for left in reversed(range(self.iterations)):
            rates = equations.rates(z)
            delta = self._correction(equations, z, rates)
            moved = (delta / allowed).square().mean().sqrt().item()  # synchronises
            if not isfinite(moved):
                raise self._failure(equations, z, rates)
            z = z - delta
            if last < inf:
                theta = moved / last
                if theta >= 1 or theta**left / (1 - theta) * moved > 1:
                    break  # what is left of it will not do
                eta = theta / (1 - theta)
            if eta * moved <= 1:
                self.eta, self.stale = min(max(eta, CARRIED), 1.0), theta > SLOW
                return z
            last = moved
        raise StepFailed(
            f"Newton's iteration did not converge at t={equations.times[-1]:.6g}: it contracts by "
            f"{theta:.2g} an iteration"
        )

    def _allowed(self, z: Tensor) -> Tensor:
        """The error that is left to the iteration, at least the rounding of z."""
        size = z.abs()
        rounding = ROUNDING * torch.finfo(z.dtype).eps * size
        allowed = KAPPA * torch.addcmul(self.atol, size, self.rtol) + rounding
        return allowed.clamp_min(tiny(z))

    def _to_rounding(self, equations: Equations, z: Tensor) -> Tensor:
        """The solution to rounding; where that is slow, with the Jacobian of each stage's point."""
        delta, last, renewed = torch.zeros_like(z), inf, False
        for iteration in range(self.iterations + 1):
            rates = equations.rates(z)
            rounding = equations.rounding(z, rates, self.jacobians)
            excess = equations.residual(z, rates).abs() / rounding.clamp_min(tiny(z))
            moved = delta.abs().max() / z.abs().max().clamp_min(tiny(z))
            worst, part = torch.stack([excess.max(), moved]).tolist()  # synchronises
            if worst <= ROUNDING:
                self.stale = iteration > MANY
                return z - self._correction(equations, z, rates)  # which costs no evaluation
            if not isfinite(worst):
                raise self._failure(equations, z, rates)
            slow = iteration > 0 and worst > SLOW * last
            if slow and renewed and part <= torch.finfo(z.dtype).eps ** (2 / 3):
                return z  # f itself is rounded by more than its slope explains
            if slow:
                self._renew(equations, z)
            last, renewed = worst, slow
            delta = self._correction(equations, z, rates)
            z = z - delta
        raise StepFailed(
            f"Newton's iteration did not converge in iterations={self.iterations} at "
            f"t={equations.times[-1]:.6g}: the largest residual is {worst:.2g} times its rounding"
        )

    def _correction(self, equations: Equations, z: Tensor, rates: Tensor) -> Tensor:
        self.corrections += 1
        column = equations.column(equations.residual(z, rates))
        return equations.vectors(torch.linalg.lu_solve(*self.factors, column))

    def _renew(self, equations: Equations, points: Tensor) -> None:
        """Take the Jacobians at points, the first stages', and the factors they give."""
        pairs = zip(equations.times, points, strict=False)
        self.jacobians = torch.stack([self._jacobian(t, point) for t, point in pairs])
        self.stale = False
        self.evaluated += len(points)
        self._factor(equations)

    def _factor(self, equations: Equations) -> None:
        """Factor the matrix; a singular one makes the next correction infinite or NaN."""
        self.factors = torch.linalg.lu_factor_ex(equations.matrix(self.jacobians))[:2]
        self.scale = equations.scale
        self.factored += 1

    def _jacobian(self, t: float, point: Tensor) -> Tensor:
        """(B, D, D), after the one check of a solve that rows do not see each other."""
        if not self.checked:
            self.checked = True
            check_rows(self.f, self.blocks, t, point)
        return jacobian(self.f, self.blocks, t, point)

    def _failure(self, equations: Equations, z: Tensor, rates: Tensor) -> StepFailed:
        """The cause of a value that is not finite, with the rates at z."""
        where = f"at t={equations.times[-1]:.6g}"
        if bool(torch.isfinite(z).all()) and not bool(torch.isfinite(rates).all()):
            return StepFailed(f"f returned NaN or inf in Newton's iteration {where}")
        if not bool(torch.isfinite(self.jacobians).all()):
            return StepFailed(f"the Jacobian of f has NaN or inf {where}")
        return StepFailed(f"the matrix of Newton's iteration is singular {where}")


def tiny(like: Tensor) -> float:
    """The least normal number of its dtype."""
    return torch.finfo(like.dtype).tiny


@torch.inference_mode(False)
def jacobian(f: Callable, blocks: Blocks, t: float, z: Tensor) -> Tensor:
    """The diagonal blocks of df/dz at (t, z), shape (B, D, D), at one evaluation of f.

    f itself runs as always, so that counters, .item() and work in place in it do no harm; only its
    backward pass is batched over the D columns, and taken one by one where that cannot be. A field
    that hides its graph, as the right side of an adjoint equation does, is differenced.
    """
    rate, z = graph_of(f, t, z)
    if rate.requires_grad:
        unit = torch.eye(blocks.columns, dtype=z.dtype, device=z.device)
        each = unit[:, None].expand(-1, blocks.rows, -1)
        found = products(rate, z, blocks.join(each))
        if found is not None:
            return blocks.split(found).transpose(0, 1)
    return differences(f, blocks, t, z.detach(), rate.detach().clone())


def graph_of(f: Callable, t: float, z: Tensor) -> tuple[Tensor, Tensor]:
    """f(t, z) with a graph in z alone of the solve's, and that z."""
    with torch.enable_grad():
        z = z.detach().clone().requires_grad_()
        return f(t, z), z


def products(rate: Tensor, z: Tensor, cotangents: Tensor) -> Tensor | None:
    """Vector-Jacobian products of each of the cotangents, shape (len, n); None for a rate that does
    not depend on z.
    """
    options = {"retain_graph": True, "allow_unused": True}
    try:
        return torch.autograd.grad(rate, z, cotangents, is_grads_batched=True, **options)[0]
    except RuntimeError:  # a backward that vmap cannot batch
        each = [torch.autograd.grad(rate, z, row, **options)[0] for row in cotangents]
        return None if each[0] is None else torch.stack(each)


@torch.no_grad()
def differences(f: Callable, blocks: Blocks, t: float, z: Tensor, rate: Tensor) -> Tensor:
    """The blocks by forward differences, to half the digits, at D + 1 evaluations: enough for
    Newton's iteration, whose residual is exact. At one where that shows no dependence on z.
    """
    size = z.abs() + z.abs().mean()
    h = torch.finfo(z.dtype).eps ** 0.5 * torch.where(size > 0, size, 1.0)
    spread = torch.linspace(1, 2, len(z), dtype=z.dtype, device=z.device)
    if torch.equal(f(t, z + h * spread), rate):
        return z.new_zeros(blocks.rows, blocks.columns, blocks.columns)
    rows, steps, columns = blocks.split(z), blocks.split(h), []
    for d in range(blocks.columns):
        moved = rows.clone()
        moved[:, d] += steps[:, d]
        change = blocks.split(f(t, blocks.join(moved)) - rate)
        columns.append(change / (moved - rows)[:, d, None])
    return torch.stack(columns, -1)


@torch.inference_mode(False)
def check_rows(f: Callable, blocks: Blocks, t: float, z: Tensor) -> None:
    """Check with one random vector-Jacobian product that rows do not see each other: a cotangent in
    some rows has to leave the gradient of the others at zero.

    Raises:
        ValueError: if it does not.
    """
    rate, z = graph_of(f, t, z)
    signs, chosen = draw_signs(blocks, z)
    if rate.requires_grad:
        (found,) = torch.autograd.grad(rate, z, blocks.join(signs * chosen), allow_unused=True)
    else:
        with torch.no_grad():
            moved = torch.finfo(z.dtype).eps ** 0.5 * (z.abs() + 1) * blocks.join(signs * chosen)
            rate = rate.clone()  # f may write to it again
            found = f(t, z + moved) - rate
    if found is not None:
        others = blocks.split(found.detach()) * ~chosen
        if bool((torch.isfinite(others) & (others != 0)).any()):  # synchronises, once a solve
            raise OptionError(COUPLED)


def draw_signs(blocks: Blocks, like: Tensor) -> tuple[Tensor, Tensor]:
    """Signs, shape (B, D), and which half of the rows is chosen, shape (B, 1): the same in every
    solve.
    """
    generator = torch.Generator().manual_seed(0)
    order = torch.randperm(blocks.rows, generator=generator)
    signs = torch.randint(0, 2, (blocks.rows, blocks.columns), generator=generator) * 2 - 1
    chosen = (order < max(1, blocks.rows // 2))[:, None]
    return signs.to(like), chosen.to(like.device)


class Solution(torch.autograd.Function):
    """z as a function of all that the equations depend on, by the implicit function theorem.

    With the residual r(z) = 0 and M = dr/dz there, dz = -M^-1 dr, where dr is the change of r at
    fixed z: a gradient g in z is -M^-T g in r. No iteration is differentiated or stored; M is
    computed when the gradient is asked for, at one evaluation of f a stage.
    """

    @staticmethod
    @run_eagerly
    def forward(ctx: Any, residual: Tensor, z: Tensor, equations: Equations) -> Tensor:
        found = z.clone()
        ctx.equations = equations
        ctx.save_for_backward(found)
        return found

    @staticmethod
    @run_eagerly
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        (z,) = ctx.saved_tensors
        equations = ctx.equations
        with without_autocast(z.device), torch.no_grad():
            matrix = exact_matrix(equations, z)
            column = torch.linalg.solve(matrix.mT, equations.column(gradient.detach()))
        return NotDifferentiable.apply(REFUSAL, -equations.vectors(column), z)[0], None, None


def exact_matrix(equations: Equations, z: Tensor) -> Tensor:
    """The derivative of the residual at z, from the Jacobian of each stage's point."""
    pairs = zip(equations.times, z, strict=True)
    each = [jacobian(equations.f, equations.blocks, t, point) for t, point in pairs]
    return equations.matrix(torch.stack(each)).detach()


def with_tangent(equations: Equations, z: Tensor) -> Tensor:
    """z with its forward-mode derivative -M^-1 dr at fixed z, by one more correction.

    Raises:
        NotImplementedError: where a reverse-mode gradient is wanted as well.
    """
    residual = equations.residual(z, equations.rates(z))
    if residual.requires_grad:
        raise NotImplementedError(
            "an implicit step has no forward- and reverse-mode derivatives together: take one of "
            "them, or an explicit method"
        )
    with forward_ad._set_fwd_grad_enabled(False):
        matrix = exact_matrix(equations, z)
    return z - equations.vectors(torch.linalg.solve(matrix, equations.column(residual)))
