"""Failures of a solve: where, why, and two remedies."""

from __future__ import annotations

import pickle
from math import inf, isfinite, isnan, nan

import pytest
import torch
from support.ode.problems import ADAPTIVE, FIXED, NAMES, make_solver

from node_runner import odeint
from node_runner.ode import Adjoint, Replay, Solver, SolverError

Y0 = torch.tensor([0.5, 1.0], dtype=torch.float64)  # y' = y^2 blows up at 1 / y0: the second first
all_methods = pytest.mark.parametrize("name", NAMES)
adaptive = pytest.mark.parametrize("name", ADAPTIVE)
without_graph = pytest.mark.parametrize(
    "gradient", [Replay(), Adjoint()], ids=["replay", "adjoint"]
)


def square(t, y):
    return y * y


def wave(t, y):
    return torch.sin(9 * t) - y


def failure(solver, f, y0=Y0, ts=(0.0, 2.0)):
    """The error of a solve; its message holds all of its attributes and two remedies."""
    with pytest.raises(SolverError) as raised:
        solver(f, y0, ts)
    error = raised.value
    parts = error.method, error.component, error.cause, f"{error.steps[0]} steps accepted"
    parts += f"t={error.t:.6g}", f"step {error.dt:.3g}", f"{error.steps[1]} rejected"
    assert all(part in str(error) for part in parts) and isinstance(error, ArithmeticError)
    assert len(remedies(error)) == 2 and all(remedies(error))
    again = pickle.loads(pickle.dumps(error))  # as from another process
    assert str(again) == str(error) and (again.t, again.steps) == (error.t, error.steps)
    return error


def remedies(error):
    _, advice = str(error).rstrip(".").split(" Try ")
    return advice.split(", or ")


@pytest.mark.parametrize("name", [n for n in ADAPTIVE if n not in ("adaptive_heun", "fehlberg2")])
@pytest.mark.parametrize("sign", [1.0, -1.0], ids=["forwards", "backwards"])
def test_explosion_tells_where_it_happened(name, sign):
    """Methods of order 1 + 2 need too many steps for a test, or jump over the pole."""
    error = failure(make_solver(name, 1e-6), lambda t, y: sign * y * y, Y0, (0.0, 2 * sign))
    assert error.method == name and error.t == pytest.approx(sign, abs=1e-3)
    assert 0 < sign * error.dt < 1e-9
    assert error.error_ratio > 1 or isnan(error.error_ratio)
    assert error.component == "the state[1]" and min(error.steps) > 0
    assert "underflows" in error.cause and "NaN" not in remedies(error)[0]
    assert f"error ratio {error.error_ratio:.3g}" in str(error)
    assert "rtol and atol" in remedies(error)[0] and "stiff" in str(error)


@all_methods
def test_values_that_are_not_finite_are_blamed_on_f_or_the_state(name):
    error = failure(make_solver(name), lambda t, y: y * nan)
    assert "f returned NaN or inf at stage" in error.cause and "activation" in remedies(error)[0]
    for value in (nan, inf):
        y0 = torch.tensor([1.0, value], dtype=torch.float64)
        error = failure(make_solver(name), lambda t, y: -y, y0)
        assert "state itself has NaN or inf" in error.cause and "data" in remedies(error)[1]


@adaptive
def test_nan_after_a_while_tells_when_and_where(name):
    """The second component of f is NaN from t = 0.7 on, or all from a given first step on."""
    f = lambda t, y: torch.where((t > 0.7) & (torch.arange(2) == 1), nan, -y)  # noqa: E731
    error = failure(make_solver(name, 1e-4), f)
    assert error.t == pytest.approx(0.7, abs=1e-9) and error.t <= 0.7
    assert error.component == "the state[1]" and isnan(error.error_ratio)
    assert "f returned NaN or inf" in error.cause
    error = failure(make_solver(name, first_step=0.1), lambda t, y: y * nan)
    assert error.t == 0.0 and error.steps[0] == 0 and "f returned NaN or inf" in error.cause


@pytest.mark.parametrize("ts", [[0.0, 2.0], [2 * i / 40 for i in range(41)]])
@all_methods
def test_cap_on_steps(name, ts):
    """Of the whole solve, however many outputs; attempts of both kinds count, and steps of a fixed
    size are counted ahead. The step that was tried last is named, and the cap.
    """
    error = failure(make_solver(name, 1e-8, step_size=0.01, max_steps=7), wave, ts=ts)
    assert sum(error.steps) == (7 if name in ADAPTIVE else 0)
    assert "cap of 7 steps" in error.cause and "t=2" in error.cause
    assert 0 <= error.t < 2 and isfinite(error.dt) and 0 < error.dt < 0.5
    if name in ADAPTIVE:
        assert isfinite(error.error_ratio) and "the state[" in error.component
        assert "max_steps" in remedies(error)[1]


