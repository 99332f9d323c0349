"""odeint and odeint_dense."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from .. import methods
from ..dynamo import run_eagerly
from ..state import State
from .adaptive import Adaptive
from .call import read_call
from .options import ADAPTIVE
from .search import find, states_at


@run_eagerly
def odeint(
    func: Callable,
    y0: State,
    t: Tensor,
    *,
    rtol: object = 1e-7,
    atol: object = 1e-9,
    method: str | None = None,
    options: dict | None = None,
    event_fn: Callable | None = None,
) -> State | tuple[Tensor, State]:
    """Solve dy/dt = func(t, y), y(t[0]) = y0, and backpropagate through the solver's own steps.

    Args:
        func: (t, y) -> dy/dt, t a 0-dim tensor of y's real dtype. It is called as it is: nothing is
            captured, and its side effects happen at every evaluation.
        y0: a tensor of any shape, real or complex, or a tuple of such, whose dtypes are promoted to
            one.
        t: strictly monotone times in either direction, shape (T,).
        rtol, atol: of the local error: a number, a tensor that broadcasts to y0, or one of either
            for each entry of a tuple.
        method: torchdiffeq's names (``rk4`` is the 3/8 rule); dopri5 unless given.
        options: see the package's docstring. One that the method does not know is warned of.
        event_fn: (t, y) -> tensor. The solve then goes on from t[0], in the direction of t[1], to
            the first time that an element of it changes its sign.

    Returns:
        The solution at t, shape (T, *y0.shape), or a tuple of such; with event_fn, the event's time
        and the states at t[0] and then, shape (2, *y0.shape). The time carries no gradient here
        (see ``odeint_event``).

    Raises:
        ValueError: for arguments that do not fit.
        SolverError: where the solve cannot reach its end; also an AssertionError.
    """
    call = read_call(func, y0, t, rtol, atol, method, options)
    if event_fn is not None:
        return states_at(call, *find(call, event_fn))
    return call.form.outer(call.means.solve(call.f, call.y0, call.t))


@run_eagerly
def odeint_dense(
    func: Callable,
    y0: State,
    t0: Tensor | float,
    t1: Tensor | float,
    *,
    rtol: object = 1e-7,
    atol: object = 1e-9,
    method: str | None = None,
    options: dict | None = None,
) -> Callable[[Tensor | float | Sequence[float]], State]:
    """Solve from t0 to t1 and return the solution as a function of time.

    That function takes a time (float or 0-dim tensor) or several (shape (T,)) between t0 and t1 and
    returns the state there, several with a leading dimension T: the method's own interpolant
    (``DenseSolution``), differentiable in y0, in what func uses, in t0 and in the times. All steps
    are kept: memory is that of their stages.

    Args:
        func, y0, rtol, atol, method, options: as in ``odeint``; any adaptive method.
        t0, t1: ends of the solve, in either direction.

    Raises:
        ValueError: for arguments that do not fit, or, later, a time outside.
        SolverError: where the solve cannot reach t1.
    """
    like = t0 if isinstance(t0, Tensor) else torch.tensor(float(t0), dtype=torch.float64)
    t = torch.stack([like.reshape(()), torch.as_tensor(t1).to(like).reshape(())])
    call = read_call(func, y0, t, rtol, atol, method, options)
    if not isinstance(call.means, Adaptive) or not call.means.solver.scheme.dense:
        dense = [name for name in ADAPTIVE if methods.get(name).dense]
        raise ValueError(
            f"method is {method!r}, whose steps have no interpolant of their accuracy; odeint_dense"
            f" takes one of {', '.join(dense)}"
        )
    found = call.means.solver.dense(call.f, call.y0, call.t[0], call.t[1].item())
    return lambda times: call.form.outer(found(times))
