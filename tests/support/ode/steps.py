"""Solves by one method that keep their steps, and stiff fields."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from node_runner.ode import Counts, Solver, methods
from node_runner.ode.problem import make_problem
from node_runner.ode.stepper import Interpolant, Stepper


class Step(NamedTuple):
    """An accepted step; ``trial`` is what an Adams stepper remembers of it."""

    t0: float
    t1: float
    y0: Tensor
    y1: Tensor
    order: int
    trial: object
    inside: Interpolant | None


class Solve(NamedTuple):
    final: Tensor
    counts: Counts
    steps: list[Step]
    stepper: Stepper

    @property
    def orders(self):
        return [step.order for step in self.steps]


def solve(
    method, f, y0, ends, *, tol=1e-6, atol=None, graph=False, inside=True, weights=None, **options
):
    """Solve from one end to the other; ``inside`` keeps the interpolant of each step."""
    quadratures = options.pop("quadratures", ())
    solver = Solver(method, tol, tol if atol is None else atol, max_steps=10**6, **options)
    problem = make_problem(f, y0, list(ends), None, quadratures, weights)
    steps, steppers = [], [None]

    def keep(step, *_):
        steppers[0] = stepper = step.integration.stepper
        tried = getattr(stepper, "tried", None)  # of BDF
        order = getattr(stepper, "exponent", 1) - 1 if tried is None else tried.formula.k
        interpolant = step.interpolant.frozen() if inside else None
        trial = getattr(stepper, "trial", None)
        steps.append(Step(step.t0, step.t1, step.y0, step.y1, order, trial, interpolant))

    with torch.set_grad_enabled(graph):
        final = solver.integrate(problem, keep)[-1]
    return Solve(final, problem.stats.forward, steps, steppers[0])


def begin(method, f, y0, *, tol=1e-6, graph=False, quadratures=()):
    """A stepper that has taken no step, and the flat start."""
    adaptive = methods.resolve(method)[1].adaptive
    solver = Solver(method, tol, tol, step_size=None if adaptive else 1.0)
    problem = make_problem(f, y0, [0.0, 1.0], None, quadratures)
    integration = solver.begin(problem, problem.stats.forward, graph)
    return integration.stepper, problem.y0


def smooth(t: Tensor, y: Tensor) -> Tensor:
    """Nonlinear, and dependent on time; rows do not see each other."""
    return torch.sin(y.flip(-1)) + torch.cos(t) * y - 0.3 * y**3


def robertson(t: Tensor, y: Tensor, rates: Tensor | float = 0.04) -> Tensor:
    """Robertson's reaction (Hairer, Wanner, Solving ODEs II, eq. (IV.1.4))."""
    a, b, c = y.unbind(-1)
    slow, back, fast = rates * a, 1e4 * b * c, 3e7 * b * b
    return torch.stack([back - slow, slow - back - fast, fast], -1)


def van_der_pol(t: Tensor, y: Tensor, mu: float = 100.0) -> Tensor:
    """Van der Pol's oscillator."""
    x, v = y.unbind(-1)
    return torch.stack([v, mu * (1 - x * x) * v - x], -1)
