"""Problems with known solutions for the tests of fixed grids."""

from __future__ import annotations

import torch
from ode_problems import logistic, logistic_exact

from node_runner.ode.compat import grid, steppers

NAMES = steppers.names()
EXPLICIT = ["euler", "midpoint", "heun2", "heun3", "rk4"]
ADAMS = ["explicit_adams", "fixed_adams", "implicit_adams"]
IMPLICIT = steppers.implicit.names()
ORDER = {"euler": 1, "midpoint": 2, "heun2": 2, "heun3": 3, "rk4": 4}
ORDER |= {name: steppers.implicit.get(name).order for name in IMPLICIT}
ORDER |= {"explicit_adams": 4, "implicit_adams": 5, "fixed_adams": 5}
STARTS = torch.linspace(0.1, 1.5, 8, dtype=torch.float64)


def growth(t, y):
    """y' = y (1 - y), autonomous."""
    return y * (1 - y)


def growth_exact(t, y0):
    return 1 / (1 + (1 - y0) / y0 * torch.exp(-t))


PROBLEMS = {"autonomous": (growth, growth_exact), "time": (logistic, logistic_exact)}


def stepper(name, **options):
    """With the corrector of Adams methods iterated to rounding, which is not what is tested."""
    if name in ADAMS:
        return steppers.get(name, rtol=1e-14, atol=1e-14, **({"max_iters": 40} | options))
    return steppers.get(name, **options)


def times(*values, grad=False):
    return torch.tensor(values, dtype=torch.float64, requires_grad=grad)


def even(end, n):
    return torch.linspace(0, end, n + 1, dtype=torch.float64)


class Mixing(torch.nn.Module):
    """A smooth field that mixes time, state and parameters."""

    def __init__(self, dim=2):
        super().__init__()
        self.inner, self.outer = torch.nn.Linear(dim + 1, 3), torch.nn.Linear(3, dim)
        self.double()

    def forward(self, t, y):
        extended = torch.cat([y, t.expand(*y.shape[:-1], 1)], -1)
        return self.outer(torch.tanh(self.inner(extended)))


def mixing(t, y, w):
    """As a function of its parameters, for gradcheck."""
    return torch.tanh(y @ w) * torch.cos(2 * t) + t


class Counted:
    """f that counts its calls."""

    def __init__(self, f):
        self.f, self.calls = f, 0

    def __call__(self, t, y):
        self.calls += 1
        return self.f(t, y)


def solve(f, y0, t, name, **options):
    return grid.solve(f, y0, t, stepper(name), **options)