@all_methods
def test_cap_that_suffices_is_no_error(name):
    counts = make_solver(name, 1e-3)(square, Y0, [0.0, 0.5]).stats.forward
    attempts = counts.accepted + counts.rejected
    make_solver(name, 1e-3, max_steps=attempts)(square, Y0, [0.0, 0.5])
    solver = make_solver(name, 1e-3, max_steps=attempts - 1)
    assert f"cap of {attempts - 1} steps" in failure(solver, square, ts=(0.0, 0.5)).cause


@pytest.mark.parametrize("sign", [1.0, -1.0], ids=["forwards", "backwards"])
@pytest.mark.parametrize("name", FIXED)
def test_fixed_steps_that_overflow(name, sign):
    """y' = +-y^8 from 10 passes 1e308 within a few steps; the sign of dt is that of time."""
    f = lambda t, y: sign * y**8  # noqa: E731
    error = failure(Solver(name, step_size=0.1), f, 10 * Y0, (0.0, 2.0)[:: int(sign)])
    assert error.method == name and error.dt == pytest.approx(sign * 0.1)
    assert error.steps[1] == 0 and error.steps[0] > 0 and "not finite" in error.cause


def test_component_is_named_by_entry_and_index():
    y0 = (torch.zeros(3, dtype=torch.float64), torch.zeros(2, 3, dtype=torch.float64))
    spike = torch.zeros(2, 3, dtype=torch.float64)
    spike[1, 2] = 1.0
    error = failure(Solver(), lambda t, s: (s[0], spike / (1 - t).abs() ** 1.5), y0)
    assert error.component == "entry 1 of the state[1, 2]"


@without_graph
def test_strategies_pass_the_error_on(gradient):
    error = failure(Solver(gradient=gradient), square, Y0.clone().requires_grad_())
    assert error.t == pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize(
    "solver, cause",
    [
        (Solver(gradient=Adjoint()), "stopped at t=1 .* f returned NaN or inf"),
        (Solver("rk4", step_size=0.1, gradient=Adjoint()), "the adjoint is not finite"),
    ],
)
def test_adjoint_that_fails_says_so(solver, cause):
    """y' = sqrt y rests at 0, where its derivative is infinite."""
    y0 = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    final = solver(lambda t, y: y.sqrt(), y0, [0.0, 1.0]).final
    with pytest.raises(SolverError, match=cause):
        final.sum().backward()


@adaptive
def test_state_that_overflows_is_no_solution(name):
    """The rates stay finite, and an infinite state would allow any error."""
    y0 = torch.full((2,), 3e38)
    failure(make_solver(name, max_steps=300), lambda t, y: torch.full((2,), 3e38), y0, (0.0, 1.0))


@pytest.mark.parametrize("t0, length", [(0.0, 1.0), (1.0, 1.0), (0.0, 1e9), (-1e-9, 1e6)])
def test_nan_from_the_start_is_given_up_soon(t0, length):
    """Near t = 0 any step is above the rounding of time; the interval bounds it there."""
    f = lambda t, y: torch.where(t > t0, nan, -y)  # noqa: E731
    assert sum(failure(Solver(first_step=0.1), f, ts=(t0, t0 + length)).steps) < 70


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("sign", [1.0, -1.0], ids=["forwards", "backwards"])
@pytest.mark.parametrize("name", ["dopri5", "bosh3", "dopri8"])
def test_a_cap_reached_by_a_stiff_problem_says_so_and_names_a_way_out(name, sign, dtype):
    """Two decays at rates 1 and 1e6: stability alone keeps the steps short."""
    rates = sign * torch.tensor([1.0, 1e6], dtype=dtype)
    solver = make_solver(name, 1e-4, max_steps=300)
    error = failure(solver, lambda t, y: -rates * (y - torch.cos(t)), Y0.to(dtype), (0.0, 9 * sign))
    assert "stiff" in error.cause and "rate 1e+06" in error.cause
    assert "kvaerno5" in remedies(error)[0] and "max_steps" in remedies(error)[1]


NOT_STIFF = {
    "oscillation": lambda t, y: 1e5 * torch.stack((y[1], -y[0])),
    "growth": lambda t, y: y * y,
    "forcing": lambda t, y: torch.cos(1e5 * t) - y,
    "jumps": lambda t, y: -3 * torch.sign(y),
}


@pytest.mark.parametrize("kind", NOT_STIFF)
@pytest.mark.parametrize("name", ["dopri5", "dopri8"])
def test_a_cap_reached_otherwise_is_not_blamed_on_stiffness(name, kind):
    error = failure(make_solver(name, 1e-7, max_steps=60), NOT_STIFF[kind])
    assert "cap" in error.cause and "stiff" not in str(error)


def test_fixed_steps_beyond_stability_say_so():
    f = lambda t, y: -1e4 * (y - torch.cos(t))  # noqa: E731
    error = failure(Solver("rk4", step_size=0.1), f, ts=(0.0, 9.0))
    assert "stiff" in error.cause and "smaller step_size" in remedies(error)[0]
    assert "kvaerno5" in remedies(error)[1]


def test_a_grid_of_ones_own_has_no_cap():
    ts = torch.linspace(0, 1, 12_001, dtype=torch.float64)
    assert odeint(lambda t, y: -y, Y0[:1], ts, method="euler").shape == (12_001, 1)
