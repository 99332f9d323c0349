"""Implicit Runge-Kutta steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

import torch
from torch import Tensor

from ...errors import SolverError
from ...state import Layout
from ...steppers.implicit_tableau import ImplicitTableau
from ...tableau import Row
from ...transforms import refuse_functorch
from .newton import ROUNDING, Equations, NotConverged, attach, factor, jacobian, newton
from .protocol import Field, Span, increment, number

Block = tuple[Row, ...]  # the part of a that couples the stages of a block


@dataclass(frozen=True)
class Implicit:
    """k_i = f(t0 + c_i dt, y0 + dt sum_j a_ij k_j), y1 - y0 = dt sum_i b_i k_i, solved by Newton's
    iteration with exact Jacobians to rounding.

    The state, all entries of all samples, is one vector of n numbers, and its Jacobian a dense
    (n, n) matrix: for n up to some hundreds. torchdiffeq iterates by Broyden's method to a fixed
    tolerance. The gradient is that of the solution of the equations, not of the iterations, and
    cannot be differentiated again.

    Args:
        name: of the method, for messages.
        tableau: its coefficients.
        max_iters: iterations in a step, at most.

    Raises:
        ValueError: for max_iters out of range.
    """

    name: str
    tableau: ImplicitTableau
    max_iters: int = 100

    def __post_init__(self) -> None:
        if not (self.max_iters >= 1 and int(self.max_iters) == self.max_iters):
            raise ValueError(f"max_iters is {self.max_iters!r}, must be a positive integer")

    def begin(self) -> ImplicitSolve:
        """No step has been taken."""
        refuse_functorch(f"method {self.name}", "an explicit method such as dopri5 or rk4")
        return ImplicitSolve(self)


class ImplicitSolve:
    """One solve: counts its steps, for messages, and keeps the coefficients on the device."""

    def __init__(self, method: Implicit) -> None:
        self.method, self.steps = method, 0
        self.a: Tensor | None = None

    def __call__(self, f: Field, span: Span, y0: Tensor) -> tuple[Tensor, Tensor | None]:
        """The increment over the span, and f(t0, y0) where that is the first stage.

        Raises:
            SolverError: where Newton's iteration does not converge.
        """
        if self.a is None:
            self.a = torch.tensor(self.method.tableau.a, dtype=y0.dtype, device=y0.device)
        tableau, start = self.method.tableau, Start(f, span, y0)
        k: list[Tensor] = []
        for first, end in tableau.blocks:
            times = [span.at(c) for c in tableau.c[first:end]]
            base = [start.move(k, row[:first]) for row in tableau.a[first:end]]
            if tableau.explicit(first):
                k.append(start.f(times[0], base[0]))
                continue
            dt = span.dt.to(y0) if isinstance(span.dt, Tensor) else span.dt
            adt = dt * self.a[first:end, first:end]
            equations = Equations(start.f, times, torch.stack(base), adt)
            k += self.stages(
                equations, tuple(row[first:end] for row in tableau.a[first:end]), start
            )
        self.steps += 1
        dy = increment(k, tableau.b, span.dt).view(y0.shape)
        return dy, k[0].view(y0.shape) if tableau.explicit(0) else None

    def stages(self, equations: Equations, block: Block, start: Start) -> Sequence[Tensor]:
        """The rates that solve the equations, each of shape (n,), with their graph."""
        jacobians, factors = start.linearised(equations, block)
        try:
            guess = start.guess(equations)
            k = newton(equations, guess, jacobians, factors, int(self.method.max_iters))
        except NotConverged as failure:
            raise self.error(failure, start) from None
        return attach(equations, k).unbind()

    def error(self, failure: NotConverged, start: Start) -> SolverError:
        """What went wrong and where, as a SolverError."""
        worst = int(failure.excess.nan_to_num(inf).argmax()) % start.y0.numel()
        cause, advice = diagnose(failure, int(self.method.max_iters))
        return SolverError(
            method=self.method.name,
            t=number(start.span.t0),
            dt=number(start.span.dt),
            error_ratio=failure.excess.max().item() / ROUNDING,
            component=Layout(start.y0.view(start.shape)).locate(worst),
            steps=(self.steps, 0),
            cause=cause,
            advice=advice,
        )


class Start:
    """The state at the start of a step as one vector, and f and its Jacobian there."""

    def __init__(self, f: Field, span: Span, y0: Tensor) -> None:
        self.span, self.shape, self.y0 = span, y0.shape, y0.reshape(-1)
        self.f = lambda t, y: f(t, y.view(y0.shape)).reshape(-1).to(y0.dtype)
        self.jacobians: Tensor | None = None
        self.factors: dict[Block, tuple[Tensor, Tensor]] = {}

    def move(self, k: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
        """y0 + dt sum_i w_i k_i, shape (n,)."""
        return self.y0 + increment(k, weights, self.span.dt) if k else self.y0

    @torch.no_grad()
    def guess(self, equations: Equations) -> Tensor:
        """The k that leaves every stage at y0, shape (m, n). One from the rates there would be
        thrown far off by what makes a problem stiff.
        """
        return torch.linalg.solve(equations.adt, self.y0 - equations.base)

    def linearised(
        self, equations: Equations, block: Block
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """The Jacobian here, shape (1, n, n), and the factors of the matrix it gives the equations,
        each computed once a step: the stages of a singly diagonal method share them.
        """
        if self.jacobians is None:
            self.jacobians = jacobian(self.f, self.span.at(0.0), self.y0)[None]
        if block not in self.factors:
            self.factors[block] = factor(equations.matrix(self.jacobians))
        return self.jacobians, self.factors[block]


def diagnose(failure: NotConverged, max_iters: int) -> tuple[str, tuple[str, str]]:
    """The cause in words, and two remedies."""
    if not bool(torch.isfinite(failure.k).all()):
        return (
            f"the matrix of Newton's iteration is singular after {failure.iterations} iterations",
            ("another step_size", "an explicit method such as rk4"),
        )
    if not bool(torch.isfinite(failure.rates).all()):
        return (
            f"f returned NaN or inf at a stage after {failure.iterations} iterations of Newton's",
            ("a smaller step_size", "checking f for NaN, for overflow and for its domain"),
        )
    if not bool(torch.isfinite(failure.excess).all()):
        return (
            f"the Jacobian of f has NaN or inf after {failure.iterations} iterations of Newton's",
            ("a start where f is smooth (sqrt and abs have such points)", "an explicit method"),
        )
    largest = (failure.k - failure.rates).abs().max().item()
    cause = (
        f"Newton's iteration has not converged in max_iters={max_iters} iterations, the largest "
        f"residual is {largest:.3g}"
    )
    return cause, ("a smaller step_size", "a larger max_iters, or an f without kinks")
