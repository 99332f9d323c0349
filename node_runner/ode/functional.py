"""odeint, odeint_adjoint and odeint_event with torchdiffeq's signatures and method names."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from math import inf
from typing import Any

import torch
from torch import Tensor, nn

from . import methods
from .control import MOST_FIXED_STEPS
from .dynamo import run_eagerly
from .gradients import Adjoint, Direct, Gradient
from .solver import Solver
from .state import State
from .tolerance import Tolerances

DEFAULT = "dopri5"
OPTIONS = ("first_step", "step_size", "max_num_steps")
ADJOINT_OPTIONS = ("norm",)


@run_eagerly
def odeint(
    func: Callable,
    y0: State,
    t: Tensor,
    *,
    rtol: Tolerances = 1e-7,
    atol: Tolerances = 1e-9,
    method: str | None = None,
    options: dict | None = None,
    event_fn: Callable | None = None,
) -> State | tuple[Tensor, State]:
    """Solve dy/dt = func(t, y), y(t[0]) = y0, and backpropagate through the solver's steps.

    Args:
        func: (t, y) -> dy/dt.
        y0: a tensor or a tuple of tensors.
        t: strictly monotone times, shape (T,).
        rtol, atol: relative and absolute tolerance, a number or one for each entry of the tuple.
        method: dopri5 unless given. Names are torchdiffeq's: ``rk4`` is the 3/8 rule, as there
            and in ``compat``, which is warned of, since ``Solver("rk4")`` is the classic method;
            ``rk38`` is the same without a warning. A fixed-step method without ``step_size`` steps
            from output to output.
        options: ``first_step``, ``max_num_steps`` (adaptive), ``step_size`` (fixed).
        event_fn: (t, y) -> a tensor of one element. The solve then goes on from t[0], in the
            direction of t[1], until it changes its sign.

    Returns:
        The solution at t, shape (T, *y0), or a tuple of such; with event_fn the event's time and
        the states at t[0] and then, shape (2, *y0), differentiable as ``EventSolution``.

    Raises:
        ValueError: for an option that is not honoured, named, or arguments that do not fit.
        SolverError: if the solve cannot reach t[-1].
    """
    return solve(build(method, rtol, atol, options, Direct()), func, y0, t, event_fn)


@run_eagerly
def odeint_adjoint(
    func: Callable,
    y0: State,
    t: Tensor,
    *,
    rtol: Tolerances = 1e-7,
    atol: Tolerances = 1e-9,
    method: str | None = None,
    options: dict | None = None,
    event_fn: Callable | None = None,
    adjoint_rtol: float | None = None,
    adjoint_atol: float | None = None,
    adjoint_method: str | None = None,
    adjoint_options: dict | None = None,
    adjoint_params: Sequence[Tensor] | None = None,
) -> State | tuple[Tensor, State]:
    """As ``odeint``, with the gradient from the continuous adjoint: memory independent of the
    number of steps.

    Args:
        adjoint_rtol, adjoint_atol: of the backward solve; those of the forward solve unless given.
        adjoint_method: the forward method, or None.
        adjoint_options: ``norm``: "seminorm" (the default here; the parameters do not choose the
            steps) or "full" (they do: torchdiffeq's default).
        adjoint_params: tensors that func uses; func.parameters() unless given, so func must be an
            nn.Module then.

    Raises:
        ValueError: for an option that is not honoured, named, or a func whose parameters are
        unknown. SolverError: if either solve cannot reach its end.
    """
    if adjoint_params is None and not isinstance(func, nn.Module):
        raise ValueError(
            "func is no nn.Module, so adjoint_params must name the tensors it uses; () if none"
        )
    method = method or DEFAULT
    if adjoint_method not in (None, method):
        raise ValueError(
            f"adjoint_method is {adjoint_method!r}; only the forward method ({method!r}) is there"
        )
    options_of_adjoint = dict(adjoint_options or {})
    norms = {"seminorm": "state", "full": "full"}
    norm = options_of_adjoint.pop("norm", "seminorm")
    refuse_others("adjoint_options", options_of_adjoint, ADJOINT_OPTIONS)
    if norm not in norms:
        raise ValueError(f"adjoint_options norm is {norm!r}, must be one of {', '.join(norms)}")
    gradient = Adjoint(adjoint_rtol, adjoint_atol, norms[norm])
    solver = build(method, rtol, atol, options, gradient)
    return solve(solver, func, y0, t, event_fn, adjoint_params)


@run_eagerly
def odeint_event(
    func: Callable,
    y0: State,
    t0: Tensor,
    *,
    event_fn: Callable,
    reverse_time: bool = False,
    odeint_interface: Callable = odeint,
    **kwargs: Any,
) -> tuple[Tensor, State]:
    """As ``odeint`` with event_fn, from t0 (a tensor of one element) on, or back from it.

    Args:
        odeint_interface: ``odeint`` unless given, or ``odeint_adjoint``.
        kwargs: of that function.
    """
    start = t0.reshape(1)
    t = torch.cat([start, start.detach() + (-1 if reverse_time else 1)])
    return odeint_interface(func, y0, t, event_fn=event_fn, **kwargs)


def solve(
    solver: Solver,
    func: Callable,
    y0: State,
    t: Tensor,
    event_fn: Callable | None,
    params: Sequence[Tensor] | None = None,
) -> State | tuple[Tensor, State]:
    """The solution at the times, or up to the event."""
    if event_fn is None:
        return solver(func, y0, t, params=params).ys
    if len(t) != 2:
        raise ValueError(
            f"t has {len(t)} times, must have 2 with event_fn: the start, and one that tells the "
            "direction"
        )
    end = inf if t[1] > t[0] else -inf
    found = solver.event(func, y0, t[0], event_fn, t_end=end, params=params)
    if isinstance(y0, Tensor):
        return found.t, torch.stack([y0, found.state])
    return found.t, tuple(map(torch.stack, zip(y0, found.state, strict=True)))


def build(
    method: str | None, rtol: Tolerances, atol: Tolerances, options: dict | None, gradient: Gradient
) -> Solver:
    """The Solver that these arguments mean."""
    method, options = torchdiffeqs(method or DEFAULT), dict(options or {})
    refuse_others("options", options, OPTIONS)
    if not methods.get(method).adaptive:
        options.setdefault("step_size", inf)
        options.setdefault("max_num_steps", MOST_FIXED_STEPS)  # the grid is the caller's own
    if "max_num_steps" in options:
        options["max_steps"] = options.pop("max_num_steps")
    return Solver(method, rtol, atol, gradient=gradient, **options)


def torchdiffeqs(method: str) -> str:
    """The name in ``methods`` of a method by torchdiffeq's name.

    Warns:
        UserWarning: for rk4, which means another method to ``Solver``.
    """
    if method != "rk4":
        return method
    warnings.warn(
        "method='rk4' of odeint is torchdiffeq's, the 3/8 rule, and not the classic method that "
        "Solver('rk4') and solver=rk4 are: write method='rk38' for the 3/8 rule, or use Solver",
        stacklevel=4,
    )
    return "rk38"


def refuse_others(name: str, options: dict, known: Sequence[str]) -> None:
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise ValueError(
            f"{name} has {', '.join(unknown)}, not honoured here; available: {', '.join(known)}"
        )
