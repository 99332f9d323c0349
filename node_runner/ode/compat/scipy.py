"""SciPy's solvers behind the interface of the fixed grids."""

from __future__ import annotations

from importlib import import_module
from math import inf, nan

import torch
from torch import Tensor

from ..errors import SolverError, unknown_name
from ..transforms import refuse_functorch, refuse_tangents
from .steppers.protocol import Field

SOLVERS = ("RK45", "RK23", "DOP853", "Radau", "BDF", "LSODA")


@torch.no_grad()
def solve(
    f: Field,
    y0: Tensor,
    t: Tensor,
    *,
    rtol: float | Tensor,
    atol: float | Tensor,
    solver: str = "LSODA",
    min_step: float = 0.0,
    max_step: float = inf,
) -> Tensor:
    """The solution at times t by ``scipy.integrate.solve_ivp``, without gradient.

    SciPy computes on the CPU in float64; f sees tensors of y0's dtype on y0's device, at one copy
    each way an evaluation.

    Args:
        f: (t, y) -> dy/dt, t a 0-dim tensor of y's dtype.
        y0: real state of any shape.
        t: strictly monotone times in either direction, shape (T,).
        rtol, atol: a number, or a tensor with a value for each entry of y0.
        solver: one of RK45 RK23 DOP853 Radau BDF LSODA.
        min_step: smallest step; LSODA alone has one.
        max_step: largest step.

    Returns:
        Shape (T, *y0.shape), the first entry y0.

    Raises:
        ValueError: for an unknown solver, or a min_step that the solver does not know.
        ImportError: where SciPy is not installed.
        SolverError: where SciPy gives up.
    """
    if solver not in SOLVERS:
        raise unknown_name("solver", solver, SOLVERS)
    if min_step and solver != "LSODA":
        raise ValueError(
            f"min_step is {min_step!r}, but SciPy's {solver} has no smallest step: leave it out, "
            "or choose solver='LSODA'"
        )
    other = "a method of this package such as dopri5"
    refuse_functorch("scipy_solver", other)
    refuse_tangents("scipy_solver", y0, t, instead=other)
    if len(t) == 1 or not y0.numel():
        return y0.detach().expand(len(t), *y0.shape)
    times = t.detach().to("cpu", torch.float64).numpy()

    def field(time: float, y: object) -> object:
        at = torch.full((), float(time), dtype=y0.dtype, device=y0.device)
        rate = f(at, torch.from_numpy(y.copy()).to(y0).view(y0.shape))
        refuse_tangents("scipy_solver", rate, instead=other)
        return host(rate)

    found = solve_ivp()(
        field,
        (times[0], times[-1]),
        host(y0),
        method=solver,
        t_eval=times,
        rtol=tolerance(rtol),
        atol=tolerance(atol),
        max_step=max_step,
        **({"min_step": min_step} if solver == "LSODA" else {}),
    )
    if not found.success:
        reached = float(found.t[-1]) if len(found.t) else float(times[0])
        raise SolverError(
            method=f"scipy_solver {solver}",
            t=reached,
            dt=nan,
            error_ratio=nan,
            component="no component: SciPy names none",
            steps=(max(0, len(found.t) - 1), 0),
            cause=f"SciPy says {found.message!r} ({found.nfev} evaluations)",
            advice=("a larger rtol and atol", "solver='Radau' if the problem is stiff"),
        )
    later = torch.from_numpy(found.y.T[1:].copy()).to(y0).view(len(t) - 1, *y0.shape)
    return torch.cat([y0[None], later])  # LSODA interpolates at the start too


def host(tensor: Tensor) -> object:
    """The entries as a float64 array of one dimension."""
    return tensor.detach().to("cpu", torch.float64).numpy().reshape(-1)


def tolerance(value: float | Tensor) -> object:
    if not isinstance(value, Tensor):
        return value
    return value.item() if value.numel() == 1 else host(value)


def solve_ivp() -> object:
    """SciPy's function, imported where it is first needed: the core needs torch alone."""
    try:
        return import_module("scipy.integrate").solve_ivp
    except ImportError as missing:
        raise ImportError("scipy_solver needs SciPy: pip install scipy") from missing
