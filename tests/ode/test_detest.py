"""Global errors on the problems of DETEST, at two tolerances."""

from __future__ import annotations

from functools import cache
from math import exp, log

import pytest
import torch
from support.ode.detest import END, PROBLEMS, solution
from support.ode.problems import ADAPTIVE, slope

from node_runner.ode import Solver, methods

# What a method of its order is used for; errors follow an order of 2 far more dearly.
TOLERANCES = {2: (1e-2, 1e-4), 3: (1e-3, 1e-5)}
# The error at END in tolerances: what the problems themselves make of the error of a step. Orbits
# run ahead or behind, the more the longer; B1 turns an error of amplitude into one of phase.
MULTIPLES = {"A": 8, "B": 80, "C": 25, "D": 600, "E": 60}
OF_FEHLBERG2 = 60  # it estimates its error by dt/512 (k_3 - k_1), far below what it is


def tolerances(method):
    if method == "fehlberg2":
        return 1e-4, 1e-6
    return TOLERANCES.get(methods.get(method).order, (1e-4, 1e-7))


@cache
def errors(method, name):
    """max |y - y*| / (1 + |y*|) at each tolerance."""
    problem, exact = PROBLEMS[name], solution(name)
    found = []
    for tol in tolerances(method):
        with torch.no_grad():
            y = Solver(method, tol, tol)(problem.f, problem.y0, [0.0, END]).final
        found.append(((y - exact).abs() / (1 + exact.abs())).max().item())
    return found


@pytest.mark.parametrize("name", PROBLEMS)
@pytest.mark.parametrize("method", ADAPTIVE)
def test_the_error_is_a_multiple_of_the_tolerance(method, name):
    allowed = MULTIPLES[name[0]] * (OF_FEHLBERG2 if method == "fehlberg2" else 1)
    found = errors(method, name)
    for error, tol in zip(found, tolerances(method), strict=True):
        assert error < allowed * tol
    assert found[-1] < found[0] / 2


@pytest.mark.parametrize("method", ADAPTIVE)
def test_over_all_problems_the_error_is_proportional_to_the_tolerance(method):
    """The geometric mean over them falls as its power 0.8 to 1.2."""
    every = torch.tensor([errors(method, name) for name in PROBLEMS], dtype=torch.float64)
    means = [exp(sum(map(log, column)) / len(PROBLEMS)) for column in every.T.tolist()]
    assert 0.8 < slope(tolerances(method), means) < 1.2
