"""What a solver says when it cannot go on."""

from __future__ import annotations

import pickle
from math import inf, isfinite, isnan, nan

import pytest
import torch
from support.ode.problems import ADAPTIVE, FIXED, NAMES, make_solver

from node_runner import odeint
from node_runner.ode import Adjoint, Replay, Solver, SolverError

Y0 = torch.tensor([0.5, 1.0], dtype=torch.float64)  # y' = y^2 blows up at 1 / y0: the second first


def square(t, y):
    return y * y


def wave(t, y):
    return torch.sin(9 * t) - y


def failure(solver, f, y0=Y0, ts=(0.0, 2.0)):
    with pytest.raises(SolverError) as raised:
        solver(f, y0, ts)
    return raised.value


def remedies(error):
    """The two that the message ends in."""
    _, advice = str(error).rstrip(".").split(" Try ")
    return advice.split(", or ")


@pytest.mark.parametrize("name", [n for n in ADAPTIVE if n not in ("adaptive_heun", "fehlberg2")])
def test_explosion_tells_where_it_happened(name):
    """Methods of order 1 + 2 need too many steps for a test, or jump over the pole."""
    error = failure(make_solver(name, 1e-6), square)
    assert error.method == name
    assert error.t == pytest.approx(1.0, abs=1e-3)
    assert 0 < error.dt < 1e-9
    assert error.error_ratio > 1 or isnan(error.error_ratio)
    assert error.component == "the state[1]"
    assert min(error.steps) > 0
    assert "underflows" in error.cause
    assert len(remedies(error)) == 2


@pytest.mark.parametrize("name", NAMES)
def test_message_holds_every_attribute(name):
    error = failure(make_solver(name, 1e-6, max_steps=100), square)
    for text in (
        name,
        f"t={error.t:.6g}",
        f"step {error.dt:.3g}",
        f"error ratio {error.error_ratio:.3g}",
        error.component,
        f"{error.steps[0]} steps accepted",
        f"{error.steps[1]} rejected",
        error.cause,
    ):
        assert text in str(error)
    assert isinstance(error, ArithmeticError)
    assert len(remedies(error)) == 2 and all(remedies(error))


def test_stiffness_is_answered_with_looser_tolerances_or_a_smoother_field():
    error = failure(Solver(), square)
    assert "rtol and atol" in remedies(error)[0] and "stiff" in str(error)
    assert "NaN" not in error.cause


@pytest.mark.parametrize("name", NAMES)
def test_nan_from_f_is_blamed_on_f(name):
    error = failure(make_solver(name), lambda t, y: y * nan)
    assert "f returned NaN or inf at stage" in error.cause
    assert "state itself" not in error.cause
    assert "activation in f" in remedies(error)[0]


@pytest.mark.parametrize("value", [nan, inf])
@pytest.mark.parametrize("name", NAMES)
def test_state_that_is_not_finite_is_blamed_on_the_state(name, value):
    error = failure(make_solver(name), lambda t, y: -y, torch.tensor([1.0, value]).double())
    assert "state itself has NaN or inf" in error.cause
    assert "data" in remedies(error)[1]


@pytest.mark.parametrize("name", ADAPTIVE)
def test_nan_after_a_while_tells_when_and_where(name):
    """The second component of f is NaN from t = 0.7 on."""

    def f(t, y):
        return torch.where((t > 0.7) & (torch.arange(2) == 1), nan, -y)

    error = failure(make_solver(name, 1e-4), f)
    assert error.t == pytest.approx(0.7, abs=1e-9) and error.t <= 0.7
    assert error.component == "the state[1]"
    assert isnan(error.error_ratio)
    assert "f returned NaN or inf" in error.cause


@pytest.mark.parametrize("name", ADAPTIVE)
def test_nan_from_f_with_a_first_step_fails_too(name):
    error = failure(make_solver(name, first_step=0.1), lambda t, y: y * nan)
    assert error.t == 0.0 and error.steps[0] == 0
    assert "f returned NaN or inf" in error.cause


@pytest.mark.parametrize("name", NAMES)
def test_cap_on_steps(name):
    """Attempts of both kinds count; steps of a fixed size are counted ahead."""
    error = failure(make_solver(name, 1e-8, step_size=0.01, max_steps=7), wave)
    assert sum(error.steps) == (7 if name in ADAPTIVE else 0)
    assert "cap of 7 steps" in error.cause and "t=2" in error.cause
    assert 0 <= error.t < 2


@pytest.mark.parametrize("name", NAMES)
def test_cap_on_steps_reports_the_step_that_was_tried_last(name):
    error = failure(make_solver(name, 1e-8, step_size=0.01, max_steps=7), wave)
    assert isfinite(error.dt) and 0 < error.dt < 0.5


@pytest.mark.parametrize("name", NAMES)
def test_cap_that_suffices_is_no_error(name):
    counts = make_solver(name, 1e-3)(square, Y0, [0.0, 0.5]).stats.forward
    attempts = counts.accepted + counts.rejected
    make_solver(name, 1e-3, max_steps=attempts)(square, Y0, [0.0, 0.5])
    with pytest.raises(SolverError, match=f"cap of {attempts - 1} steps"):
        make_solver(name, 1e-3, max_steps=attempts - 1)(square, Y0, [0.0, 0.5])


