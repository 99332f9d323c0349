"""Errors of the drop-in functions name the argument, as the caller wrote it."""

from __future__ import annotations

import pickle

import pytest
import torch
from support.ode.drop_in_cases import DTYPE, FORWARDS, Field, decay, start

from node_runner.ode import SolverError
from node_runner.ode.torchdiffeq import odeint, odeint_adjoint, odeint_dense, odeint_event

Y0 = start()
TWO = {"t": FORWARDS[:2]}
GRID = {"grid_constructor": lambda f, y, t: t}


def first(t, y):
    return y[0]


ARGUMENTS = [
    ({"y0": [Y0, Y0]}, "y0 .*list"),
    ({"y0": ()}, "y0 .*tuple"),
    ({"y0": (Y0, 1.0)}, r"y0\[1\] .*float"),
    ({"y0": torch.arange(3)}, "y0 .*int64"),
    ({"t": [0.0, 1.0]}, "t must .*list"),
    ({"t": torch.arange(3)}, "t must .*int64"),
    ({"t": torch.zeros(2, 2)}, r"t must .*\(2, 2\)"),
    ({"t": torch.zeros(0)}, "t must .*finite"),
    ({"t": torch.tensor([0.0, 1.0, 1.0])}, r"t must .*t\[1\]=1, t\[2\]=1"),
    ({"t": torch.tensor([0.0, 1.0, 0.5])}, r"t must .*t\[1\]=1, t\[2\]=0.5"),
    ({"t": torch.tensor([0.0, torch.inf])}, "t must .*finite"),
    ({"method": "dopri6"}, "method 'dopri6'; did you mean 'dopri"),
    ({"method": 5}, "method 5"),
    ({"options": ["step_size"]}, "options .*list"),
    ({"rtol": -1e-3}, "^rtol is -0.001"),
    ({"atol": float("nan")}, "^atol is nan"),
    ({"atol": torch.tensor(1e-3, requires_grad=True)}, "^atol requires a gradient"),
    ({"rtol": torch.ones(2)}, r"^rtol .*\(2,\).* \(3,\)"),
    ({"rtol": -torch.ones(3)}, "^rtol is"),
    ({"y0": (Y0, Y0), "rtol": [1e-3]}, "^rtol has 1 values for the 2"),
    ({"y0": (Y0,), "rtol": None}, "^rtol is None"),
    ({"event_fn": decay}, "^t has 4 times"),
    ({"event_fn": 1.0, **TWO}, "^event_fn is 1.0"),
    ({"event_fn": lambda t, y: 1.0, **TWO}, "^event_fn returned float"),
    ({"event_fn": first, **TWO, "method": "rk4"}, "step_size is inf"),
    ({"event_fn": first, **TWO, "method": "rk4", "options": GRID}, "grid_constructor"),
    ({"event_fn": first, **TWO, "method": "scipy_solver"}, "scipy_solver"),
    ({"method": "rk4", "options": {"interp": None}}, "interp None"),
]
OPTIONS = {
    "norm": "max",
    "first_step": -0.1,
    "min_step": -1.0,
    "max_step": 0.0,
    "safety": 1.5,
    "ifactor": 0.5,
    "dfactor": 0.0,
    "max_num_steps": 0,
    "dtype": torch.int64,
    "step_t": "soon",
    "jump_t": torch.tensor([0.5, torch.inf]),
}
ADJOINTS = [
    ({"func": decay}, "^func .*adjoint_params"),
    ({"adjoint_method": "rk4", "options": {"first_step": 0.1}}, "^adjoint_method .*options"),
    ({"adjoint_method": "rk5"}, "method 'rk5'"),
    ({"adjoint_options": {"norm": "half"}}, "^adjoint_options norm is 'half'"),
    ({"adjoint_rtol": -1.0}, "^adjoint_rtol is -1.0"),
    ({"adjoint_options": {"norm": max}}, "^adjoint_options norm"),
]


@pytest.mark.parametrize("solve", [odeint, odeint_adjoint])
@pytest.mark.parametrize("given, message", ARGUMENTS)
def test_arguments(given, message, solve):
    given = {"y0": Y0, "t": FORWARDS, **given}
    more = {"adjoint_params": ()} if solve is odeint_adjoint else {}
    with pytest.raises(ValueError, match=message):
        solve(lambda t, y: decay(t, y), given.pop("y0"), given.pop("t"), **given, **more)


