"""The solver: a method, its tolerances and a gradient strategy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import inf, isfinite, nan
from typing import Any, Literal

import torch
from torch import Tensor

from . import methods
from .control import FixedControl, PIControl, as_number, check_control_options
from .dense import DenseSolution, solve_dense
from .diagnosis import instability
from .dynamo import run_eagerly
from .engine import ENGINES
from .error_norm import ErrorNorm, Tolerances, as_list, as_tolerance, check_rounding
from .errors import unknown_name
from .events import Event, EventSolution, solve_until
from .gradients import Direct, Gradient
from .integration import Control, Integration, OnAttempt
from .problem import Problem, check_times, make_problem
from .protocol import OnAccept
from .solution import Solution
from .state import Layout, Quadrature, State
from .stats import Counts
from .stepper import Method, Rates
from .steppers.explicit import ExplicitRungeKutta
from .steppers.implicit_tableau import ImplicitTableau
from .tableau import Tableau
from .time_gradients import problem_on_interval, wants_gradient, with_time_gradients
from .transforms import all_finite, records, refuse_functorch, transformed


class Solver:
    """Solve y' = f(t, y) by any method of ``methods``, or by one of your own.

    >>> import torch
    >>> from node_runner.ode import Solver
    >>> solver = Solver("dopri5", rtol=1e-6, atol=1e-6)
    >>> solution = solver(lambda t, y: -y, torch.ones(2, 3), [0.0, 0.5, 1.0])
    >>> solution.ys.shape, round(solution.final[0, 0].item(), 4)
    (torch.Size([3, 2, 3]), 0.3679)

    Args:
        method: Name of a file in ``node_runner/ode/methods``; the dotted name of a module elsewhere
            that defines ``TABLEAU`` or ``METHOD``, as those files do, or of an object in a module;
            a ``Tableau``; or any ``Method``. ``rk4`` is the classic method, ``rk38`` what
            torchdiffeq calls ``rk4``.
        rtol, atol: an adaptive method keeps the local error of a step below atol + rtol max(|y0|,
            |y1|) in the RMS over the batch; one number, or one for each entry of the state and then
            each quadrature, there also a list or tensor that broadcasts to the entry. Fixed-step
            methods ignore them.
        step_size: step of a fixed-step method, in units of t; inf steps from output to output. An
            implicit method that has an error estimate leaves it alone where this is given.
        first_step: first step of an adaptive method; estimated at the cost of one evaluation if
            None.
        gradient: ``Direct()``, ``Replay()`` or ``Adjoint()``.
        max_steps: attempts, accepted or rejected, after which a solve fails rather than run on:
            those of the whole solve, however many outputs it has.
        engine: "eager" runs any f; "compiled" has torch.compile make one graph of a step attempt
            with f in it, or of a whole solve, which takes up to a minute once and pays where f is
            small. f must read no value, nor a Python number that changes; one that cannot be
            compiled runs eagerly, and a warning is logged that tells why.
        jacobian: of an implicit method's Newton iteration: "rows" (the default) for a batch, first
            in every entry of the state, whose rows do not see each other, (B, D, D) numbers for D a
            row; "full" for any f, the square of the whole state.
        min_step, max_step: bounds of an adaptive method's steps, of which the last before a stop
            or the end may be shorter; one of min_step or less is accepted whatever its error.
        safety, min_factor, max_factor: of the next step, see ``PIControl``.
        stops: times at which a step ends.
        jumps: times at which f jumps: a step ends there too, f is evaluated just before and just
            after, never at it, and nothing is taken over from the step before.
        error_norm: takes the place of the RMS: called with a state, a tensor or tuple like y0, of
            errors over what is allowed; returns a number that grows in proportion with them. A
            backward solve measures y and its adjoint by it, each by itself. Not with ``weights``.
        on_attempt: called as (event, t, state, dt): before an attempt with "step", after it with
            "accept_step" or "reject_step". The state is a copy; on the way back it is (y, adjoint)
            as one tuple.

    Raises:
        ValueError: for an unknown method, a value out of range, or options that cannot work
        together.
    """

    @run_eagerly
    def __init__(
        self,
        method: str | Tableau | ImplicitTableau | Method = "dopri5",
        rtol: float | Sequence[float | Sequence[float]] = 1e-5,
        atol: float | Sequence[float | Sequence[float]] = 1e-5,
        step_size: float | None = None,
        first_step: float | None = None,
        gradient: Gradient | None = None,
        max_steps: int = 10_000,
        engine: Literal["eager", "compiled"] = "eager",
        jacobian: Literal["rows", "full"] | None = None,
        min_step: float = PIControl.min_step,
        max_step: float = PIControl.max_step,
        safety: float = PIControl.safety,
        min_factor: float = PIControl.min_factor,
        max_factor: float = PIControl.max_factor,
        stops: Sequence[float] = (),
        jumps: Sequence[float] = (),
        error_norm: Callable[[State], object] | None = None,
        on_attempt: OnAttempt | None = None,
    ) -> None:
        self.method, self.scheme = methods.resolve(method)
        self.rtol, self.atol = as_tolerance("rtol", rtol), as_tolerance("atol", atol)
        self.step_size, self.first_step = (
            None if value is None else as_number(name, value)
            for name, value in (("step_size", step_size), ("first_step", first_step))
        )
        self.gradient = Direct() if gradient is None else gradient
        self.max_steps, self.jacobian = max_steps, jacobian
        self.engine: str = engine
        self.control_options = check_control_options(
            min_step, max_step, safety, min_factor, max_factor
        )
        self.stops, self.jumps = (
            check_time_list("stops", stops),
            frozenset(check_time_list("jumps", jumps)),
        )
        self.error_norm, self.on_attempt = error_norm, on_attempt
        if self.scheme.implicit:
            self.scheme = _with_options(self.scheme, self.checked_jacobian(), step_size is not None)
        self.check()

    def check(self) -> None:
        """Refuse what cannot work, by name."""
        if not all(v >= 0 for v in as_list(self.rtol)):
            raise ValueError(f"rtol is {self.rtol!r}, must not be negative")
        if not all(v > 0 for v in as_list(self.atol)):
            raise ValueError(
                f"atol is {self.atol!r}, must be positive: at a zero of the state, where a "
                "log-determinant starts, it is all that is allowed"
            )
        if self.scheme.adaptive and self.step_size is not None:
            raise ValueError(
                f"step_size is {self.step_size!r}, but {self.method} chooses its own steps: "
                "leave it out, set first_step, or choose a fixed-step method such as rk4"
            )
        if not self.scheme.adaptive and self.step_size is None:
            raise ValueError(
                f"step_size is missing: {self.method} takes fixed steps, for example step_size=0.1"
            )
        if not self.scheme.adaptive and self.first_step is not None:
            raise ValueError(
                f"first_step is {self.first_step!r}, but {self.method} takes fixed steps"
            )
        if self.engine not in ENGINES:
            raise unknown_name("engine", self.engine, list(ENGINES))
        if self.engine != "eager" and not isinstance(self.scheme, ExplicitRungeKutta):
            raise ValueError(
                f"engine is {self.engine!r}, but {self.method} is not an explicit "
                "Runge-Kutta method: leave it at eager"
            )
        if self.jacobian is not None and not self.scheme.implicit:
            raise ValueError(
                f"jacobian is {self.jacobian!r}, but {self.method} solves no equations: "
                "leave it out"
            )
        self.check_steps()
        for name in ("step_size", "first_step", "max_steps"):
            value = getattr(self, name)
            if value is not None and (isinstance(value, (list, str)) or not value > 0):
                raise ValueError(f"{name} is {value!r}, must be positive")
        self.gradient.check(self.scheme)

    def check_steps(self) -> None:
        """Refuse options of the steps where nothing would obey them."""
        options = self.control_options.items()
        bounds: dict[str, object] = {
            name: v for name, v in options if v != getattr(PIControl, name)
        }
        others: dict[str, object] = {
            "stops": self.stops,
            "jumps": sorted(self.jumps),
            "on_attempt": self.on_attempt,
        }
        if self.error_norm is not None:
            bounds["error_norm"] = self.error_norm
        for name, value in bounds.items():
            if not self.scheme.adaptive:
                raise ValueError(f"{name} is {value!r}, but {self.method} takes fixed steps")
            if self.scheme.variable and name in ("safety", "min_factor", "max_factor"):
                raise ValueError(
                    f"{name} is {value!r}, but {self.method} chooses order and step "
                    "together, by rules of its own: leave it out"
                )
        for name, value in {**bounds, **others}.items():
            if self.engine != "eager" and value:
                raise ValueError(
                    f"{name} is {value!r}, which a compiled step does not obey: leave "
                    "engine at eager"
                )

    def checked_jacobian(self) -> str:
        """Which Jacobian Newton's iteration takes: "rows" unless given."""
        if self.jacobian not in (None, "rows", "full"):
            raise ValueError(
                f"jacobian is {self.jacobian!r}, must be 'rows' for a batch whose rows do "
                "not see each other, or 'full'"
            )
        return self.jacobian or "rows"

    @run_eagerly
    def __call__(
        self,
        f: Callable,
        y0: State,
        ts: Tensor | Sequence[float],
        *,
        quadratures: Sequence[Quadrature] = (),
        weights: Sequence[float] | None = None,
        params: Sequence[Tensor] | None = None,
    ) -> Solution:
        """Solve from ts[0] through ts[1:], differentiably in y0, the parameters and ts.

        Args:
            f: (t, y) -> dy, t a 0-dim tensor of y's dtype and device, y as y0; with quadratures, ->
                (dy, rates). It must not change y in place.
            y0: a float32 or float64 tensor of any shape, or a tuple of such.
            ts: strictly increasing or strictly decreasing times.
            quadratures: quantities integrated along the path that f does not see.
            weights: factor of each entry of the state in the error ratio, 1 unless given.
            params: tensors that ``Replay`` and ``Adjoint`` compute gradients for besides y0; the
                parameters of f if f is an nn.Module, none otherwise. Tensors that are computed
                before the solve are found, and ``Direct`` finds everything.

        Gradients of output times are those of the exact solution, dL/dt_i = <g_i, f(t_i, y_i)> and
        dL/dt_0 = -<a(t_0), f(t_0, y_0)> with a(t_0) the adjoint just after t_0 (Chen et al. 2018,
        appendix B), at one more evaluation an output, and only where ts requires a gradient.

        Raises:
            ValueError: for arguments that do not fit together.
            SolverError: if the solve cannot reach ts[-1].
            NotImplementedError: where gradients of a solve whose ts require one are differentiated.
        """
        if weights is not None and self.error_norm is not None:
            raise ValueError(
                "weights and error_norm exclude each other: the norm decides what counts"
            )
        times = check_times(ts)
        problem = make_problem(f, y0, times, params, quadratures, weights)
        layout, start = problem.layout, problem.y0
        if len(times) == 1:
            return Solution(problem.stats, layout, start, start[None][:0])
        with problem.rhs.arithmetic(self.engine != "eager"):
            if isinstance(ts, Tensor) and wants_gradient(ts):
                return Solution(
                    problem.stats, layout, start, with_time_gradients(self, problem, ts)
                )
            if not torch.is_grad_enabled():
                return Solution(problem.stats, layout, start.detach(), self.integrate(problem))
            return Solution(problem.stats, layout, start, self.gradient(self, problem))

    @run_eagerly
    def dense(
        self,
        f: Callable,
        y0: State,
        t0: float | Tensor,
        t1: float | Tensor,
        *,
        params: Sequence[Tensor] | None = None,
    ) -> DenseSolution:
        """The solution as a function of time in [t0, t1]. Arguments and errors are those of a call;
        t0 may require a gradient, t1 has none.
        """
        problem = problem_on_interval(f, y0, t0, t1, params, self.jumps)
        with problem.rhs.arithmetic(self.engine != "eager"):
            return solve_dense(self, problem)

    @run_eagerly
    def event(
        self,
        f: Callable,
        y0: State,
        t0: float | Tensor,
        events: Event | Callable | Sequence[Event | Callable],
        *,
        t_end: float | Tensor,
        params: Sequence[Tensor] | None = None,
    ) -> EventSolution:
        """Solve from t0 until the first of ``events``, or to t_end, which may be infinite; both may
        require a gradient. See ``Event`` and ``EventSolution``; the rest is as in a call.
        """
        refuse_functorch("a solve to an event", "torch.autograd.grad")
        problem = problem_on_interval(f, y0, t0, t_end, params, self.jumps, True)
        with problem.rhs.arithmetic(self.engine != "eager"):
            return solve_until(self, problem, events, t0, t_end)

    def integrate(self, problem: Problem, on_accept: OnAccept | None = None) -> Tensor:
        """The numerical solution at ts[1:], shape (T - 1, width), with a graph where gradients are
        enabled.

        Steps go their own way and outputs are interpolated, but with ``step_size=inf``.
        ``on_accept(step, inside, lands)`` sees each accepted step, the outputs strictly inside it,
        and whether it ends on one.
        """
        engine = None if transformed() else ENGINES[self.engine]
        if engine is not None and len(problem.ts) == 2 and on_accept is None:
            if not torch.is_grad_enabled() and (found := engine.solve(self, problem)) is not None:
                return found
        ts = problem.ts
        integration = self.begin(problem, problem.stats.forward, records())
        if engine is not None:
            engine.attach(integration, problem, inside=len(self.landings(ts)) < len(ts) - 1)
        sign = 1.0 if ts[-1] > ts[0] else -1.0
        outputs, i = [], 1
        for end in self.landings(ts):
            for step in integration.advance(end):
                first = i
                while (step.t1 - ts[i]) * sign > 0:
                    i += 1
                inside, lands = ts[first:i], step.t1 == ts[i]
                if on_accept is not None:
                    on_accept(step, inside, lands)
                if inside:
                    outputs.append(step.at(inside))
                if lands:
                    outputs.append(step.y1[None])
                    i += 1
        # One read of the device a solve.
        if not self.scheme.adaptive and not all_finite(integration.y):
            self.explain(problem)
        return outputs[0] if len(outputs) == 1 else torch.cat(outputs)

    @torch.no_grad()
    def explain(self, problem: Problem) -> None:
        """Solve again, looking at every step, to raise a SolverError that tells where a fixed-step
        solve went wrong.
        """
        integration = self.begin(problem, Counts(), graph=False)
        integration.on_attempt = None  # which has been told of these steps
        for end in self.landings(problem.ts):
            for step in integration.advance(end):
                if not bool(torch.isfinite(step.y1).all()):
                    integration.last_error = step.y1 - step.y0
                    cause = "the state is not finite after this step"
                    integration.fail(*instability(integration, problem.ts[0], problem.y0, cause))
        integration.fail("the state was not finite at the end, but is when f is called again")

    def landings(self, ts: list[float]) -> list[float]:
        """Where a step has to end: at ts[-1], or at each output with steps from one to the next."""
        return ts[1:] if self.step_size == inf else ts[-1:]

    @property
    def tolerances(self) -> list[tuple[Tolerances, Tolerances]]:
        """(rtol, atol) that bound the error of a step; none with fixed steps."""
        return [(self.rtol, self.atol)] if self.scheme.adaptive else []

    def begin(self, problem: Problem, counts: Counts, graph: bool) -> Integration:
        """Start the integration of a problem."""
        if self.scheme.adaptive:
            check_rounding(self.rtol, self.atol, problem.layout.dtype)
        own, weights = self.norm_of(problem.layout), problem.weights
        norm = ErrorNorm(problem.layout, self.rtol, self.atol, weights, error_norm=own)
        f = problem.right_side(counts)
        integration = self.start_integration(
            f, problem.layout, problem.ts[0], problem.y0, norm, counts, graph
        )
        integration.memory = problem.memory if graph else None
        return integration

    def start_integration(
        self,
        f: Rates,
        layout: Layout,
        t: float,
        y: Tensor,
        norm: ErrorNorm,
        counts: Counts,
        graph: bool,
    ) -> Integration:
        """Return an integration from (t, y) with this solver's method and step control."""
        control: Control
        if self.step_size is not None:
            control = FixedControl(self.step_size)
        else:
            first = nan if self.first_step is None else self.first_step
            control = PIControl(first, self.scheme.exponent, **self.control_options)
        how = (control, norm, counts, self.max_steps, graph)
        steps = (self.stops, self.jumps, self.on_attempt)
        return Integration(f, self.scheme, self.method, layout, t, y, *how, *steps)

    def norm_of(self, layout: Layout) -> Callable[[Sequence[Tensor]], object] | None:
        """``error_norm`` of the entries of a state."""
        norm = self.error_norm
        if norm is None:
            return None
        return lambda entries: norm(entries[0] if layout.is_tensor else tuple(entries))


def _with_options(method: Any, jacobian: str, fixed: bool) -> Method:
    """Return an implicit method, a dataclass, with the options of its Newton iteration."""
    options: dict[str, object] = {"jacobian": jacobian}
    if fixed and hasattr(method, "fixed"):
        options["fixed"] = True
    return replace(method, **options)


def check_time_list(name: str, value: Tensor | Sequence[float]) -> tuple[float, ...]:
    """Times as floats; one read of the device for a tensor on an accelerator.

    Raises:
        ValueError: for anything but finite numbers.
    """
    times = value.detach().reshape(-1).tolist() if isinstance(value, Tensor) else value
    times = [times] if isinstance(times, (int, float)) else times
    try:
        found = tuple(float(t) for t in times)
    except (TypeError, ValueError):
        raise ValueError(f"{name} is {value!r}, must be a list of times") from None
    if not all(map(isfinite, found)):
        raise ValueError(f"{name} is {list(found)}, must be finite times")
    return found
