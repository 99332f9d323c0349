"""Exceptions of the solver, and the wording of unknown names."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches

# What solves stiff problems, as messages name it.
IMPLICIT = (
    "a method for stiff problems, kvaerno5 or bdf (solver=kvaerno5; method='kvaerno5' of odeint)"
)


class SolverError(ArithmeticError, AssertionError):
    """A solve that cannot reach the end of its interval.

    An ``AssertionError`` as well, which is what torchdiffeq raises on a step that underflows and at
    its cap on steps: code that retries on it goes on working.

    Attributes:
        method: name of the method.
        t: time reached.
        dt: signed step that was tried last.
        error_ratio: estimated error of that step over its tolerance (nan where f or the state was
            not finite).
        component: where in the state that error is largest, as words.
        steps: accepted and rejected steps so far.
        cause: what went wrong, and whether a value that is not finite came from f or from the
            state.
        advice: two things to try.
    """

    def __init__(
        self,
        *,
        method: str,
        t: float,
        dt: float,
        error_ratio: float,
        component: str,
        steps: tuple[int, int],
        cause: str,
        advice: tuple[str, str],
    ) -> None:
        self.method, self.t, self.dt, self.error_ratio = method, t, dt, error_ratio
        self.component, self.steps, self.cause = component, steps, cause
        self.advice = advice
        super().__init__(
            f"{method} stopped at t={t:.6g} with step {dt:.3g}: {cause}; error ratio "
            f"{error_ratio:.3g}, worst at {component}; {steps[0]} steps accepted, {steps[1]} "
            f"rejected. Try {advice[0]}, or {advice[1]}."
        )

    def __reduce__(self) -> tuple:
        """Pickled by its attributes, so that it survives the way back from another process."""
        names = ("method", "t", "dt", "error_ratio", "component", "steps", "cause", "advice")
        return rebuilt, ({name: getattr(self, name) for name in names},)


class OptionError(ValueError):
    """An option of the solver that does not fit the state or f, which only a solve can tell."""


class GrazingError(ArithmeticError):
    """A gradient through an event whose condition touches zero and does not cross it."""


def changed_in_place(t: float) -> ValueError:
    """An error for a state that something other than the solver wrote to."""
    return ValueError(
        f"y was changed in place near t={t:.6g}, by f or by what else was given y: let f compute "
        "on y.clone(), or without in-place operations (nn.ReLU() for nn.ReLU(inplace=True))"
    )


def rebuilt(attributes: dict) -> SolverError:
    return SolverError(**attributes)


def unknown_name(what: str, name: str, known: Sequence[str]) -> ValueError:
    """An error that lists what exists and suggests the nearest."""
    near = get_close_matches(str(name), known, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return ValueError(f"unknown {what} {name!r}; {hint}choose from {', '.join(known)}")
