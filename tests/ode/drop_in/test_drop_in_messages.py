"""What is wrong with a call is said: the argument, its value, what fits."""

from __future__ import annotations

import pickle

import pytest
import torch
from support.ode.drop_in_cases import DTYPE, FORWARDS, Field, decay, start

from node_runner.ode import SolverError
from node_runner.ode.torchdiffeq import odeint, odeint_adjoint, odeint_dense, odeint_event

Y0 = start()
REQUIRING = torch.tensor(1e-3, requires_grad=True)

ARGUMENTS = {
    "a list": ({"y0": [Y0, Y0]}, "y0 must be a tensor or a tuple of tensors, got list"),
    "an empty tuple": ({"y0": ()}, "y0 must be a tensor or a tuple of tensors, got tuple"),
    "a tuple of numbers": ({"y0": (Y0, 1.0)}, r"y0\[1\] must be a tensor, got float"),
    "integers": ({"y0": torch.arange(3)}, "y0 has dtype torch.int64, must be one of torch.float16"),
    "times as a list": (
        {"t": [0.0, 1.0]},
        "t must be a floating tensor of .*, got list",
    ),
    "integer times": ({"t": torch.arange(3)}, "t must be a floating tensor .*, got torch.int64"),
    "times of two dimensions": (
        {"t": torch.zeros(2, 2)},
        r"t must be one-dimensional, got shape \(2, 2\)",
    ),
    "no times": ({"t": torch.zeros(0)}, "t must be one or more finite times"),
    "equal times": (
        {"t": torch.tensor([0.0, 1.0, 1.0])},
        r"t must be strictly increasing or strictly decreasing; t\[1\]=1, t\[2\]=1",
    ),
    "times that turn": ({"t": torch.tensor([0.0, 1.0, 0.5])}, r"; t\[1\]=1, t\[2\]=0.5"),
    "infinite times": ({"t": torch.tensor([0.0, torch.inf])}, "must be one or more finite times"),
    "a method": ({"method": "dopri6"}, "unknown method 'dopri6'; did you mean 'dopri"),
    "options": ({"options": ["step_size"]}, "options must be a dict or None, got list"),
    "a negative tolerance": ({"rtol": -1e-3}, "rtol is -0.001, must not be negative"),
    "a tolerance that is no number": ({"atol": float("nan")}, "^atol is nan, must not be negative"),
    "a tolerance with gradient": ({"atol": REQUIRING}, "atol requires a gradient"),
    "a tolerance of another shape": (
        {"rtol": torch.ones(2)},
        r"^rtol has shape \(2,\), must broadcast to \(3,\)",
    ),
    "negative tolerances": ({"rtol": -torch.ones(3)}, "rtol is .*, must not be negative"),
    "too few tolerances": ({"y0": (Y0, Y0), "rtol": [1e-3]}, "rtol has 1 values for the 2 entries"),
    "a tolerance of no kind": ({"y0": (Y0,), "rtol": None}, "rtol is None, must be a number"),
    "events at many times": ({"event_fn": decay}, "t has 4 times, must have 2 with event_fn"),
    "no event function": (
        {"event_fn": 1.0, "t": FORWARDS[:2]},
        r"event_fn is 1.0, must be a function of \(t, y\)",
    ),
    "an event that is no tensor": (
        {"event_fn": lambda t, y: 1.0, "t": FORWARDS[:2]},
        "event_fn returned float, must be a real tensor",
    ),
    "an event without step": (
        {"event_fn": lambda t, y: y[0], "t": FORWARDS[:2], "method": "rk4"},
        "step_size is inf.*: give a finite step_size",
    ),
    "an event on a grid": (
        {
            "event_fn": lambda t, y: y[0],
            "t": FORWARDS[:2],
            "method": "rk4",
            "options": {"grid_constructor": lambda f, y, t: t},
        },
        "grid_constructor and perturb need the end of the solve",
    ),
    "no name": ({"method": 5}, "unknown method 5; choose from adams"),
    "no interpolation": (
        {"method": "rk4", "options": {"interp": None}},
        "unknown interp None; choose from linear, cubic",
    ),
    "an event of SciPy's": (
        {"event_fn": lambda t, y: y[0], "t": FORWARDS[:2], "method": "scipy_solver"},
        "scipy_solver finds no events",
    ),
}


@pytest.mark.parametrize("solve", [odeint, odeint_adjoint])
@pytest.mark.parametrize("what", ARGUMENTS)
def test_arguments(what, solve):
    given, message = ARGUMENTS[what]
    given = {"y0": Y0, "t": FORWARDS} | given
    more = {"adjoint_params": ()} if solve is odeint_adjoint else {}
    with pytest.raises(ValueError, match=message):
        solve(lambda t, y: decay(t, y), given.pop("y0"), given.pop("t"), **given, **more)


OPTIONS = {
    "norm": ("max", "norm is 'max', must be a function"),
    "first_step": (-0.1, "^first_step is -0.1, must be positive"),
    "min_step": (-1.0, "^min_step is -1.0 and max_step inf, must be 0 <= min_step"),
    "max_step": (0.0, "^max_step is 0.0, must be positive"),
    "safety": (1.5, "^safety is 1.5, must be above 0 and at most 1"),
    "ifactor": (0.5, "^ifactor is 0.5, must be at least 1"),
    "dfactor": (0.0, "^dfactor is 0.0, must be above 0 and below 1"),
    "max_num_steps": (0, "max_num_steps is 0, must be at least 1"),
    "dtype": (torch.int64, "dtype is torch.int64, must be a floating dtype"),
    "step_t": ("soon", "^step_t is 'soon', must be a list of times"),
    "jump_t": (torch.tensor([0.5, torch.inf]), "^jump_t is .*, must be finite times"),
}


