"""What a solve is told, and what it may be asked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from ..errors import changed_in_place
from ..problem import Problem
from ..protocol import OnAccept
from ..rhs import Rhs
from ..state import Layout, State, rates
from ..step import OwnRates, version
from ..watch import Conditions
from .form import Form
from .norm import Tolerance


@dataclass(frozen=True)
class Setting:
    """What a solve is told, for states of one form."""

    method: str
    options: dict
    rtol: Tolerance
    atol: Tolerance
    form: Form
    layout: Layout
    called: dict[str, Callable]  # callbacks by their event
    intervals: int = 1  # between outputs


class Means(Protocol):
    """One way to solve for states of one form."""

    def solve(self, f: Callable, y0: State, t: Tensor) -> State:
        """The states at t, shape (T, *y0.shape) each, with a graph where gradients are enabled."""

    def integrate(self, problem: Problem, on_accept: OnAccept | None = None) -> Tensor:
        """The flat states at problem.ts[1:], shape (T - 1, width)."""

    def until(
        self, f: Callable, y0: State, t0: Tensor, conditions: Conditions, sign: float
    ) -> tuple[int, float, Tensor]:
        """The first condition to happen after (sign -1: before) t0, its time, and the flat state
        then, with the graph of the solve to that fixed time.
        """


def flat_field(f: Callable, layout: Layout) -> Callable[[Tensor, Tensor], Tensor]:
    """f on flat states."""
    rhs = f if isinstance(f, Rhs) else Rhs(f, layout.device)
    return watched(lambda t, flat: layout.flatten(rates(rhs(t, layout.state(flat)), layout)))


def watched(f: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Tensor, Tensor], Tensor]:
    """f on flat states, whose rates stay as they are, and which must not change a state in place.

    Raises:
        ValueError: where it does.
    """
    own = OwnRates()

    def field(t: Tensor, flat: Tensor) -> Tensor:
        before = version(flat)
        rate = own(f(t, flat))
        if version(flat) != before:
            raise changed_in_place(t.item())
        return rate

    return field


def guarded(problem: Problem) -> Callable[[Tensor, Tensor], Tensor]:
    """The problem's f on flat states, counted, and looked at where the problem has a guard."""
    layout, counts = problem.layout, problem.stats.forward

    def found(stage: int | None, t: Tensor, flat: Tensor) -> list[Tensor]:
        counts.nfe += 1
        return rates(problem.rhs(t, layout.state(flat)), layout)

    look = found if problem.guard is None else problem.guard(found, problem.params)
    return watched(lambda t, flat: layout.flatten(look(None, t, flat)))
