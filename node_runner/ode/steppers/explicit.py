"""Explicit Runge-Kutta methods."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ..error_norm import ErrorNorm
from ..state import Layout
from ..step import Buffer, Stages, Tape, take_step
from ..stepper import Attempt, Diagnosis, Rates
from ..tableau import Tableau
from .hermite import Hermite, refined
from .runge_kutta import RungeKutta


@dataclass(frozen=True)
class ExplicitRungeKutta(RungeKutta):
    """k_i = f(t + c_i dt, y + dt sum_{j<i} a_ij k_j),    y_new = y + dt sum_i b_i k_i.

    Args:
        tableau: its coefficients.
    """

    tableau: Tableau

    implicit: ClassVar[bool] = False

    def start(
        self, f: Rates, layout: Layout, norm: ErrorNorm | None, graph: bool, judged: bool = True
    ) -> ExplicitStepper:
        return ExplicitStepper(f, self.tableau, layout, graph, judged)


class ExplicitStepper:
    """Keeps the rates of a step, of which FSAL methods hand the last on to the next step.

    Args:
        f: rates of the flat state.
        tableau: of the method.
        layout: of the state.
        graph: whether y1 has one.
        judged: whether errors are wanted. The last stage of an FSAL method serves them, the next
            step and the interpolant alone.
    """

    def __init__(
        self, f: Rates, tableau: Tableau, layout: Layout, graph: bool, judged: bool
    ) -> None:
        self.f, self.tableau, self.layout = f, tableau, layout
        self.stages: Stages = (Tape if graph else Buffer)(tableau, layout)
        self.judged = judged and tableau.adaptive
        self.evaluated = tableau.stages - (tableau.fsal and not judged)  # in an attempt
        self.started = False  # stage 0 holds f(t0, y)
        self.ended = False  # the rate at the end of the accepted step is there

    def first_rate(self, t: float, y: Tensor) -> Tensor:
        self.start(t, y)
        return self.stages.rate(0)

    def start(self, t: float, y: Tensor) -> None:
        """Make stage 0 hold f(t, y), at no evaluation where the step before has it."""
        if self.started:
            return
        if self.ended:
            self.stages.shift(self.tableau.end)
        else:
            self.stages.put(0, self.f(0, t, y))
        self.started, self.ended = True, False

    def attempt(self, t0: float, t1: float, y: Tensor) -> Attempt:
        if not self.started:
            self.start(t0, y)
        self.t0, self.t1, self.y = t0, t1, y
        self.y1 = take_step(self.f, self.tableau, self.stages, t0, t1, y, self.evaluated)
        return Attempt(self.y1, self.stages.error() if self.judged else None)

    def accept(self) -> None:
        self.started = False
        self.ended = self.tableau.fsal and self.evaluated == self.tableau.stages

    def interpolant(self) -> RungeKuttaInterpolant | Hermite:
        """Evaluates f at the end and the extra stages where the interpolant needs them, and takes
        shorter steps where the tableau has none of its accuracy.
        """
        tableau, dt = self.tableau, self.t1 - self.t0
        if not self.ended and tableau.rates > self.evaluated:
            stage = tableau.end if tableau.fsal else 0
            self.stages.put(tableau.end, self.f(stage, self.t1, self.y1))
            self.ended = True
        for i, (c, _) in enumerate(tableau.extra, tableau.end + 1):
            point = self.stages.input(i, self.y, dt)
            self.stages.put(i, self.f(None, self.t0 + c * dt, point))
        if not tableau.inner:
            return RungeKuttaInterpolant(tableau, self.stages, self.t0, self.t1, self.y)
        ends = self.stages.k[0], self.stages.k[tableau.end]
        path = Hermite(self.t0, self.t1, self.y, self.y1, *ends)
        return refined(path, tableau.inner, self._reach)

    def _reach(self, t: float) -> tuple[Tensor, Tensor]:
        """The state at t inside the step, by a step from its start, and the rate there."""
        graph = isinstance(self.stages, Tape)
        shorter = ExplicitStepper(self.f, self.tableau, self.layout, graph, judged=False)
        shorter.stages.put(0, [*self.layout.entries(self.stages.k[0])])
        shorter.started = True
        y = shorter.attempt(self.t0, t, self.y).y1
        return y, self.layout.flatten(self.f(None, t, y)).clone()

    def restart(self) -> None:
        self.started = self.ended = False

    def diagnose(self) -> Diagnosis:
        for i in range(self.tableau.rates):
            if not bool(torch.isfinite(self.stages.rate(i)).all()):
                return Diagnosis(f"f returned NaN or inf at stage {i}")
        return Diagnosis()


@dataclass(frozen=True)
class RungeKuttaInterpolant:
    """y(t0 + theta dt) = y0 + dt sum_i w_i(theta) k_i (Hairer, Norsett, Wanner, II.6)."""

    tableau: Tableau
    stages: Stages
    t0: float
    t1: float
    y0: Tensor

    def frozen(self) -> RungeKuttaInterpolant:
        return RungeKuttaInterpolant(self.tableau, self.stages.frozen(), self.t0, self.t1, self.y0)

    def at(self, times: list[float]) -> Tensor:
        dt = self.t1 - self.t0
        rows = [self.tableau.interpolation_weights((t - self.t0) / dt) for t in times]
        return self.stages.combine(self.y0, rows, dt)

    def at_tensor(self, t: Tensor) -> Tensor:
        theta = (t - self.t0) / (self.t1 - self.t0)
        rows = self.tableau.interpolation_coefficients()
        powers = torch.stack([theta**j for j in range(1, len(rows[0]) + 1)], dim=1).to(self.y0)
        weights = powers @ torch.tensor(rows, dtype=powers.dtype, device=powers.device).T
        return self.stages.weighted(self.y0, weights, self.t1 - self.t0)

    @torch.no_grad()
    def slope(self, t: float) -> Tensor:
        theta = (t - self.t0) / (self.t1 - self.t0)
        weights = [
            sum(j * c * theta ** (j - 1) for j, c in enumerate(row, 1))
            for row in self.tableau.interpolation_coefficients()
        ]
        return self.stages.combine(torch.zeros_like(self.y0), [weights], 1.0)[0]
