"""Drop-in functions for code written against torchdiffeq: its signatures, its names, its options.

    from node_runner.ode import torchdiffeq
    ys = torchdiffeq.odeint(func, y0, t, method="dopri5", rtol=1e-6, atol=1e-6)

They translate and call ``Solver``, whose methods, gradients, events and errors these are.

**Methods** are called as there: adaptive dopri8 dopri5 (the default) tsit5 bosh3 fehlberg2
adaptive_heun; fixed-step euler midpoint heun2 heun3 rk4 explicit_adams implicit_adams fixed_adams
implicit_euler implicit_midpoint trapezoid radauIIA3 radauIIA5 gl4 gl6 sdirk2 trbdf2; scipy_solver.
``rk4`` is what torchdiffeq calls so, the 3/8 rule; ``Solver("rk4")`` is the classic method. Every
other name of ``node_runner/ode/methods`` is taken as well (adams, bdf, kvaerno5, ...).

**Options**, in the dict ``options``; unknown ones are warned of and ignored:

- adaptive: ``norm`` (of the scaled error; a tensor or tuple like y0), ``first_step``, ``min_step``,
  ``max_step``, ``step_t`` (a step ends there), ``jump_t`` (and func jumps there), ``safety``,
  ``ifactor``, ``dfactor``, ``max_num_steps``, ``dtype`` (of the times that callbacks see);
- fixed-step: ``step_size`` or ``grid_constructor``, ``perturb``, ``interp``; of Adams ``max_order``
  and ``max_iters``;
- implicit: ``jacobian``, "full" unless given, or "rows" for a batch (see ``Solver``);
- scipy_solver: ``solver``, ``min_step``, ``max_step``.

Attributes callback_step, callback_accept_step and callback_reject_step of func, and the same with
_adjoint appended, are called as there.

**Given up**: gradients through the grid of fixed steps (those in t are of the exact flow, for every
method); norms and callbacks that see the adjoint's augmented state (a norm of adjoint_options is
None or "seminorm"; callbacks of the way back see y); tolerances for each of its entries; ``jump_t``
and ``perturb`` of float16 and bfloat16 states, whose times cannot tell the two sides apart.

**Different**, so that values agree within the tolerances asked for, gradients too, and steps do
not:

- Step control is proportional-integral (``control.PIControl``); ``safety`` is 0.93 unless given.
- func is never called outside the interval; there, the last step runs past the end.
- tsit5 propagates the row of order 5; there, the embedded row of order 4. gl4 has two different
  nodes; there, one twice, which leaves order 1. Adams methods know uneven grids.
- Between the points of a grid the interpolant is the method's own whatever ``interp`` says.
- The two parts of a complex number are measured each by itself, there its modulus.
- The choice of the first step has no gradient; there, it leaks into that of y0 and the parameters.
- ``max_num_steps`` bounds a whole solve: as many for each interval between outputs. Without it a
  solve gives up after 100,000, and one for each output; there, it runs on.
- The adjoint is one solve from the last output to the first; there, one for each interval.
- A leaf that func uses, that requires a gradient and that is not in the adjoint's parameters is
  refused, there its gradient is lost; ``adjoint_params`` given overrules that.
- Event times have gradients in every function, for the parameters of event_fn too. One that is zero
  at the start is no event there and then.
- odeint_dense takes tuples and every method. float16 and bfloat16 states are solved in float32.
- For tuples, grid constructors see tuples, not one vector of them all.
- A failing solve raises ``SolverError``, an AssertionError as there, which tells where and why;
  errors in arguments are ValueErrors.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import copysign, inf
from typing import Any

import torch
from torch import Tensor, nn

from . import methods
from .control import MAX_FIXED_STEPS, FixedControl
from .dynamo import run_eagerly
from .error_norm import Tolerances, as_tolerance, tightest
from .errors import unknown_name
from .events import Event
from .gradients import Adjoint
from .problem import check_params, check_times
from .solver import Solver
from .state import State
from .state_conversion import StateConversion, conversion_of
from .stepper import Method
from .steppers.fixed_adams import FixedAdams
from .steppers.scipy import SciPy
from .transforms import refuse_functorch

__all__ = ["odeint", "odeint_adjoint", "odeint_dense", "odeint_event"]

SCIPY = "scipy_solver"
METHOD_NAMES = {
    "rk4": "rk38",
    "radauIIA3": "radau_iia3",
    "radauIIA5": "radau_iia5",
    "gl4": "gauss4",
    "gl6": "gauss6",
    "fixed_adams": "implicit_adams",
}
ESTIMATED = ("radauIIA5", "gl4", "trbdf2", "trapezoid")
OPTION_NAMES = {
    "ifactor": "max_factor",
    "dfactor": "min_factor",
    "max_num_steps": "max_steps",
    "step_t": "stops",
    "jump_t": "jumps",
}
FACTORS = ("safety", "ifactor", "dfactor")  # which methods of variable order do not take
CONTROL_OPTIONS = ("first_step", "min_step", "max_step", *FACTORS)
ADAPTIVE_OPTIONS = (*CONTROL_OPTIONS, "norm", "step_t", "jump_t", "max_num_steps", "dtype")
GRID_OPTIONS = ("step_size", "grid_constructor", "interp", "perturb")
ADAMS_OPTIONS = ("max_order", "max_iters")
SCIPY_OPTIONS = ("solver", "min_step", "max_step")
IGNORED_OPTIONS = ("norm", "grid_points", "eps")  # torchdiffeq takes these without a word as well
CALLBACKS = ("step", "accept_step", "reject_step")
MAX_STEPS = 100_000
UNBOUNDED_STEP = 1e300  # a step_size that reaches from one stop to the next
MIN_ATOL = 1e-37  # of atol


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
        func: (t, y) -> dy/dt, t a 0-dim tensor of y's real dtype.
        y0: a tensor of any shape, real or complex, or a tuple of such, whose dtypes are promoted to
            one.
        t: strictly monotone times in either direction, shape (T,).
        rtol, atol: of the local error: a number, a tensor that broadcasts to y0, or one of either
            for each entry of a tuple.
        method: torchdiffeq's names, in which ``rk4`` is the 3/8 rule; dopri5 unless given.
        options: see the module's docstring.
        event_fn: (t, y) -> tensor. The solve then goes on from t[0], in the direction of t[1], to
            the first time that an element of it changes its sign.

    Returns:
        The solution at t, shape (T, *y0.shape), or a tuple of such; with event_fn, the event's time
        and the states at t[0] and then, shape (2, *y0.shape).

    Raises:
        ValueError: for arguments that do not fit.
        SolverError: where the solve cannot reach its end; also an AssertionError.

    >>> odeint(lambda t, y: -y, torch.ones(2), torch.tensor([0.0, 1.0])).shape
    torch.Size([2, 2])
    """
    call = read(func, y0, t, rtol, atol, event_fn)
    return call.answer(make_solver(call.settings(method, options)))


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
    """As ``odeint``, with the gradient from the continuous adjoint (``Adjoint``): memory
    independent of the number of steps.

    Args:
        func, y0, t, rtol, atol, method, options, event_fn: as in ``odeint``.
        adjoint_rtol, adjoint_atol: of the backward solve, in the same forms; those of the forward
            solve unless given.
        adjoint_method: of the backward solve; the forward one unless given.
        adjoint_options: of the backward solve; those of the forward one unless given. ``norm``:
            None lets the parameters' gradients choose the steps as well; "seminorm" does not.
        adjoint_params: tensors that func uses and that a gradient is wanted for: func.parameters()
            unless given, so func must be an nn.Module then. What else func uses is a constant if
            they are given, and refused if it requires a gradient if not.

    Raises:
        ValueError, SolverError: as ``odeint``.
        NotImplementedError: if gradients of these gradients are asked for.
    """
    strict, method = adjoint_params is None, method or "dopri5"
    if adjoint_params is None:
        params = parameters_of(func)
    else:
        params = check_params("adjoint_params", adjoint_params)
    if adjoint_method not in (None, method) and options is not None and adjoint_options is None:
        raise ValueError(
            f"adjoint_method is {adjoint_method!r} and method {method!r}, so options cannot serve "
            "both; give adjoint_options as well, {} for none"
        )
    call = read(func, y0, t, rtol, atol, event_fn)
    settings = call.settings(method, options)
    own = as_dict(options if adjoint_options is None else adjoint_options)
    norm = None if adjoint_options is None else own.pop("norm", None)
    if norm not in (None, "seminorm"):
        raise ValueError(
            f'adjoint_options norm is {norm!r}, must be None or "seminorm": norms of the augmented '
            "state are given up (options norm measures y and its adjoint)"
        )
    own["norm"] = as_dict(options).get("norm")
    tolerance = call.conversion.tolerance
    back = replace(
        call,
        t=call.t.detach().flip(0),
        rtol=call.rtol if adjoint_rtol is None else tolerance("adjoint_rtol", adjoint_rtol),
        atol=call.atol if adjoint_atol is None else tolerance("adjoint_atol", adjoint_atol),
    ).settings(adjoint_method or method, own, "_adjoint")
    backward = make_solver(back)
    full = norm is None and backward.scheme.adaptive
    gradient = Adjoint(norm="full" if full else "state", strict=strict, solver=backward)
    params = tuple(p for p in params if p.requires_grad)
    return call.answer(make_solver(settings, gradient), params)


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
    """Solve from t0, or back from it, until event_fn changes its sign; see ``EventSolution`` for
    the gradients (Chen, Amos, Nickel 2021, arXiv:2011.03902).

    Args:
        func, y0, event_fn: as in ``odeint``.
        t0: start, a tensor of one element.
        reverse_time: go backwards.
        odeint_interface: ``odeint`` unless given, or ``odeint_adjoint``.
        kwargs: of that function.

    Returns:
        The event's time, 0-dim, and the states at t0 and then, shape (2, *y0.shape) or a tuple of
        such.

    Raises:
        ValueError, SolverError: as odeint_interface does.
        GrazingError: if a gradient is taken of the time of an event that has none.
    """
    if not isinstance(t0, Tensor) or t0.numel() != 1:
        seen = f"shape {tuple(t0.shape)}" if isinstance(t0, Tensor) else type(t0).__name__
        raise ValueError(f"t0 must be a tensor of one element, got {seen}")
    refuse_functorch("odeint_event", "torch.autograd.grad")
    start = t0.reshape(1)
    ahead = 1.0 + start.detach().abs()  # so far that rounding leaves a difference
    t = torch.cat([start, start.detach() + (-ahead if reverse_time else ahead)])
    return odeint_interface(func, y0, t, event_fn=event_fn, **kwargs)


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
    returns the state there, several with a leading dimension T; see ``DenseSolution``.

    Args:
        func, y0, rtol, atol, method, options: as in ``odeint``.
        t0, t1: ends of the solve, in either direction.

    Raises:
        ValueError: for arguments that do not fit, or, later, a time outside.
        SolverError: where the solve cannot reach t1.
    """
    like = t0 if isinstance(t0, Tensor) else torch.tensor(float(t0), dtype=torch.float64)
    t = torch.stack([like.reshape(()), torch.as_tensor(t1).to(like).reshape(())])
    call = read(func, y0, t, rtol, atol)
    solver = make_solver(call.settings(method, options))
    found = solver.dense(call.f, call.conversion.encode(y0), call.t[0], call.t[1].item())
    return lambda times: call.conversion.decode(found(times))


@dataclass(frozen=True)
class Arguments:
    """The arguments of one call, checked, in the terms of the core.

    Attributes:
        func, y0: as given.
        t: on y0's device.
        conversion: between states as func sees them and as they are solved.
        rtol, atol: as ``Solver`` takes them.
        event_fn: that ends the solve, if one does.
    """

    func: Callable
    y0: State
    t: Tensor
    conversion: StateConversion
    rtol: Tolerances
    atol: Tolerances
    event_fn: Callable | None = None

    @property
    def f(self) -> Callable:
        """func on states as they are solved."""
        return self.conversion.wrap(self.func)

    def answer(self, solver: Solver, params: Sequence[Tensor] = ()) -> State | tuple[Tensor, State]:
        """Solve at the times, or up to the event."""
        start, decode = self.conversion.encode(self.y0), self.conversion.decode
        if self.event_fn is None:
            return decode(solver(self.f, start, self.t, params=params).ys)
        events = self.events(solver)
        end = copysign(inf, (self.t[1] - self.t[0]).item())
        found = solver.event(self.f, start, self.t[0], events, t_end=end, params=params)
        if isinstance(start, Tensor) and isinstance(found.state, Tensor):
            return found.t, decode(torch.stack([start, found.state]))
        return found.t, decode(tuple(map(torch.stack, zip(start, found.state, strict=True))))

    def events(self, solver: Solver) -> list[Event]:
        """Make an event of each element of event_fn."""
        if len(self.t) != 2:
            raise ValueError(
                f"t has {len(self.t)} times, must have 2 with event_fn: the start, and one that "
                "tells the direction"
            )
        if not callable(self.event_fn):
            raise ValueError(f"event_fn is {self.event_fn!r}, must be a function of (t, y)")
        if isinstance(solver.scheme, SciPy):
            raise ValueError("scipy_solver finds no events: choose another method, such as dopri5")
        with torch.no_grad():
            count = elements(self.event_fn(self.t[0].detach(), self.y0)).numel()
        return [Event(partial(self.element, i)) for i in range(count)]

    def element(self, i: int, t: Tensor, state: State) -> Tensor:
        event_fn: Any = self.event_fn
        return elements(event_fn(t.to(self.t.dtype), self.conversion.decode(state)))[i]

    def settings(self, method: str | None, options: dict | None, suffix: str = "") -> dict:
        """Translate a method and its options into the arguments of ``Solver``.

        Args:
            suffix: of the callbacks of func.
        """
        method = method or "dopri5"
        scheme = scheme_of(method)
        known = known_options(method, scheme, options)
        events = CALLBACKS if scheme.adaptive else () if method == SCIPY else CALLBACKS[:1]
        if scheme.adaptive:
            how = self.of_adaptive(known)
        else:
            most = MAX_FIXED_STEPS if self.event_fn is None else MAX_STEPS
            how = {"max_steps": most, **self.of_grid(known)}
        if isinstance(scheme, SciPy):
            how |= {"method": SciPy(**known), "step_size": UNBOUNDED_STEP}
        elif isinstance(scheme, FixedAdams):
            both = {name: known[name] for name in ADAMS_OPTIONS if name in known}
            both |= {"rtol": tightest(self.rtol), "atol": tightest(self.atol)}
            how["method"] = replace(scheme, **both)
        if scheme.implicit:
            how["jacobian"] = known.get("jacobian", "full")
        on_attempt = self.listener(suffix, method, events, known.get("dtype", torch.float64))
        return {
            "method": METHOD_NAMES.get(method, method),
            "rtol": self.rtol,
            "atol": floored(self.atol),
            "on_attempt": on_attempt,
            **how,
        }

    def of_adaptive(self, known: dict) -> dict:
        """Translate the options of an adaptive method."""
        intervals = max(1, len(self.t) - 1)
        most = known.get("max_num_steps")
        norm, decode = known.get("norm"), self.conversion.decode
        if norm is not None and not callable(norm):
            raise ValueError(f"norm is {norm!r}, must be a function of the state")
        return {
            **{
                OPTION_NAMES.get(name, name): known[name]
                for name in CONTROL_OPTIONS
                if name in known
            },
            "max_steps": MAX_STEPS + intervals if most is None else cap_of(most) * intervals,
            **{
                OPTION_NAMES[name]: known[name]
                for name in ("step_t", "jump_t")
                if known.get(name) is not None
            },
            "error_norm": norm and (lambda state: norm(decode(state))),
        }

    def of_grid(self, known: dict) -> dict:
        """Translate the steps of a fixed-step method: of one size, or as a grid says."""
        size, make = known.get("step_size"), known.get("grid_constructor")
        interp, perturb = known.get("interp", "linear"), known.get("perturb", False)
        if interp not in ("linear", "cubic"):
            raise unknown_name("interp", interp, ["linear", "cubic"])
        if size is not None and make is not None:
            raise ValueError(
                "step_size and grid_constructor exclude each other: both say where the steps are; "
                f"leave one out (step_size is {size!r})"
            )
        if self.event_fn is not None and (make is not None or perturb):
            raise ValueError(
                "grid_constructor and perturb need the end of the solve, which event_fn leaves "
                "open: give step_size alone"
            )
        if make is not None and len(self.t) > 1:
            grid = checked_grid(make(self.func, self.y0, self.t), self.t)
        elif perturb:
            grid = self.t.tolist() if size is None else uniform_grid(self.t, size)
        else:
            return {"step_size": inf if size is None else size}
        return {"step_size": UNBOUNDED_STEP, "stops": grid, "jumps": grid if perturb else ()}

    def listener(
        self, suffix: str, method: str, events: Sequence[str], dtype: torch.dtype
    ) -> Callable | None:
        """Return ``on_attempt`` that calls the callbacks of func with (t0, y0, dt > 0), or None.

        Warns:
            UserWarning: of one that the method never calls.
        """
        if not (isinstance(dtype, torch.dtype) and dtype.is_floating_point):
            raise ValueError(f"dtype is {dtype!r}, must be a floating dtype such as torch.float64")
        named = {name: getattr(self.func, f"callback_{name}{suffix}", None) for name in CALLBACKS}
        called = {name: callback for name, callback in named.items() if callback is not None}
        unheard = [f"callback_{name}{suffix}" for name in called if name not in events]
        if unheard:
            warnings.warn(f"{method} never calls {' and '.join(unheard)}", stacklevel=4)
        if not set(called) & set(events):
            return None

        def notify(event: str, t: float, state: State, dt: float) -> None:
            if event in called and event in events:
                entries = (
                    (state,) if isinstance(state, Tensor) else state[: len(self.conversion.dtypes)]
                )
                own = self.conversion.decode(
                    entries[0] if self.conversion.is_tensor else tuple(entries)
                )
                times = torch.tensor([t, abs(dt)], dtype=dtype, device=self.t.device)
                called[event](times[0], own, times[1])

        return notify


def make_solver(settings: dict, gradient: Adjoint | None = None) -> Solver:
    """Make the solver; its errors name options as they were given."""
    try:
        return Solver(gradient=gradient, **settings)
    except ValueError as error:
        text = str(error)
        for theirs, ours in OPTION_NAMES.items():
            text = re.sub(rf"\b{ours}\b", theirs, text)
        raise ValueError(text) from None


def read(
    func: Callable,
    y0: State,
    t: Tensor,
    rtol: object,
    atol: object,
    event_fn: Callable | None = None,
) -> Arguments:
    """Check the arguments.

    Raises:
        ValueError: for one that does not fit, naming it.
    """
    conversion = conversion_of(y0)
    if not isinstance(t, Tensor) or not t.is_floating_point():
        seen = t.dtype if isinstance(t, Tensor) else type(t).__name__
        raise ValueError(f"t must be a floating tensor of times, shape (T,), got {seen}")
    check_times(t, "t")
    device = (y0 if isinstance(y0, Tensor) else y0[0]).device
    if t.device != device:
        warnings.warn(f"t is on {t.device} and y0 on {device}: t is moved there", stacklevel=3)
        t = t.to(device)
    rtol, atol = conversion.tolerance("rtol", rtol), conversion.tolerance("atol", atol)
    return Arguments(func, y0, t, conversion, rtol, atol, event_fn)


def scheme_of(method: str) -> Method:
    """Return the method by torchdiffeq's name, or by ours.

    Raises:
        ValueError: if there is no such method.
    """
    if method == SCIPY:
        return SciPy()
    if METHOD_NAMES.get(method, method) not in methods.names():
        raise unknown_name("method", method, sorted({*methods.names(), *METHOD_NAMES, SCIPY}))
    scheme: Any = methods.get(METHOD_NAMES.get(method, method))
    # Which have an error estimate here, and are fixed-step methods there.
    return replace(scheme, fixed=True) if method in ESTIMATED else scheme


def known_options(method: str, scheme: Method, options: dict | None) -> dict:
    """Return the options that ``method`` knows, in a new dict; of others the caller is warned."""
    options = as_dict(options)
    if isinstance(scheme, SciPy):
        known = list(SCIPY_OPTIONS)
    else:
        known = list(ADAPTIVE_OPTIONS if scheme.adaptive else GRID_OPTIONS)
        known = [name for name in known if not (scheme.variable and name in FACTORS)]
        known += ["jacobian"] * scheme.implicit + [*ADAMS_OPTIONS] * isinstance(scheme, FixedAdams)
    idle = IGNORED_OPTIONS if method == SCIPY else () if scheme.adaptive else IGNORED_OPTIONS[:1]
    unknown = [name for name in options if name not in (*known, *idle)]
    if unknown:
        warnings.warn(
            f"{method} ignores options it does not know: {', '.join(map(str, unknown))}; it knows "
            f"{', '.join(known)}",
            stacklevel=4,
        )
    return {name: value for name, value in options.items() if name in known}


def as_dict(options: object) -> dict:
    if options is not None and not isinstance(options, dict):
        raise ValueError(f"options must be a dict or None, got {type(options).__name__}")
    return dict(options or {})


def cap_of(max_num_steps: object) -> int:
    found = as_tolerance("max_num_steps", max_num_steps)
    if not (isinstance(found, float) and 1 <= found < inf):
        raise ValueError(f"max_num_steps is {max_num_steps!r}, must be at least 1 and finite")
    return int(found)


def checked_grid(grid: object, t: Tensor) -> list[float]:
    """Return the points of a caller's grid.

    Raises:
        ValueError: for one that does not run from t[0] to t[-1] without turning.
    """
    if not isinstance(grid, Tensor) or grid.dim() != 1:
        seen = f"shape {tuple(grid.shape)}" if isinstance(grid, Tensor) else type(grid).__name__
        raise ValueError(f"grid_constructor returned {seen}, must be a tensor of shape (N,)")
    points, first, last = grid.tolist(), t[0].item(), t[-1].item()
    steps = [b - a for a, b in zip(points, points[1:], strict=False)]
    ends = len(points) > 1 and points[0] == first and points[-1] == last
    if not ends or not all(step * (last - first) > 0 for step in steps):
        raise ValueError(
            f"grid_constructor returned {points[:4]}... of {len(points)} points, must run from "
            f"t[0]={first:.9g} to t[-1]={last:.9g} exactly and without turning"
        )
    return points


def uniform_grid(t: Tensor, step_size: float) -> list[float]:
    """Return t[0], t[0] + h, ..., t[-1], as ``FixedControl`` steps."""
    points, end = [t[0].item()], t[-1].item()
    size = as_tolerance("step_size", step_size)
    if not (isinstance(size, float) and size * MAX_FIXED_STEPS > abs(end - points[0])):
        raise ValueError(f"step_size is {step_size!r}, must be positive and not that small")
    control = FixedControl(size)
    control.begin(points[0])
    while points[-1] != end:
        points.append(control.propose(points[-1], end))
    return points


def floored(atol: Any) -> Any:
    """Raise zeros to the smallest tolerance: ``Solver`` refuses 0, which torchdiffeq takes."""
    if isinstance(atol, list):
        return [floored(each) for each in atol]
    if isinstance(atol, Tensor):
        return torch.where(atol == 0, MIN_ATOL, atol)
    return atol or MIN_ATOL


def elements(values: object) -> Tensor:
    """Return what event_fn has returned as (K,) numbers."""
    if not isinstance(values, Tensor) or values.is_complex():
        seen = f"dtype {values.dtype}" if isinstance(values, Tensor) else type(values).__name__
        raise ValueError(f"event_fn returned {seen}, must be a real tensor")
    return values.reshape(-1)


def parameters_of(func: object) -> tuple[Tensor, ...]:
    """Return the parameters of a module; in a replica of DataParallel, which has none, the tensors
    in their places.
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
