"""odeint_adjoint."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from ..dynamo import run_eagerly
from ..problem import check_params
from ..solver import Solver
from ..state import State
from .call import Call, read_call
from .search import find, states_at
from .strategy import Chosen, Known, gradient_of, of_adjoint


@run_eagerly
def odeint_adjoint(
    func: Callable,
    y0: State,
    t: Tensor,
    *,
    rtol: object = 1e-7,
    atol: object = 1e-9,
    method: str | None = None,
    options: dict | None = None,
    event_fn: Callable | None = None,
    adjoint_rtol: object = None,
    adjoint_atol: object = None,
    adjoint_method: str | None = None,
    adjoint_options: dict | None = None,
    adjoint_params: Iterable[Tensor] | None = None,
) -> State | tuple[Tensor, State]:
    """As ``odeint``, with the gradient from the continuous adjoint: memory independent of the
    number of steps.

    Where both norm and method allow it (an adaptive or explicit fixed-step adjoint_method, no norm
    of the caller's for the adjoint, no callbacks in it) the whole way back is one solve of (y, a),
    and the gradient of the parameters is summed beside it. Elsewhere parameters are part of the
    state, and each output starts a fresh solve, as torchdiffeq does it always.

    Args:
        func, y0, t, rtol, atol, method, options, event_fn: as in ``odeint``.
        adjoint_rtol, adjoint_atol: of the backward solve; those of the forward solve unless given.
            Forms as in ``odeint``, or one for each of (t, y, adj_y, *params).
        adjoint_method: of the backward solve; the forward one unless given.
        adjoint_options: of the backward solve; those of the forward one but ``norm`` unless given.
            ``norm``: None for the largest RMS of y, adj_y or any parameter's gradient;
            "seminorm", the same without the parameters; or a function of (t, y, adj_y, *params),
            with y and adj_y spread out where the state is a tuple.
        adjoint_params: tensors that func uses and that a gradient is wanted for: func.parameters()
            unless given, so func must be an nn.Module then. What else func uses is a constant if
            they are given, and refused if it requires a gradient if not. A parameter that is not
            used has a gradient of zero.

    Raises:
        ValueError, SolverError: as ``odeint``.
        NotImplementedError: if gradients of these gradients are asked for.
    """
    strict = adjoint_params is None
    given = parameters_of(func) if strict else check_params("adjoint_params", adjoint_params)
    params = tuple(p for p in given if p.requires_grad)
    method = method or "dopri5"
    if adjoint_method not in (None, method) and options is not None and adjoint_options is None:
        raise ValueError(
            f"adjoint_method is {adjoint_method!r} and method {method!r}, so options cannot serve "
            "both; give adjoint_options as well, {} for none"
        )
    call = read_call(func, y0, t, rtol, atol, method, options)
    if not torch.is_grad_enabled():
        return solved(call, event_fn)
    own = call.setting.options if adjoint_options is None else dict(adjoint_options)
    norm = None if adjoint_options is None else own.get("norm")
    if len(params) != len(given) and callable(norm):
        warnings.warn(
            "a parameter in adjoint_params requires no gradient: it is left out of the adjoint, "
            "and its norm does not see it",
            stacklevel=2,
        )
    chosen = Chosen(
        adjoint_method or method,
        {name: value for name, value in own.items() if name != "norm"},
        norm,
        *(
            of_adjoint(name, value, forward, call, len(params))
            for name, value, forward in (
                ("adjoint_rtol", adjoint_rtol, call.setting.rtol),
                ("adjoint_atol", adjoint_atol, call.setting.atol),
            )
        ),
        strict,
    )
    if event_fn is None:
        front = Solver(gradient=gradient_of(call, chosen, call.means))
        return call.form.outer(front(call.f, call.y0, call.t, params=params).ys)
    with torch.no_grad():
        event_t, y = find(call, event_fn)
    front = Solver(gradient=gradient_of(call, chosen, Known(y[None])))
    end = torch.tensor([event_t], dtype=torch.float64, device=call.t.device)
    solution = front(call.f, call.y0, torch.cat([call.t[:1].double(), end]), params=params)
    return end[0].to(call.t.dtype), call.form.outer(solution.ys)


def solved(call: Call, event_fn: Callable | None) -> State | tuple[Tensor, State]:
    """Where no gradient is wanted."""
    if event_fn is None:
        return call.form.outer(call.means.solve(call.f, call.y0, call.t))
    return states_at(call, *find(call, event_fn))


def parameters_of(func: object) -> tuple[Tensor, ...]:
    """The parameters of a module; in a replica of DataParallel, which has none, the tensors in
    their places.
    """
    if not isinstance(func, nn.Module):
        raise ValueError(
            f"func is a {type(func).__name__} and no nn.Module, so adjoint_params must name the "
            "tensors that it uses; adjoint_params=() if there are none"
        )
    if not getattr(func, "_is_replica", False):
        return tuple(func.parameters())
    return tuple(
        value
        for module in func.modules()
        for value in vars(module).values()
        if isinstance(value, Tensor) and value.requires_grad
    )
