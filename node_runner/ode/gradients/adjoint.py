"""The continuous adjoint: a second solve, backwards in time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import sqrt
from typing import Any, Literal

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from ..loop import Path
from ..problem import Problem
from ..state import Layout
from ..tableau import Tableau
from ..tolerance import Norm, Tolerances
from .leaves import LeafGuard, add, refuse_unknown_leaves
from .protocol import Integrator

Sums = list[Tensor | None]  # one entry a parameter; None is zero


@dataclass(frozen=True)
class Adjoint:
    """Memory independent of the number of steps; equal to the other strategies to O(tolerance).

    With a(t) = dL/dy(t), a' = -a^T df/dy is solved backwards together with y, and dL/dtheta = int
    a^T df/dtheta dt is a quadrature along that path (Chen et al. 2018, arXiv:1806.07366, algorithm
    1). At each output time y is set back to the stored output and a jumps by dL/dy(t_i). The
    forward quadratures are not solved again: their adjoints are constant between outputs.

    Args:
        rtol, atol: of the backward solve; those of the forward solve unless given.
        norm: "state" lets y and a alone choose the steps, since nothing depends on the parameter
            quadrature (Kidger et al. 2021, arXiv:2009.09457, the seminorm); "full" puts its error
            in as well, as the original code does.

    Raises:
        ValueError: if f uses a tensor that requires a gradient and is not in ``params``; seen at
        its first evaluation, and once a step on the way back.
    """

    rtol: float | None = None
    atol: float | None = None
    norm: Literal["state", "full"] = "state"

    def __post_init__(self) -> None:
        if self.norm not in ("state", "full"):
            raise ValueError(f"Adjoint norm is {self.norm!r}, must be 'state' or 'full'")
        for name in ("rtol", "atol"):
            value = getattr(self, name)
            if value is not None and not (isinstance(value, (int, float)) and value > 0):
                raise ValueError(
                    f"Adjoint {name} is {value!r}, must be positive, or null for the forward "
                    "solve's"
                )

    def check(self, tableau: Tableau) -> None:
        if not tableau.adaptive and (
            self.norm == "full" or self.rtol is not None or self.atol is not None
        ):
            raise ValueError(
                "Adjoint(norm='full') and its rtol and atol steer the step size, and a fixed-step "
                "method has no step control: leave them out or choose an adaptive method"
            )

    def __call__(self, solver: Integrator, problem: Problem) -> Tensor:
        return AdjointFunction.apply(self, solver, problem, problem.y0, *problem.params)


class AdjointFunction(torch.autograd.Function):
    """The solve as one node of the graph; only its outputs are kept."""

    @staticmethod
    def forward(
        ctx: Any, policy: Adjoint, solver: Integrator, problem: Problem, y0: Tensor, *params: Tensor
    ) -> Tensor:
        guarded = replace(problem, y0=y0.detach(), guard=LeafGuard)
        outputs = solver.integrate(guarded)
        ctx.policy, ctx.solver, ctx.problem = policy, solver, replace(problem, y0=None, params=())
        ctx.save_for_backward(outputs, *params)
        return outputs

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, cotangents: Tensor) -> tuple[Tensor | None, ...]:
        outputs, *params = ctx.saved_tensors
        problem, ts, n = ctx.problem, ctx.problem.ts, ctx.problem.layout.fed_width
        wanted = [p for p in params if p.requires_grad]
        field = BackwardField(problem, wanted, ctx.solver.tableau, ctx.policy.norm == "full")
        carry = torch.zeros_like(cotangents[-1])
        path = None
        for i in range(len(ts) - 1, 0, -1):
            carry = (
                carry + cotangents[i - 1]
            )  # the jump of a, and of the quadratures' constant adjoints
            field.quadrature_adjoint = carry[n:]
            start = torch.cat([outputs[i - 1, :n], carry[:n]])
            if path is None:
                path = backward_path(ctx.policy, ctx.solver, problem, field, ts[i], start)
            else:
                path.jump(start)
            field.jump_at = ts[i - 1]
            for step in path.advance(ts[i - 1]):
                field.accept(step.t1 - step.t0)
            carry = torch.cat([path.y[n:], carry[n:]])
        if not ctx.solver.tableau.adaptive and not bool(torch.isfinite(path.y).all()):
            path.fail("the adjoint is not finite at the end of the backward solve")
        totals = iter(field.totals)
        gradients = [next(totals) if p.requires_grad else None for p in params]
        return None, None, None, carry, *gradients


def backward_path(
    policy: Adjoint,
    solver: Integrator,
    problem: Problem,
    field: BackwardField,
    t: float,
    start: Tensor,
) -> Path:
    """The path of (y, a), measured entry by entry like y."""
    n, fed = problem.layout.fed_width, problem.layout.fed
    layout = Layout(
        (*problem.layout.entries(start[:n])[:fed], *problem.layout.entries(start[n:])[:fed])
    )
    rtol, atol = (
        own if own is not None else both_halves(forward, fed)
        for own, forward in ((policy.rtol, solver.rtol), (policy.atol, solver.atol))
    )
    norm = Norm(layout, rtol, atol, problem.weights[:fed] * 2)
    if policy.norm == "full" and field.params:
        norm.extra = lambda: field.error_ratios(tightest(rtol), tightest(atol))
    return solver.path(field, layout, t, start, norm, problem.stats.backward, graph=False)


def both_halves(tolerance: Tolerances, fed: int) -> Tolerances:
    """Tolerances of y's entries, for y and for a."""
    return (
        tolerance if isinstance(tolerance, (int, float)) else [*tolerance[:fed], *tolerance[:fed]]
    )