@pytest.mark.parametrize("ts", [(0.0, 2.0), (2.0, 0.0)], ids=["forward", "backward"])
@pytest.mark.parametrize("name", FIXED)
def test_fixed_steps_that_overflow(name, ts):
    """y' = +-y^8 from 10 passes 1e308 within a few steps; the sign of dt is that of time."""
    sign = 1.0 if ts[1] > ts[0] else -1.0
    error = failure(Solver(name, step_size=0.1), lambda t, y: sign * y**8, 10 * Y0, ts)
    assert error.method == name
    assert error.dt == pytest.approx(sign * 0.1)
    assert error.steps[1] == 0 and error.steps[0] > 0
    assert "not finite" in error.cause
    assert len(remedies(error)) == 2


def test_component_is_named_by_entry_and_index():
    y0 = (torch.zeros(3, dtype=torch.float64), torch.zeros(2, 3, dtype=torch.float64))
    spike = torch.zeros(2, 3, dtype=torch.float64)
    spike[1, 2] = 1.0
    error = failure(Solver(), lambda t, s: (s[0], spike / (1 - t).abs() ** 1.5), y0)
    assert error.component == "entry 1 of the state[1, 2]"


def test_explosion_backwards_in_time():
    error = failure(Solver(), lambda t, y: -y * y, Y0, (0.0, -2.0))
    assert error.t == pytest.approx(-1.0, abs=1e-3)
    assert -1e-9 < error.dt < 0


@pytest.mark.parametrize("gradient", [Replay(), Adjoint()], ids=["replay", "adjoint"])
def test_strategies_pass_the_error_on(gradient):
    error = failure(Solver(gradient=gradient), square, Y0.clone().requires_grad_())
    assert error.t == pytest.approx(1.0, abs=1e-3)


def test_adjoint_that_fails_says_so():
    """y' = sqrt y rests at 0, where its derivative is infinite."""
    y0 = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    final = Solver(gradient=Adjoint())(lambda t, y: y.sqrt(), y0, [0.0, 1.0]).final
    with pytest.raises(SolverError, match="dopri5 stopped at t=1 .* f returned NaN or inf"):
        final.sum().backward()


@pytest.mark.parametrize("name", ADAPTIVE)
def test_state_that_overflows_is_no_solution(name):
    """The rates stay finite, and an infinite state would allow any error."""
    y0 = torch.full((2,), 3e38)
    solver = make_solver(name, max_steps=300)
    failure(solver, lambda t, y: torch.full((2,), 3e38), y0, (0.0, 1.0))


@pytest.mark.parametrize("name", ADAPTIVE)
def test_cap_names_the_last_error_and_the_cap(name):
    error = failure(make_solver(name, 1e-8, max_steps=7), wave)
    assert isfinite(error.error_ratio) and "the state[" in error.component
    assert "max_steps" in remedies(error)[1]


@pytest.mark.parametrize("t0, length", [(0.0, 1.0), (1.0, 1.0), (0.0, 1e9), (-1e-9, 1e6)])
def test_nan_from_the_start_is_given_up_soon(t0, length):
    """Near t = 0 any step is above the rounding of time; the interval bounds it there."""

    def f(t, y):
        return torch.where(t > t0, nan, -y)

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
    def f(t, y):
        return -1e4 * (y - torch.cos(t))

    error = failure(Solver("rk4", step_size=0.1), f, ts=(0.0, 9.0))
    assert "stiff" in error.cause and "smaller step_size" in remedies(error)[0]
    assert "kvaerno5" in remedies(error)[1]


@pytest.mark.parametrize("name", NAMES)
def test_the_cap_is_of_the_whole_solve(name):
    """However many outputs there are."""
    ts = [2 * i / 40 for i in range(41)]
    error = failure(make_solver(name, 1e-10, step_size=0.01, max_steps=12), wave, ts=ts)
    assert sum(error.steps) == (12 if name in ADAPTIVE else 0)


@pytest.mark.parametrize("gradient", [Replay(), Adjoint()], ids=["replay", "adjoint"])
def test_leaf_used_in_the_middle_of_the_way_is_refused(gradient):
    w = torch.ones(2, dtype=torch.float64, requires_grad=True)

    def f(t, y):
        return w * y if 0.4 < t < 0.6 else -y

    final = Solver("dopri5", 1e-6, 1e-6, first_step=0.01, gradient=gradient)(
        f, Y0.clone().requires_grad_(), [0.0, 1.0]
    ).final
    with pytest.raises(ValueError, match="params="):
        final.sum().backward()


def test_adjoint_of_fixed_steps_that_is_not_finite_says_so():
    y0 = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    solver = Solver("rk4", step_size=0.1, gradient=Adjoint())
    final = solver(lambda t, y: y.sqrt(), y0, [0.0, 1.0]).final
    with pytest.raises(SolverError, match="the adjoint is not finite"):
        final.sum().backward()


def test_error_comes_back_from_another_process():
    error = failure(Solver(), square)
    again = pickle.loads(pickle.dumps(error))
    assert str(again) == str(error)
    assert (again.t, again.steps) == (error.t, error.steps)


def test_a_grid_of_ones_own_has_no_cap():
    ts = torch.linspace(0, 1, 12_001, dtype=torch.float64)
    assert odeint(lambda t, y: -y, Y0[:1], ts, method="euler").shape == (12_001, 1)
