"""SciPy's solvers as a method: one step, however long, is one solve of ``solve_ivp``."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from math import inf
from typing import Any

import torch
from torch import Tensor

from ..error_norm import ErrorNorm
from ..errors import changed_in_place, unknown_name
from ..gradients.double_backward import NotDifferentiable
from ..state import Layout
from ..step import version
from ..stepper import Attempt, Diagnosis, Rates, StepFailed
from ..transforms import refuse_functorch, refuse_tangents

__all__ = ["SciPy"]

SOLVERS = ("RK45", "RK23", "DOP853", "Radau", "BDF", "LSODA")
OTHER = "a method of this package such as dopri5"
REFUSAL = (
    "SciPy's steps have no gradient: take it by the adjoint method (Adjoint(), odeint_adjoint), or "
    f"choose {OTHER}"
)


@dataclass(frozen=True)
class SciPy:
    """``scipy.integrate.solve_ivp`` from one end of a step to the other, at the solver's rtol and
    atol; inside, its dense output.

    SciPy computes on the CPU in float64; f sees tensors of y0's dtype on y0's device, at one copy
    each way an evaluation. ``Solver`` gives it a step_size, which may be as long as the interval.

    Args:
        solver: one of RK45 RK23 DOP853 Radau BDF LSODA.
        min_step: smallest step; LSODA alone has one.
        max_step: largest step.

    Raises:
        ValueError: for an unknown solver, or a min_step that the solver does not know.
        ImportError: at the first step, where SciPy is not installed.
    """

    solver: str = "LSODA"
    min_step: float = 0.0
    max_step: float = inf

    order = exponent = 1
    adaptive = False  # its steps are not ours to judge
    one_step = True
    implicit = variable = False

    def __post_init__(self) -> None:
        if self.solver not in SOLVERS:
            raise unknown_name("solver", self.solver, SOLVERS)
        if self.min_step and self.solver != "LSODA":
            raise ValueError(
                f"min_step is {self.min_step!r}, but SciPy's {self.solver} has no smallest step: "
                "leave it out, or choose solver='LSODA'"
            )

    @property
    def name(self) -> str:
        return f"scipy_solver {self.solver}"

    def start(
        self, f: Rates, layout: Layout, norm: ErrorNorm, graph: bool, judged: bool = True
    ) -> SciPyStepper:
        """A solve by this method; see ``stepper.Method``."""
        refuse_functorch(self.name, OTHER)
        return SciPyStepper(self, f, layout, norm, graph)


class SciPyStepper:
    """One solve; keeps SciPy's answer to the last step."""

    answer: SciPyInterpolant  # after the first attempt

    def __init__(
        self, method: SciPy, f: Rates, layout: Layout, norm: ErrorNorm, graph: bool
    ) -> None:
        self.method, self.f, self.layout, self.norm, self.graph = method, f, layout, norm, graph
        self.uses: list[Tensor] = []  # what a gradient would have to go through

    def first_rate(self, t: float, y: Tensor) -> Tensor:
        return self.layout.flatten(self.f(None, t, y)).detach()

    def attempt(self, t0: float, t1: float, y: Tensor) -> Attempt:
        """One solve from t0 to t1.

        Raises:
            StepFailed: where SciPy gives up.
        """
        refuse_tangents(self.method.name, y, instead=OTHER)
        self.uses = [y] if self.graph and y.requires_grad else []
        self.answer = SciPyInterpolant(self, None, y.detach())
        return Attempt(self.refusing(self._solve(t0, t1, y.detach()) if y.numel() else y), None)

    def _solve(self, t0: float, t1: float, y: Tensor) -> Tensor:
        least = {"min_step": self.method.min_step} if self.method.solver == "LSODA" else {}
        answer = solve_ivp()(
            lambda t, now: host(self.rate(float(t), torch.from_numpy(now.copy()).to(y))),
            (t0, t1),
            host(y),
            method=self.method.solver,
            dense_output=True,
            rtol=host(self.norm.rtol),
            atol=host(self.norm.atol),
            max_step=self.method.max_step,
            **least,
        )
        if not answer.success:
            raise StepFailed(
                f"SciPy says {answer.message!r} at t={answer.t[-1]:.6g} ({answer.nfev} "
                "evaluations): take a larger rtol and atol, or solver='Radau' if the problem is "
                "stiff"
            )
        self.answer.sol = answer.sol
        return torch.from_numpy(answer.y[:, -1].copy()).to(y)

    def rate(self, t: float, y: Tensor) -> Tensor:
        """f(t, y), shape (width,); the first with a graph is kept in ``uses``.

        Raises:
            ValueError: where f changes y in place.
        """
        before = version(y)
        rate = self.layout.flatten(self.f(None, t, y))
        if version(y) != before:
            raise changed_in_place(t)
        refuse_tangents(self.method.name, rate, instead=OTHER)
        if self.graph and rate.requires_grad and not self.uses:
            self.uses = [rate]
        return rate.detach()

    def refusing(self, y: Tensor) -> Tensor:
        """y, whose gradient says that there is none."""
        return NotDifferentiable.apply(REFUSAL, y.detach(), *self.uses)[0] if self.uses else y

    def accept(self) -> None:
        """Nothing is carried over."""

    restart = accept

    def interpolant(self) -> SciPyInterpolant:
        return self.answer

    def diagnose(self) -> Diagnosis:
        return Diagnosis()


class SciPyInterpolant:
    """SciPy's dense output over a step from y0.

    Args:
        stepper: which took the step.
        sol: as ``solve_ivp`` returns it; None for a state without elements.
        y0: shape (width,), without graph.
    """

    def __init__(self, stepper: SciPyStepper, sol: Any, y0: Tensor) -> None:
        self.stepper, self.sol, self.y0 = stepper, sol, y0

    def frozen(self) -> SciPyInterpolant:
        return self

    def at(self, times: list[float]) -> Tensor:
        """The values at times in [t0, t1], shape (len(times), width)."""
        if not self.y0.numel():
            return self.y0.expand(len(times), -1)
        return self.stepper.refusing(torch.from_numpy(self.sol(times).T.copy()).to(self.y0))

    def at_tensor(self, t: Tensor) -> Tensor:
        raise NotImplementedError(f"SciPy's dense output has no gradient in t: choose {OTHER}")

    def slope(self, t: float) -> Tensor:
        """f at t, shape (width,): the dense output may have no derivative of its accuracy."""
        return self.stepper.rate(t, self.at([t])[0].detach())


def host(tensor: Tensor) -> Any:
    """The numbers as a float64 array; one of them as a float."""
    values = tensor.detach().to("cpu", torch.float64)
    return values.numpy() if values.dim() else values.item()


def solve_ivp() -> Any:
    """SciPy's function, imported where it is first needed: the core needs torch alone."""
    try:
        return import_module("scipy.integrate").solve_ivp
    except ImportError as missing:
        raise ImportError("scipy_solver needs SciPy: pip install scipy") from missing
