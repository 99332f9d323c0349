"""Which gradient strategy of the core, or beside it, serves an adjoint."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import inf

from torch import Tensor

from ..control import MOST_FIXED_STEPS
from ..gradients import Adjoint, Gradient
from ..loop import Path
from ..problem import Problem
from ..protocol import Integrator, OnAccept
from ..solver import Solver
from ..state import Layout
from ..stats import Counts
from ..stepper import Method, Rates
from ..tolerance import Norm
from . import steppers
from .adaptive import Adaptive
from .backward import Augmented
from .call import Call
from .callbacks import callbacks_of
from .norm import Tolerance, tolerance
from .options import ADAPTIVE, SCIPY, heard_by, known_options, number, sifted
from .setting import Means


@dataclass(frozen=True)
class Chosen:
    """What was asked for the way back."""

    method: str
    options: dict
    norm: object
    rtol: object
    atol: object
    strict: bool


def of_adjoint(name: str, value: object, forward: Tolerance, call: Call, params: int) -> object:
    """A tolerance of the backward solve: of y, or a tuple with one for each of its entries."""
    if value is None:
        return forward
    entries = 1 + 2 * len(call.form.dtypes) + params
    if isinstance(value, (tuple, list)) and len(value) == entries:
        return tuple(number(f"{name}[{i}]", each) for i, each in enumerate(value))
    return tolerance(name, value, call.form, call.setting.layout)


def gradient_of(call: Call, chosen: Chosen, forward: Means) -> Gradient:
    """The strategy: the core's adjoint where it serves, the augmented state elsewhere."""
    method, norm = chosen.method, chosen.norm
    known_options(method)
    if not (norm is None or norm == "seminorm" or callable(norm)):
        raise ValueError(
            f'adjoint_options norm is {norm!r}, must be None, "seminorm" or a function of (t, y, '
            "adj_y, *params)"
        )
    options = sifted(method, chosen.options)
    called = callbacks_of(call.func, "_adjoint", method, heard_by(method))
    state_norm = call.setting.options.get("norm")
    tolerances = tolerances_of(call, chosen)
    explicit = method in steppers.EXPLICIT and set(options) <= {"step_size", "interp"}
    whole = isinstance(chosen.rtol, tuple) or isinstance(chosen.atol, tuple)
    if (method in ADAPTIVE or explicit) and not callable(norm) and not called and not whole:
        if explicit:
            step, name = options.get("step_size"), steppers.EXPLICIT[method]
            step = inf if step is None else number("step_size", step)
            return Continuous(
                forward,
                Solver(name, step_size=step, max_steps=MOST_FIXED_STEPS),
                Adjoint(strict=chosen.strict),
                [],
            )
        setting = replace(
            call.setting,
            method=method,
            options={**options, "norm": state_norm},
            rtol=chosen.rtol,
            atol=chosen.atol,
            called={},
        )
        kind = "state" if norm == "seminorm" else "full"
        policy = Adjoint(norm=kind, strict=chosen.strict)
        return Continuous(forward, Adaptive(setting).solver, policy, tolerances)
    augmented = Augmented(
        forward,
        call.form,
        method,
        options,
        chosen.rtol,
        chosen.atol,
        norm if callable(norm) else None,
        state_norm,
        norm == "seminorm",
        called,
        call.t.dtype,
        chosen.strict,
        tolerances,
    )
    return augmented


def tolerances_of(call: Call, chosen: Chosen) -> list[tuple[object, object]]:
    """Those of y in both solves; none where one has fixed steps."""
    chooses = (*ADAPTIVE, SCIPY)
    if call.setting.method not in chooses or chosen.method not in chooses:
        return []
    entries = slice(1, 1 + len(call.form.dtypes))  # of (t, y, adj_y, *params)
    backward = [
        each[entries] if isinstance(each, tuple) else each for each in (chosen.rtol, chosen.atol)
    ]
    return [(call.setting.rtol, call.setting.atol), tuple(backward)]


@dataclass(frozen=True)
class Continuous:
    """The core's adjoint between two solvers.

    Args:
        forward: the solve forwards, by whatever means.
        backward: the solve backwards.
        policy: the adjoint.
        tolerances: of both; none where one has fixed steps.
    """

    forward: Means
    backward: Solver
    policy: Adjoint
    tolerances: list[tuple[object, object]]

    def check(self, method: Method) -> None:
        """Every pair will do."""

    def __call__(self, solver: Integrator, problem: Problem) -> Tensor:
        return self.policy(Pair(self.forward, self.backward, self.tolerances), problem)


class Pair:
    """Forwards one way and backwards another; an Integrator."""

    def __init__(
        self, forward: Means, backward: Solver, tolerances: list[tuple[object, object]]
    ) -> None:
        self.forward, self.backward, self.tolerances = forward, backward, tolerances
        self.method, self.scheme = backward.method, backward.scheme
        self.rtol, self.atol = backward.rtol, backward.atol

    def integrate(self, problem: Problem, on_accept: OnAccept | None = None) -> Tensor:
        return self.forward.integrate(problem, on_accept)

    def path(
        self, f: Rates, layout: Layout, t: float, y: Tensor, norm: Norm, counts: Counts, graph: bool
    ) -> Path:
        return self.backward.path(f, layout, t, y, norm, counts, graph)


@dataclass(frozen=True)
class Known:
    """A solve that has been done: its flat states at ts[1:]."""

    outputs: Tensor

    def integrate(self, problem: Problem, on_accept: OnAccept | None = None) -> Tensor:
        return self.outputs
