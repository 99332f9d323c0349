"""Dense output: a solution as a function of time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from .dynamo import run_eagerly
from .gradients.double_backward import FirstDerivativeOnly
from .problem import Problem
from .protocol import SolverProtocol
from .recording import StepRecorder, StoredStep, read, record
from .state import State
from .stats import Stats
from .time_gradients import NO_SECOND_DERIVATIVES

SLACK = 4  # rounding units by which a time may miss the interval: a float32 0.1 is above 0.1


@dataclass(frozen=True)
class DenseSolution:
    """y(t) for any t between t0 and t1: the method's continuous extension of its accepted steps,

        y(t_n + theta dt) = y_n + dt sum_i w_i(theta) k_i

    (Hairer, Norsett, Wanner, Solving ODEs I, II.6), equal to what the solver returns at the same
    times and exact where a step ends. Holds y and the rates k_i of every step, and under ``Direct``
    their graph.

    Where it was made with gradients enabled it is differentiable through the solver's gradient
    strategy in y0, in the parameters and in t0; and in t through the weights w_i. f is not called
    again but by a backward pass of ``Replay`` or ``Adjoint``. Second derivatives are those of the
    strategy, with those in t under ``Direct`` alone.

    >>> import torch
    >>> from node_runner.ode import Solver
    >>> dense = Solver().dense(lambda t, y: -y, torch.ones(3), 0.0, 1.0)
    >>> dense(0.5).shape, dense([0.1, 0.2]).shape, dense(torch.linspace(0, 1, 5)).shape
    (torch.Size([3]), torch.Size([2, 3]), torch.Size([5, 3]))
    """

    solver: SolverProtocol
    problem: Problem
    recording: StepRecorder
    differentiable: bool

    @property
    def stats(self) -> Stats:
        """Cost of the solve, and of the gradients that have been taken since."""
        return self.problem.stats

    @property
    def t0(self) -> float:
        return self.problem.ts[0]

    @property
    def t1(self) -> float:
        return self.problem.ts[-1]

    @property
    def ts(self) -> list[float]:
        """Where steps begin and end, from t0 to t1."""
        return [self.t0, *(step.t1 for step in self.recording.steps)]

    @run_eagerly
    def __call__(self, t: float | Sequence[float] | Tensor) -> State:
        """The state at t.

        Args:
            t: one time, or times of shape (T,) in any order, all within [t0, t1].

        Returns:
            The state at t in y0's shape, or with T leading.

        Raises:
            ValueError: for a time outside, naming it.
        """
        times, many = self.times(t)
        layout = self.problem.layout
        flat = self.read(times)
        if not isinstance(t, Tensor) or not t.requires_grad:
            pass
        elif self.differentiable and torch.is_grad_enabled():
            flat = self.move(flat, times, t.reshape(-1))
        return layout.copies(flat if many else flat[0])

    def times(self, t: Any) -> tuple[list[float], bool]:
        """The times as floats (one read of the device), and whether they are a sequence."""
        if isinstance(t, Tensor) and t.dim() > 1:
            raise ValueError(f"t must be one time or one-dimensional, got shape {tuple(t.shape)}")
        found: Any = t.tolist() if isinstance(t, Tensor) else t
        many = not isinstance(found, (int, float)) and hasattr(found, "__len__")
        times = [float(each) for each in found] if many else [float(found)]
        coarse = t.dtype if isinstance(t, Tensor) and t.is_floating_point() else torch.float64
        low, high = sorted((self.t0, self.t1))
        slack = SLACK * torch.finfo(coarse).eps * max(abs(low), abs(high))
        for time in times:
            if not low - slack <= time <= high + slack:
                raise ValueError(f"t={time:g} is outside the solution's [{low:g}, {high:g}]")
        return [min(max(time, low), high) for time in times], many

    def read(self, times: list[float]) -> Tensor:
        """The flat solution at times in any order, shape (T, width)."""
        start = self.problem.y0[None]
        distinct = sorted(set(times) - {self.t0}, reverse=self.t1 < self.t0)
        if not distinct:
            return start.expand(len(times), -1)
        problem = replace(self.problem, ts=[self.t0, *distinct])
        outputs = read(self.solver, self.recording, problem, self.differentiable)
        if times == distinct:
            return outputs
        place = {time: i for i, time in enumerate(problem.ts)}
        index = torch.tensor([place[time] for time in times], device=outputs.device)
        return torch.cat([start, outputs])[index]

    def move(self, flat: Tensor, times: list[float], t: Tensor) -> Tensor:
        """``flat`` with terms that are zero in value and carry the gradient of t.

        Under ``Direct`` the rates have their graph, and derivatives of every order are right; the
        other strategies keep rates without one, so that only the first is.
        """
        groups: dict[int, list[int]] = {}
        for i, time in enumerate(times):
            groups.setdefault(self.recording.index(time), []).append(i)
        order = [i for group in groups.values() for i in group]
        back = torch.tensor(order, device=t.device).argsort()
        zero = torch.cat([difference(self.recording.steps[n], t[i]) for n, i in groups.items()])
        moved = flat + zero[back.to(zero.device)]
        return (
            moved
            if self.recording.graph
            else FirstDerivativeOnly.apply(NO_SECOND_DERIVATIVES.format("time t"), moved)
        )


def difference(step: StoredStep, t: Tensor) -> Tensor:
    """y(t) less the same at t detached: zero, with the derivatives in t."""
    t = t.to(device=step.y0.device)
    return step.at_tensor(t) - step.at_tensor(t.detach())


def solve_dense(solver: SolverProtocol, problem: Problem) -> DenseSolution:
    """Solve, keeping every step.

    Raises:
        ValueError: for steps from output to output, or where f uses a tensor that the gradient
            strategy does not know of.
        SolverError: if the solve cannot reach ts[-1].
    """
    recording = StepRecorder(solver)
    return DenseSolution(solver, problem, recording, record(solver, recording, problem))
