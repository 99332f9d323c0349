"""The continuous adjoint: a second solve, backwards in time."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor

from ..dynamo import run_eagerly
from ..error_norm import ErrorNorm, Tolerances, as_tolerance, tightest
from ..integration import Integration
from ..problem import Problem
from ..protocol import Integrator
from ..stepper import Method
from ..tableau import Tableau
from ..transforms import refuse_batched, refuse_tangents
from .backward_field import BackwardField, QuadratureField
from .captured_tensors import CapturedTensors, solve_without_graph
from .double_backward import NotDifferentiable
from .drift import Drift, Kept, Pairs, backward_failure_explained, warn_of_drift
from .vjp import CapturedVJP

NAME = "Adjoint()"  # in messages
REFUSAL = (
    "a gradient by Adjoint() cannot be differentiated again; those by Direct() and Replay() can"
)


@dataclass(frozen=True)
class Adjoint:
    """Memory independent of the number of steps; the gradient of the exact flow, where y can be
    solved for backwards.

    With a(t) = dL/dy(t), a' = -a^T df/dy is solved backwards together with y, and dL/dtheta = int
    a^T df/dtheta dt is a quadrature along that path (Chen et al. 2018, arXiv:1806.07366,
    algorithm 1). At each output time y is set back to the stored output and a jumps by
    dL/dy(t_i). The forward quadratures are not solved again: their adjoints are constant between
    outputs.

    It differs from the other strategies by the errors of both solves. Those of the backward solve
    grow by exp(-int lambda dt), lambda < 0 the rate at which f contracts: by 5e8 for y' = -20 y in
    one unit of time, and the gradient may then have any size and sign. So y is compared with the
    known state at each output: ``Solution.stats.drift`` is the distance over the state's size, and
    one that does harm is logged once as a warning. An error that has
    shrunk again before the next output, remain unseen; so does one in entries of weight 0.

    With ``norm="state"`` nothing controls the error of the parameters' gradients: they are
    integrated by the same quadrature along the same steps, which resolve y and a. Where a^T
    df/dtheta varies faster than both (parameters that enter through a fast function of t), compare
    with "full" or a smaller tolerance.

    >>> import torch
    >>> from node_runner.ode import Adjoint, Solver
    >>> w = torch.tensor(0.5, requires_grad=True)
    >>> solver = Solver(gradient=Adjoint())
    >>> solver(lambda t, y: w * y, torch.ones(1), [0.0, 1.0], params=[w]).final.backward()
    >>> round(w.grad.item(), 3)
    1.649

    Args:
        rtol, atol: Tolerances of the backward solve (default: those of the forward solve).
        norm: "state" lets y and a alone choose the steps, since nothing depends on the parameter
            quadrature (Kidger et al. 2021, arXiv:2009.09457, the seminorm); "full" puts its error
            in as well, as the original code does.
        strict: False takes what f uses besides y0 and ``params`` for constants.
        solver: a ``Solver`` with another method, or other steps, for the way back.

    A parameter that f does not use has a gradient of zero, not None.

    Raises:
        ValueError: if strict and f uses a tensor that requires a gradient and is not in
        ``params``; seen at its first evaluation, and once a step on the way back.
        SolverError: in the backward pass, if the backward solve cannot reach ts[0].
        NotImplementedError: where its gradient is differentiated again.
    """

    rtol: float | None = None
    atol: float | None = None
    norm: Literal["state", "full"] = "state"
    strict: bool = True
    solver: Integrator | None = None

    def __post_init__(self) -> None:
        if self.norm not in ("state", "full"):
            raise ValueError(f"norm is {self.norm!r}, must be 'state' or 'full'")
        for name in ("rtol", "atol"):
            value = getattr(self, name)
            value = None if value is None else as_tolerance(name, value)
            object.__setattr__(self, name, value)
            if value is not None and not (isinstance(value, float) and value > 0):
                raise ValueError(
                    f"{name} is {value!r}, must be positive, or null for the forward solve's"
                )

    def check(self, method: Method) -> None:
        method = method if self.solver is None else self.solver.scheme
        if not method.adaptive and (
            self.norm == "full" or self.rtol is not None or self.atol is not None
        ):
            raise ValueError(
                "Adjoint(norm='full') and its rtol and atol steer the step size, and a fixed-step "
                "method has no step control: leave them out or choose an adaptive method"
            )

    def __call__(self, solver: Integrator, problem: Problem) -> Tensor:
        outputs, captured = solve_without_graph(NAME, problem, solver.integrate, self.strict)
        return AdjointFunction.apply(
            self, solver, problem, captured, outputs, problem.y0, *captured.tensors
        )


class AdjointFunction(torch.autograd.Function):
    """The solve as one node of the graph; only its outputs are kept."""

    @staticmethod
    @run_eagerly
    def forward(
        ctx: Any,
        policy: Adjoint,
        solver: Integrator,
        problem: Problem,
        captured: CapturedTensors,
        outputs: list[Tensor],
        y0: Tensor,
        *tensors: Tensor,
    ) -> Tensor:
        ctx.policy, ctx.solver, ctx.captured = policy, solver, captured
        ctx.problem = replace(problem, y0=y0[:0], params=(), given=())
        ctx.start = Kept(y0)
        ctx.save_for_backward(outputs[0], *tensors)
        return outputs.pop()

    @staticmethod
    @run_eagerly
    def backward(ctx: Any, cotangents: Tensor) -> tuple[Tensor | None, ...]:
        refuse_batched(NAME, cotangents)
        refuse_tangents(f"a gradient by {NAME}", cotangents)
        circumstances = ctx.captured.snapshot.restored(), ctx.problem.rhs.arithmetic()
        explained = backward_failure_explained(
            (ctx.policy.solver or ctx.solver).method, ctx.policy.norm
        )
        with torch.no_grad(), circumstances[0], circumstances[1], explained:
            found = solve_backward(ctx, cotangents.detach())
        found = None, None, None, None, None, *found
        if not torch.is_grad_enabled():
            return found
        # With the outputs among them, so that all are a part of the graph.
        known = iter(
            NotDifferentiable.apply(
                REFUSAL, *(g for g in found if g is not None), ctx.saved_tensors[0]
            )
        )
        return tuple(None if g is None else next(known) for g in found)


def solve_backward(ctx: Any, cotangents: Tensor) -> tuple[Tensor | None, ...]:
    """The gradients of y0 and of each captured tensor."""
    outputs, *_ = ctx.saved_tensors  # refused if a tensor has been changed in place
    problem, ts, n = ctx.problem, ctx.problem.ts, ctx.problem.layout.state_size
    policy, vjp = ctx.policy, CapturedVJP(ctx.captured)
    solver = policy.solver or ctx.solver
    field = backward_field(policy, solver, problem, vjp)
    drift = Drift(problem, ctx.start.tensor(), outputs, tolerances(policy, ctx.solver))
    carry = torch.zeros_like(cotangents[-1])
    integration: Integration
    for i in range(len(ts) - 1, 0, -1):
        carry = carry + cotangents[i - 1]  # a jumps, and the quadratures' constant adjoints
        field.quadrature_adjoint = carry[n:]
        start = torch.cat([outputs[i - 1, :n], carry[:n]])
        if i == len(ts) - 1:
            integration = backward_integration(policy, solver, problem, field, ts[i], start)
        else:
            integration.restart_from(field.state(start))
        field.jump_at = ts[i - 1]
        for step in integration.advance(ts[i - 1]):
            field.accept(step.t1 - step.t0)
        field.finish(integration.y)
        drift.compare(i - 1, integration.y[:n], carry)
        carry = torch.cat([integration.y[n : 2 * n], carry[n:]])
    finite, harmful = drift.read(torch.isfinite(integration.y).all())
    if not finite:
        integration.fail("the adjoint is not finite at the end of the backward solve")
    if harmful is not None:
        how = (policy.norm, policy.rtol, policy.atol, ctx.solver.method, solver.method)
        warn_of_drift(problem, harmful, (*how, outputs.dtype))
    return carry, *vjp.totals(field.totals, zeros=True)


def tolerances(policy: Adjoint, solver: Integrator) -> Pairs:
    """Those of both solves."""
    back = policy.solver or solver
    if policy.rtol is policy.atol is None and back is solver:
        return solver.tolerances
    if not (solver.tolerances and back.tolerances):
        return []
    rtol = back.rtol if policy.rtol is None else policy.rtol
    return [*solver.tolerances, (rtol, back.atol if policy.atol is None else policy.atol)]


def backward_integration(
    policy: Adjoint,
    solver: Integrator,
    problem: Problem,
    field: BackwardField | QuadratureField,
    t: float,
    start: Tensor,
) -> Integration:
    """The integration of (y, a), measured entry by entry like y."""
    n, fed = problem.layout.state_size, problem.layout.num_entries
    layout = field.layout(
        (*problem.layout.entries(start[:n])[:fed], *problem.layout.entries(start[n:])[:fed])
    )
    sums, full = len(layout.sizes) - 2 * fed, policy.norm == "full"
    rtol, atol = (
        own if own is not None else both_halves(forward, fed, sums)
        for own, forward in ((policy.rtol, solver.rtol), (policy.atol, solver.atol))
    )
    weights = [*problem.weights[:fed] * 2, *[float(full)] * sums]
    own = solver.norm_of(problem.layout)
    norm = ErrorNorm(layout, rtol, atol, weights, error_norm=own, states=2)
    if full and isinstance(field, BackwardField) and field.vjp.tensors:
        norm.extra = partial(field.error_ratios, tightest(rtol), tightest(atol))
    state = field.state(start)
    return solver.start_integration(
        field, layout, t, state, norm, problem.stats.backward, graph=False
    )


def backward_field(
    policy: Adjoint, solver: Integrator, problem: Problem, vjp: CapturedVJP
) -> BackwardField | QuadratureField:
    """With the weights of the stages where the method has some, else with quadratures."""
    tableau = getattr(solver.scheme, "tableau", None)
    if isinstance(tableau, Tableau):
        return BackwardField(problem, vjp, tableau, policy.norm == "full")
    return QuadratureField(problem, vjp)


def both_halves(tolerance: Tolerances, fed: int, sums: int) -> Tolerances:
    """Tolerances of y's entries, for y and for a, and the tightest for the parameters' sums."""
    if isinstance(tolerance, (int, float)):
        return tolerance
    return [*tolerance[:fed], *tolerance[:fed], *[tightest(tolerance)] * sums]
