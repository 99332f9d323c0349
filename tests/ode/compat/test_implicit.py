"""Implicit Runge-Kutta steps: what they solve, stability, and what is said where they fail."""

from __future__ import annotations

from math import nan

import pytest
import torch
from grid_cases import IMPLICIT, STARTS, even, solve, times
from ode_problems import logistic

from node_runner.ode import SolverError
from node_runner.ode.compat import grid, steppers
from node_runner.ode.compat.steppers.implicit import get

L_STABLE = ["implicit_euler", "radauIIA3", "radauIIA5", "sdirk2", "trbdf2"]


@pytest.mark.parametrize("slope", [1.0, 1e4])
@pytest.mark.parametrize("name", IMPLICIT)
def test_linear_fields_need_one_iteration_a_step(name, slope, draw):
    """Also stiff ones, and where the inhomogeneity depends on time."""
    a = draw(4, 4) * slope
    ys = solve(lambda t, y: y @ a + t, draw(2, 4), even(1.0, 3), name)
    method = steppers.get(name, max_iters=1)
    once = grid.solve(lambda t, y: y @ a + t, ys[0], even(1.0, 3), method)
    assert torch.equal(once, ys)


@pytest.mark.parametrize("name", IMPLICIT)
def test_a_nonlinear_field_needs_more(name):
    with pytest.raises(SolverError, match="not converged in max_iters=1"):
        grid.solve(logistic, STARTS, even(1.0, 3), steppers.get(name, max_iters=1))


@pytest.mark.parametrize("name", IMPLICIT)
def test_steps_solve_their_equations(name, draw):
    """For y' = A y a step multiplies by R(dt A), R(z) = 1 + z b (I - z a)^-1 1 (Hairer, Wanner,
    Solving ODEs II, IV.3), here with matrices in the place of z.
    """
    tableau, matrix, dt = get(name), draw(3, 3), 0.7
    a, b = (torch.tensor(x, dtype=torch.float64) for x in (tableau.a, tableau.b))
    s, identity = len(b), torch.eye(3, dtype=torch.float64)
    system = torch.eye(3 * s, dtype=torch.float64) - dt * torch.kron(a, matrix)
    stages = torch.linalg.solve(system, torch.cat([matrix] * s)).view(s, 3, 3)
    expected = identity + dt * torch.einsum("i,ijk->jk", b, stages)
    y0 = draw(3)
    y1 = solve(lambda t, y: matrix @ y, y0, times(0.0, dt), name)[-1]
    torch.testing.assert_close(y1, expected @ y0, rtol=1e-12, atol=1e-13)


def stiff(t, y):
    return -1e6 * (y - torch.cos(t))


@pytest.mark.parametrize("name", IMPLICIT)
def test_stiff_problems_do_not_restrict_the_step(name):
    """dt times the slope of f is -1e5. From the slow solution cos t each method stays near it."""
    t = even(2.0, 20)
    ys = solve(stiff, torch.ones(1, dtype=torch.float64), t, name)[:, 0]
    assert (ys - torch.cos(t)).abs().max() < 3e-3


@pytest.mark.parametrize("name", IMPLICIT)
def test_deviations_do_not_grow_and_l_stable_methods_damp_them_at_once(name):
    t = even(2.0, 20)
    ys = solve(stiff, torch.full((1,), 2.0, dtype=torch.float64), t, name)[:, 0]
    deviations = (ys - torch.cos(t)).abs()
    assert deviations.max() <= 1.0
    if name in L_STABLE:
        assert deviations[1:].max() < 1e-4


def robertson(t, y):
    """Three reactions with rates 0.04, 1e4 and 3e7 (Hairer, Wanner, Solving ODEs II, IV.1)."""
    slow, mixed, fast = 0.04 * y[0], 1e4 * y[1] * y[2], 3e7 * y[1] ** 2
    return torch.stack([mixed - slow, slow - mixed - fast, fast])


ROBERTSON_AT_40 = (0.7158270687, 9.1855347e-6, 0.2841637457)


@pytest.mark.parametrize("name", [name for name in IMPLICIT if name != "trapezoid"])
def test_robertsons_problem_at_steps_far_beyond_its_fast_reaction(name):
    """The trapezoidal rule is left out: it rings, and needs steps that resolve the start."""
    with torch.no_grad():
        y = solve(robertson, times(1.0, 0.0, 0.0), times(0.0, 40.0), name, step_size=0.8)[-1]
    allowed = 3e-3 if name == "implicit_euler" else 1e-4
    assert y.tolist() == pytest.approx(ROBERTSON_AT_40, abs=allowed)
    if name in L_STABLE:  # the others still carry the start of the fast reaction
        assert y[1].item() == pytest.approx(ROBERTSON_AT_40[1], rel=2e-2)
    assert y.sum().item() == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize("name", IMPLICIT)
def test_single_precision_converges(name):
    y0 = STARTS.float()
    with torch.no_grad():
        y = grid.solve(logistic, y0, torch.linspace(0, 1, 9), steppers.get(name))[-1]
    double = solve(logistic, STARTS, even(1.0, 8), name)[-1]
    torch.testing.assert_close(y.double(), double, rtol=5e-6, atol=0)


def tangent(t, y):
    return torch.cat([-y[:, :1], y[:, 1:] ** 2 + 1], 1)


def test_no_solution_of_the_equations_is_said_with_place_and_remedy():
    """Implicit Euler on y' = y^2 + 1 from 1.1 with step 1 / 4: y = 1.1 + (y^2 + 1) / 4 has no real
    root.
    """
    y0 = torch.tensor([[0.0, 1.1]], dtype=torch.float64)
    with pytest.raises(SolverError) as raised:
        solve(tangent, y0, times(2.0, 2.25, 3.25), "implicit_euler")
    error = raised.value
    assert (error.method, error.t, error.dt, error.steps) == ("implicit_euler", 2.0, 0.25, (0, 0))
    assert error.component == "the state[0, 1]" and error.error_ratio > 1e6
    for part in ("not converged in max_iters=100 iterations", "residual is", "a smaller step_size"):
        assert part in str(error)


def test_singular_matrix_is_told_from_nan_of_f():
    """From 1 the first correction leads to y = 2, where 1 - dt df/dy = 1 - 4 / 4."""
    y0 = torch.tensor([[0.0, 1.0]], dtype=torch.float64)
    with pytest.raises(SolverError, match="matrix of Newton's iteration is singular"):
        solve(tangent, y0, times(0.0, 0.25), "implicit_euler")


@pytest.mark.parametrize("start", [0.0, 1e-320])
def test_infinite_jacobian_is_not_taken_for_convergence(start):
    """y^0.01 has slope infinity at 0, and one beyond the largest float nearby."""
    y0 = times(1.0, start)
    with pytest.raises(SolverError, match="the Jacobian of f has NaN or inf after 0 iterations"):
        solve(lambda t, y: y**0.01, y0, times(0.0, 0.5), "radauIIA3")


@pytest.mark.parametrize("grad", [False, True])
def test_nan_from_f_is_said(grad):
    def f(t, y):
        return torch.where(t > 0.5, nan, -y)

    t = times(0.0, 0.4, 0.8, grad=grad)
    with pytest.raises(SolverError, match="stopped at t=0.4 with step 0.4: f returned NaN or inf"):
        solve(f, STARTS, t, "radauIIA3")


@pytest.mark.parametrize("value", [0, 2.5])
def test_max_iters_out_of_range_is_refused(value):
    with pytest.raises(ValueError, match=f"max_iters is {value}, must be a positive integer"):
        steppers.get("gl4", max_iters=value)
