"""Protocols between the loop and a method of any kind: Method, Stepper, Attempt, Interpolant."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from .error_norm import ErrorNorm
from .state import Layout

Rates = Callable[[int | None, float, Tensor], list[Tensor]]
"""f on the flat state: (stage, t, y) -> the rates of all entries. ``stage`` tells which stage of a
step asks; None where none does."""


class Attempt(NamedTuple):
    """A step that has been computed and not yet judged.

    Attributes:
        y1: the state at its end, shape (width,), with a graph where one is wanted.
        error: an estimate of its local error over |dt|, shape (width,), without graph, which the
            loop may overwrite; None for a method without one, whose steps are all accepted.
        ratio: the error ratio instead, (), where the stepper has measured it itself.
    """

    y1: Tensor
    error: Tensor | None
    ratio: Tensor | None = None


class Diagnosis(NamedTuple):
    """What is known of an attempt that cannot be used.

    Attributes:
        culprit: who is to blame, in words; "" where nothing is known.
        error: as ``Attempt.error``, of a stepper that has given the ratio alone.
    """

    culprit: str = ""
    error: Tensor | None = None


class StepFailed(Exception):
    """A step that could not be computed, such as one whose Newton iteration did not converge.

    With step-size control it counts as rejected and is tried again at a quarter of its length;
    with fixed steps it ends the solve. Its text is the cause, in words.
    """


class Interpolant(Protocol):
    """The solution inside one accepted step from (t0, y0) to (t1, y1), until the next attempt."""

    def frozen(self) -> Interpolant:
        """The same for as long as is wanted."""

    def at(self, times: list[float]) -> Tensor:
        """The solution at times in [t0, t1], shape (len(times), width), with its graph."""

    def at_tensor(self, t: Tensor) -> Tensor:
        """The same at t, shape (T,), differentiable in t too."""

    def slope(self, t: float) -> Tensor:
        """Its derivative at t, shape (width,), without graph."""


class Stepper(Protocol):
    """One solve by one method. Whatever must be remembered between steps lives here."""

    def first_rate(self, t: float, y: Tensor) -> Tensor:
        """f(t, y), shape (width,), without graph, for the choice of the first step; an attempt from
        there does not evaluate it again.
        """

    def attempt(self, t0: float, t1: float, y: Tensor) -> Attempt:
        """A step from (t0, y) to t1; may be asked again from there after a rejection.

        Raises:
            StepFailed: where there is none.
        """

    def accept(self) -> None:
        """The last attempt stands."""

    def interpolant(self) -> Interpolant:
        """Of the step just accepted; may evaluate f at its end, which the next step reuses."""

    def restart(self) -> None:
        """The state is changed from outside, or f jumps: what was remembered holds no longer."""

    def diagnose(self) -> Diagnosis:
        """What is known of the last attempt, or of the first rate, that is not finite or too far
        off.
        """


class VariableOrderStepper(Stepper, Protocol):
    """A stepper of a method whose order varies.

    Attributes:
        exponent: of dt in the error estimate of the last attempt.
        growth: after ``accept``, the factor for the next step; None leaves it to the control.
    """

    exponent: int
    growth: float | None


class Method(Protocol):
    """A way to take steps; one file of ``methods/`` each.

    Attributes:
        order: of the method; the highest where it varies.
        adaptive: whether its steps have an error estimate.
        one_step: whether a step depends on (t0, t1, y) alone, so that ``Replay`` can take it again.
        implicit: whether it solves equations, by Newton's iteration.
        exponent: of dt in the error estimate, for step-size control; the order of the embedded
            solution + 1.
        variable: whether order and exponent vary; its steppers are then ``VariableOrderStepper``.
    """

    @property
    def order(self) -> int: ...

    @property
    def adaptive(self) -> bool: ...

    @property
    def one_step(self) -> bool: ...

    @property
    def implicit(self) -> bool: ...

    @property
    def exponent(self) -> int: ...

    @property
    def variable(self) -> bool: ...

    def start(
        self, f: Rates, layout: Layout, norm: ErrorNorm, graph: bool, judged: bool = True
    ) -> Stepper:
        """A solve by this method.

        Args:
            f: on the flat state.
            layout: of the state and its quadratures.
            norm: by which errors, and the equations of an implicit step, are measured.
            graph: whether y1 has a graph in y, in what f uses and in nothing else.
            judged: whether errors are wanted; not where an accepted step is taken again.
        """


def rates_diagnosed(rates: Tensor) -> Diagnosis:
    """What rates tell that are not finite."""
    fine = bool(torch.isfinite(rates).all())
    return Diagnosis("" if fine else "f returned NaN or inf")