def tightest(tolerance: Tolerances) -> float:
    return tolerance if isinstance(tolerance, (int, float)) else min(tolerance)


class BackwardField:
    """Rates of (y, a) backwards in time, and the sums of the parameter quadrature.

    A step's parameter quadrature dt sum_i b_i a^T df/dtheta(stage i) is summed in ``trial`` while
    its stages are evaluated and joins ``totals`` when the step is accepted, so that it costs a few
    copies of the parameters and not one a stage. A stage of weight 0 needs no gradient of the
    parameters at all.
    """

    def __init__(
        self, problem: Problem, params: list[Tensor], tableau: Tableau, full: bool
    ) -> None:
        self.problem, self.params, self.tableau = problem, params, tableau
        self.right_side = problem.right_side(problem.stats.backward)
        self.quadrature_adjoint: Tensor | None = None
        self.jump_at: float | None = (
            None  # where a is about to change, so that no step starts from the rate there
        )
        self.error_weights = tableau.b_error if full else (0.0,) * tableau.stages
        self.totals: Sums = [None] * len(params)
        self.first: Sums = list(self.totals)  # a^T df/dtheta at the start of the step
        self.last: Sums = list(self.totals)  # the same at its end, for an FSAL method
        self.trial: Sums = list(self.totals)  # sum of stages 1, 2, ... weighted by b
        self.error: Sums = list(self.totals)  # the same weighted by b_error

    def __call__(self, stage: int | None, t: float, flat: Tensor) -> list[Tensor]:
        layout = self.problem.layout
        n = layout.fed_width
        with torch.enable_grad():
            # Detached: the backward solve must not extend the graph of the forward one.
            y = flat[:n].detach().requires_grad_()
            found = self.right_side(stage, t, y)
            inputs = [y, *self.params] if self.uses_params(stage, t) else [y]
            if stage in (0, 1):  # once a step or oftener
                refuse_unknown_leaves(found, [y, *self.params])
            cotangents = layout.entries(torch.cat([flat[n:], self.quadrature_adjoint]))
            live = [
                (rate, a) for rate, a in zip(found, cotangents, strict=True) if rate.requires_grad
            ]
            gradients: tuple[Tensor | None, ...] = (None,) * len(inputs)
            if live:
                results, known = zip(*live, strict=True)
                gradients = torch.autograd.grad(results, inputs, known, allow_unused=True)
        self.sum_params(stage, gradients[1:])
        decay = torch.zeros_like(y) if gradients[0] is None else gradients[0].neg()
        return [*(rate.detach() for rate in found[: layout.fed]), decay]

    def uses_params(self, stage: int | None, t: float) -> bool:
        """Whether the parameter quadrature has weight at this stage, or at stage 0 of the step
        after.
        """
        if stage is None or not self.params:
            return False
        next_first = self.tableau.fsal and stage == self.tableau.stages - 1 and t != self.jump_at
        return bool(next_first or self.tableau.b[stage] or self.error_weights[stage])

    def sum_params(self, stage: int | None, gradients: Sequence[Tensor | None]) -> None:
        if stage == 0:
            self.first = list(gradients) or [None] * len(self.params)
            return
        if stage == 1:  # a fresh attempt: forget what a rejected one has summed
            self.trial, self.error = [None] * len(self.params), [None] * len(self.params)
        if not gradients:
            return
        if self.tableau.b[stage]:
            add(self.trial, gradients, self.tableau.b[stage])
        if self.error_weights[stage]:
            add(self.error, gradients, self.error_weights[stage])
        if self.tableau.fsal and stage == self.tableau.stages - 1:
            self.last = list(gradients)

    def accept(self, dt: float) -> None:
        """Add the step's quadrature; dt < 0 for a solve that ran forwards, hence the sign."""
        add(self.totals, self.first, -dt * self.tableau.b[0])
        add(self.totals, self.trial, -dt)
        self.first = self.last

    def error_ratios(self, rtol: float, atol: float) -> Tensor:
        """RMS error of the parameter quadrature over its tolerance and |dt|, one number a
        parameter.
        """
        errors: Sums = [None if e is None else e.clone() for e in self.error]
        add(errors, self.first, self.error_weights[0])
        ratios = [
            torch.linalg.vector_norm(e / (atol + rtol * (0.0 if total is None else total.abs())))
            / sqrt(e.numel())
            for e, total in zip(errors, self.totals, strict=True)
            if e is not None
        ]
        return torch.stack(ratios) if ratios else self.params[0].new_zeros(0)
