"""Error, evaluations and time of one solve and of its gradient."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from copy import copy, deepcopy
from functools import partial
from statistics import median
from typing import cast

import torch
from torch import Tensor, nn

from .error_norm import tightest
from .gradients import Gradient
from .solution import Solution
from .solver import Solver

FINER = 1e-2  # the reference's tolerance over the solver's
OF_FIXED_STEPS = 1e-6  # and beside a solver that has none


def profile_solve(
    solver: Solver,
    field: nn.Module,
    y0: Tensor,
    ts: Sequence[float],
    gradient: Gradient,
    loss: Callable[[Tensor], Tensor],
    rounds: int = 3,
) -> dict[str, float]:
    """Error, evaluations and time of a solve and of its gradient (Chen et al. 2018, figure 3).

    Args:
        gradient: how the backward pass is taken, at the tolerances of ``solver``.
        loss: what is differentiated, of y at ts[-1]; its scale decides on the adjoint's steps.
        rounds: of each timing, whose median is given; one more comes before them.

    Returns:
        ``error``: |y - y*| / |y*| at ts[-1] in the 2-norm over the batch, y* by dopri5 in float64
        at a hundredth of the tolerance: where f has kinks (ReLU), the solution to all digits would
        cost thousands of evaluations. ``nfe_forward``, ``nfe_backward``: evaluations of f.
        ``forward_ms``: of a solve without a graph. ``backward_ms``: of the gradient of the loss in
        y0 and the parameters.
    """
    with torch.no_grad():
        y = final(solver(field, y0, ts))
        exact = final(reference(solver)(in_double(field), y0.double(), ts))
        error = (y.double() - exact).norm() / exact.norm()
        forward = [timed(lambda: solver(field, y0, ts), y0.device) for _ in range(rounds + 1)]
    differentiable, backward = copy(solver), []
    differentiable.gradient = gradient
    wanted = [y0.detach().requires_grad_(), *(p for p in field.parameters() if p.requires_grad)]
    with torch.enable_grad():
        for _ in range(rounds + 1):
            solution = differentiable(field, wanted[0], ts)
            take = partial(torch.autograd.grad, loss(final(solution)), wanted, allow_unused=True)
            backward.append(timed(take, y0.device))
    return {
        "error": error.item(),
        "nfe_forward": solution.stats.forward.nfe,
        "nfe_backward": solution.stats.backward.nfe,
        "forward_ms": 1e3 * median(forward[1:]),
        "backward_ms": 1e3 * median(backward[1:]),
    }


def final(solution: Solution) -> Tensor:
    """The end of a solve whose state is one tensor."""
    return cast(Tensor, solution.final)


def in_double(field: nn.Module) -> nn.Module:
    """A copy in float64, without a forward of its own that may round (runtime.amp)."""
    copied = deepcopy(field).double()
    vars(copied).pop("forward", None)
    return copied


def reference(solver: Solver) -> Solver:
    """A solver that is far more accurate."""
    if not solver.scheme.adaptive:
        return Solver("dopri5", OF_FIXED_STEPS, OF_FIXED_STEPS)
    return Solver("dopri5", tightest(solver.rtol) * FINER, tightest(solver.atol) * FINER)


def timed(function: Callable[[], object], device: torch.device) -> float:
    """Seconds, with all that an accelerator still has to do."""
    finish = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    finish()
    start = time.perf_counter()
    function()
    finish()
    return time.perf_counter() - start