@pytest.mark.parametrize("name", OPTIONS)
def test_options(name):
    with pytest.raises(ValueError, match=f"^{name} is"):
        odeint(decay, Y0, FORWARDS, options={name: OPTIONS[name]})


@pytest.mark.parametrize("value", ["x", None, torch.zeros(2)])
def test_numbers_are_numbers(value):
    with pytest.raises(ValueError, match="^safety is"):
        odeint(decay, Y0, FORWARDS, options={"safety": value})


@pytest.mark.parametrize("given, message", ADJOINTS)
def test_adjoints(given, message):
    given = {"func": Field(), **given}
    with pytest.raises(ValueError, match=message):
        odeint_adjoint(given.pop("func"), Y0, FORWARDS, **given)


def test_dense_output_needs_steps_and_times_inside():
    with pytest.raises(ValueError, match="step_size is inf"):
        odeint_dense(decay, Y0, 0.0, 1.0, method="rk4")
    solution = odeint_dense(decay, Y0, 0.0, 1.0)
    for t, message in (
        (torch.tensor([0.5, 1.5]), "t=1.5 "),
        (torch.zeros(1, 1), r"t must .*\(1, 1"),
    ):
        with pytest.raises(ValueError, match=message):
            solution(t)


@pytest.mark.parametrize("t0, seen", [(0.0, "float"), (torch.zeros(2), r"\(2,\)")])
def test_event_starts_are_tensors_of_one_element(t0, seen):
    with pytest.raises(ValueError, match=f"t0 .*{seen}"):
        odeint_event(decay, Y0, t0, event_fn=first)


@pytest.mark.parametrize(
    "method, known",
    [("dopri5", "first_step, min_step"), ("rk4", "step_size, grid_con"), ("gl4", "perturb")],
)
def test_unknown_options_are_warned_of_and_ignored(method, known):
    """As there; those of the same kind of method are named."""
    options = {"step_sise": 0.1, "eps": 0.1}
    with pytest.warns(UserWarning, match=f"{method} .*: step_sise, eps; .*{known}") as warned:
        ys = odeint(decay, Y0, FORWARDS, method=method, options=options)
    assert [each.filename for each in warned] == [__file__]
    assert torch.equal(ys, odeint(decay, Y0, FORWARDS, method=method))
    assert options == {"step_sise": 0.1, "eps": 0.1}


@pytest.mark.parametrize(
    "f, y0, message",
    [
        (lambda t, y: y[:2], Y0, r"f returned \(2,\)"),
        (lambda t, s: (s[0],), (Y0, Y0), "f returned 1 rates for 2 entries"),
        (lambda t, s: (s[0], s[1][:2]), (Y0, Y0), "entry 1 of the state"),
    ],
)
def test_what_the_field_returns_is_checked(f, y0, message):
    with pytest.raises(ValueError, match=message):
        odeint(f, y0, FORWARDS)


@pytest.mark.parametrize(
    "f, cause",
    [
        (lambda t, y: torch.where(t > 1, torch.nan, -y), "f returned NaN or inf"),
        (lambda t, y: y * y, "underflows"),
    ],
)
@pytest.mark.parametrize("caught", [SolverError, AssertionError, ArithmeticError])
def test_failures_are_caught_as_they_were_there(caught, f, cause):
    """And tell where they happened, also after a way through another process."""
    with pytest.raises(caught, match=cause) as failure:
        odeint(f, torch.ones(2, dtype=DTYPE), FORWARDS)
    again = pickle.loads(pickle.dumps(failure.value))
    assert str(again) == str(failure.value) and again.t == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("options", [{"perturb": True}, GRID])
def test_a_grid_on_the_way_back_from_an_event_is_refused(options):
    """It would end where the first guess of the event's time is."""
    more = {"method": "rk4", "options": {"step_size": 0.1}, "adjoint_options": options}
    with pytest.raises(ValueError, match="grid_constructor and perturb"):
        odeint_event(
            Field(), Y0, FORWARDS[:1], event_fn=first, odeint_interface=odeint_adjoint, **more
        )


def test_a_grid_of_one_time_and_a_single_stop_are_taken():
    assert torch.equal(odeint(decay, Y0, FORWARDS[:1], method="rk4", options=GRID), Y0[None])
    odeint(decay, Y0, FORWARDS, options={"step_t": 0.5, "jump_t": torch.tensor(0.7)})
