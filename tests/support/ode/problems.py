"""Problems with known solutions and solvers of every kind, for the tests of the solver core."""

from __future__ import annotations

import torch
from torch import nn

from node_runner.ode import Solver, methods
from node_runner.ode.problem import make_problem

ALL = methods.names()
# Explicit Runge-Kutta methods; laws that hold for every kind are in test_every_method.py.
NAMES = [
    name for name in ALL if hasattr(methods.get(name), "tableau") and not methods.get(name).implicit
]
ADAPTIVE = [name for name in NAMES if methods.get(name).adaptive]
FIXED = [name for name in NAMES if not methods.get(name).adaptive]


def make_solver(name, tol=1e-5, step_size=0.05, **options):
    """A solver of the method's kind: with both tolerances, or with the step size."""
    if methods.get(name).adaptive:
        return Solver(name, rtol=tol, atol=tol, **options)
    return Solver(name, step_size=step_size, **options)


def bend(t, y):
    """y' = -2 t y^2: nonlinear, time-dependent, contracting."""
    return -2 * t * y * y


def bend_exact(t, y0):
    return 1 / (t * t + 1 / y0)


def logistic(t, y):
    """y' = y (1 - y) cos 2t: nonlinear and time-dependent, its error neither grows nor decays."""
    return y * (1 - y) * torch.cos(2 * t)


def logistic_exact(t, y0):
    return 1 / (1 + (1 - y0) / y0 * torch.exp(-0.5 * torch.sin(2 * t)))


class Recorded:
    """f that notes the time of each of its calls."""

    def __init__(self, f):
        self.f, self.times = f, []

    def __call__(self, t, y):
        self.times.append(t.item())
        return self.f(t, y)


class Net(nn.Module):
    """A small smooth field on vectors that mixes time and state."""

    def __init__(self, dim=3):
        super().__init__()
        self.inner, self.outer = nn.Linear(dim + 1, 5), nn.Linear(5, dim)
        self.double()

    def forward(self, t, y):
        return self.outer(torch.tanh(self.inner(torch.cat([y, t[None]]))))


def accepted_steps(solver, f, y0, ts, weights=(1.0,)):
    """(t0, t1) of each accepted step."""
    steps = []
    problem = make_problem(f, y0, list(ts), None, (), list(weights))
    solver.integrate(problem, lambda step, inside, lands: steps.append((step.t0, step.t1)))
    return steps


def evaluations(name, accepted, rejected):
    """What a solve without interior outputs costs an adaptive method that chooses its first step:
    the probe, stage 0 of each step (FSAL: of the first alone), the other stages of each attempt.
    """
    tableau = methods.get(name).tableau
    return 1 + (1 if tableau.fsal else accepted) + (tableau.stages - 1) * (accepted + rejected)


def slope(xs, errors):
    """Exponent p of the least-squares fit errors ~ xs^p."""
    x, e = (torch.tensor(v, dtype=torch.float64).log() for v in (xs, errors))
    x = x - x.mean()
    return float((x * e).sum() / (x * x).sum())


# The names of torchdiffeq's methods.
THEIR_ADAPTIVE = ["dopri8", "dopri5", "tsit5", "bosh3", "fehlberg2", "adaptive_heun"]
THEIR_IMPLICIT = ["implicit_euler", "implicit_midpoint", "trapezoid", "radauIIA3", "radauIIA5"]
THEIR_IMPLICIT += ["gl4", "gl6", "sdirk2", "trbdf2"]
THEIR_EXPLICIT = ["euler", "midpoint", "heun2", "heun3", "rk4"]
THEIR_FIXED = [*THEIR_EXPLICIT, "explicit_adams", "implicit_adams", "fixed_adams", *THEIR_IMPLICIT]
