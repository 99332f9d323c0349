"""What is measured of a solve: its error is the true one, and each direction is counted."""

from math import exp

import pytest
import torch
from torch import nn

from node_runner.ode import Adjoint, Direct, Replay, Solver, profile_solve


class Decay(nn.Module):
    """y' = a y."""

    def __init__(self):
        super().__init__()
        self.a = nn.Parameter(torch.tensor(-1.0))

    def forward(self, t, y):
        return self.a * y


def measured(solver, gradient=None):
    y0 = torch.ones(4, 3)
    gradient = gradient or Direct()
    return profile_solve(
        solver, Decay(), y0, [0.0, 2.0], gradient, lambda y: y.square().sum(), rounds=1
    )


@pytest.mark.parametrize(
    "solver",
    [Solver("bosh3", tol, tol) for tol in (1e-1, 1e-3)]
    + [Solver("rk4", step_size=step) for step in (1.0, 0.25)],
    ids=lambda solver: f"{solver.method}-{solver.step_size or solver.rtol}",
)
def test_the_error_is_that_of_the_known_solution(solver):
    with torch.no_grad():
        y = solver(Decay(), torch.ones(1, dtype=torch.float64), [0.0, 2.0]).final.item()
    true = abs(y - exp(-2)) / exp(-2)
    assert measured(solver)["error"] == pytest.approx(true, rel=0.05, abs=1e-6)


def test_a_tighter_tolerance_errs_less_and_costs_more():
    loose, tight = (measured(Solver("dopri5", tol, tol)) for tol in (1e-1, 1e-5))
    assert tight["error"] < loose["error"] / 10
    assert tight["nfe_forward"] > loose["nfe_forward"]
    assert min(tight["forward_ms"], tight["backward_ms"]) > 0


@pytest.mark.parametrize(("gradient", "spends"), [(Direct, False), (Replay, True), (Adjoint, True)])
def test_backward_evaluations_are_those_of_the_gradient(gradient, spends):
    solver = Solver("rk4", step_size=0.5)
    found = measured(solver, gradient())
    assert found["nfe_forward"] == 16
    assert found["nfe_backward"] == (16 if spends else 0)
    assert isinstance(solver.gradient, Direct)  # the solver that was given is as it was