@pytest.mark.parametrize("name", OPTIONS)
def test_options(name):
    value, message = OPTIONS[name]
    with pytest.raises(ValueError, match=message):
        odeint(decay, Y0, FORWARDS, options={name: value})


@pytest.mark.parametrize("value", ["x", None, torch.zeros(2)])
def test_numbers_are_numbers(value):
    with pytest.raises(ValueError, match="safety is .*, must be a number"):
        odeint(decay, Y0, FORWARDS, options={"safety": value})


ADJOINTS = {
    "a function": (
        {"func": decay},
        "func is a function and no nn.Module, so adjoint_params must name",
    ),
    "two methods": (
        {"adjoint_method": "rk4", "options": {"first_step": 0.1}},
        "adjoint_method is 'rk4' and method 'dopri5', so options cannot serve both",
    ),
    "a method": ({"adjoint_method": "rk5"}, "unknown method 'rk5'"),
    "a norm": (
        {"adjoint_options": {"norm": "half"}},
        "adjoint_options norm is 'half', must be None or \"seminorm\"",
    ),
    "a tolerance": ({"adjoint_rtol": -1.0}, "^adjoint_rtol is -1.0, must not be negative"),
    "of the augmented state": (
        {"adjoint_options": {"norm": max}},
        "norms of the augmented state are given up",
    ),
}


@pytest.mark.parametrize("what", ADJOINTS)
def test_adjoints(what):
    given, message = ADJOINTS[what]
    func = given.get("func", Field())
    keywords = {name: value for name, value in given.items() if name != "func"}
    with pytest.raises(ValueError, match=message):
        odeint_adjoint(func, Y0, FORWARDS, **keywords)


def test_dense_output_needs_steps_and_times_inside():
    with pytest.raises(ValueError, match="step_size is inf.*: give a finite step_size"):
        odeint_dense(decay, Y0, 0.0, 1.0, method="rk4")
    solution = odeint_dense(decay, Y0, 0.0, 1.0)
    with pytest.raises(ValueError, match=r"t=1.5 is outside the solution's \[0, 1\]"):
        solution(torch.tensor([0.5, 1.5]))
    with pytest.raises(ValueError, match=r"t must be one time or .*, got shape \(1, 1\)"):
        solution(torch.zeros(1, 1))


def test_event_starts_are_tensors_of_one_element():
    for t0, seen in ((0.0, "float"), (torch.zeros(2), r"shape \(2,\)")):
        with pytest.raises(ValueError, match=f"t0 must be a tensor of one element, got {seen}"):
            odeint_event(decay, Y0, t0, event_fn=lambda t, y: y[0])


@pytest.mark.parametrize(
    "method, known",
    [
        ("dopri5", "first_step, min_step"),
        ("rk4", "step_size, grid_constructor"),
        ("gl4", "perturb"),
    ],
)
def test_unknown_options_are_warned_of_and_ignored(method, known):
    """As there; those of the same kind of method are named."""
    options = {"step_sise": 0.1, "eps": 0.1}
    message = f"{method} ignores .*: step_sise, eps; it knows.*{known}"
    with pytest.warns(UserWarning, match=message) as warned:
        ys = odeint(decay, Y0, FORWARDS, method=method, options=options)
    assert [each.filename for each in warned] == [__file__]
    assert torch.equal(ys, odeint(decay, Y0, FORWARDS, method=method))
    assert options == {"step_sise": 0.1, "eps": 0.1}


def test_what_the_field_returns_is_checked():
    with pytest.raises(ValueError, match=r"f returned \(2,\) as the rate of the state"):
        odeint(lambda t, y: y[:2], Y0, FORWARDS)
    with pytest.raises(ValueError, match="f returned 1 rates for 2 entries"):
        odeint(lambda t, s: (s[0],), (Y0, Y0), FORWARDS)
    with pytest.raises(ValueError, match=r"rate of entry 1 of the state, which has shape \(3,\)"):
        odeint(lambda t, s: (s[0], s[1][:2]), (Y0, Y0), FORWARDS)


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


@pytest.mark.parametrize("options", [{"perturb": True}, {"grid_constructor": lambda f, y, t: t}])
def test_a_grid_on_the_way_back_from_an_event_is_refused(options):
    """It would end where the first guess of the event's time is."""
    field = Field()
    with pytest.raises(ValueError, match="grid_constructor and perturb need the end of the solve"):
        odeint_event(
            field,
            Y0,
            FORWARDS[:1],
            event_fn=lambda t, y: t - 1.5,
            odeint_interface=odeint_adjoint,
            method="rk4",
            options={"step_size": 0.1},
            adjoint_options=options,
        )


def test_a_grid_of_one_time_and_a_single_stop_are_taken():
    made = {"grid_constructor": lambda f, y, t: t}
    assert torch.equal(odeint(decay, Y0, FORWARDS[:1], method="rk4", options=made), Y0[None])
    odeint(decay, Y0, FORWARDS, options={"step_t": 0.5, "jump_t": torch.tensor(0.7)})
