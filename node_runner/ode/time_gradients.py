"""Gradients of the times that a solve is given."""

from __future__ import annotations

from collections.abc import Callable, Sequence, Set
from dataclasses import replace
from math import isfinite, isnan

import torch
from torch import Tensor

from .gradients.double_backward import FirstDerivativeOnly
from .integration import OneSidedRates
from .problem import Problem, make_problem
from .protocol import SolverProtocol
from .state import State
from .transforms import has_tangent

NO_SECOND_DERIVATIVES = (
    "second derivatives are not there for a solve whose {} requires a gradient: detach it, or take "
    "first derivatives alone"
)


def with_time_gradients(solver: SolverProtocol, problem: Problem, ts: Tensor) -> Tensor:
    """The outputs with terms that are zero in value and carry the gradient of the times, the same
    for every strategy.
    """
    ts = ts.to(problem.layout.device, problem.layout.dtype)
    zeros = ts - ts.detach()
    start = problem.y0 - rate(problem, 0, problem.y0, solver.jumps) * zeros[0]
    outputs = solver.gradient(solver, replace(problem, y0=start))
    rates = [rate(problem, i + 1, y, solver.jumps) for i, y in enumerate(outputs)]
    return FirstDerivativeOnly.apply(
        NO_SECOND_DERIVATIVES.format("ts"), outputs + torch.stack(rates) * zeros[1:, None]
    )


def wants_gradient(t: Tensor) -> bool:
    """Whether a derivative in t is wanted."""
    return t.requires_grad and torch.is_grad_enabled() or has_tangent(t)


def rate(problem: Problem, i: int, y: Tensor, jumps: Set[float]) -> Tensor:
    """Return f at ts[i], shape (width,), without graph: at a jump just after ts[0], or just before
    an output. f is evaluated with one where gradients are
    enabled: what it computes once and keeps (``parametrize.cached``) would lack its own otherwise.
    """
    f, ts = problem.right_side(problem.stats.forward), problem.ts
    if jumps:
        f = OneSidedRates(f, jumps, problem.layout.dtype, lambda: (ts[0], ts[-1] - ts[0]))
    return problem.layout.start(f(None, problem.ts[i], y.detach())).detach()


def problem_on_interval(
    f: Callable,
    y0: State,
    t0: float | Tensor,
    t1: float | Tensor,
    params: Sequence[Tensor] | None,
    jumps: Set[float],
    endless: bool = False,
) -> Problem:
    """Return the problem on [t0, t1], its start moving with t0 if that requires a gradient:
    dy(t)/dt_0 = -dy(t)/dy_0 f(t_0, y_0).

    Raises:
        ValueError: for ends that are not two different finite numbers; with ``endless`` t1 may be
            infinite.
    """
    # A read of the device each, for tensors on one.
    times = [float(t.detach() if isinstance(t, Tensor) else t) for t in (t0, t1)]
    finite = isfinite(times[0]) and (isfinite(times[1]) or endless and not isnan(times[1]))
    if not finite or times[0] == times[1]:
        raise ValueError(
            f"the interval must have two different ends{'' if endless else ' that are finite'}, "
            f"got {times}"
        )
    problem = make_problem(f, y0, times, params)
    if isinstance(t0, Tensor) and wants_gradient(t0):
        zero = (t0 - t0.detach()).reshape(()).to(problem.y0)
        start = problem.y0 - rate(problem, 0, problem.y0, jumps) * zero
        problem = replace(
            problem, y0=FirstDerivativeOnly.apply(NO_SECOND_DERIVATIVES.format("t0"), start)
        )
    return problem
