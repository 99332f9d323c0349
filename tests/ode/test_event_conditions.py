"""Conditions that are one-sided, boolean or jump, and events where a search can miss them."""

from __future__ import annotations

from math import log, sqrt

import pytest
import torch
from torch import nn

from node_runner.ode import Event, GrazingError, Solver
from node_runner.ode.torchdiffeq import odeint, odeint_adjoint, odeint_event

DTYPE = torch.float64
# Of y = e^-t, with the event at y = 1/2: those with a derivative on one side, and without any.
ONE_SIDED = {
    "relu down": lambda t, y: torch.relu(y[0] - 0.5),
    "relu up": lambda t, y: torch.relu(0.5 - y[0]),
    "clamp": lambda t, y: (y[0] - 0.5).clamp(max=0.0),
}
STEPS = {
    "true": lambda t, y: y[0] < 0.5,
    "false": lambda t, y: y[0] > 0.5,
    "sign": lambda t, y: torch.sign(y[0] - 0.5),
    "integer": lambda t, y: (y[0] < 0.5).long(),
    "floor": lambda t, y: torch.floor(2 * y[0]),
    "uneven": lambda t, y: torch.where(y[0] > 0.5, 1e-9, -1.0),
    "heaviside": lambda t, y: torch.heaviside(0.5 - y[0], torch.zeros((), dtype=y.dtype)),
}
conditions = pytest.mark.parametrize("name", [*ONE_SIDED, *STEPS])
METHODS = [("dopri5", {}), ("bosh3", {}), ("rk4", {"step_size": 0.05})]
DROP_IN = [("dopri5", {}), ("dopri8", {}), ("rk4", {"step_size": 0.05, "interp": "cubic"})]
interfaces = pytest.mark.parametrize("interface", [odeint, odeint_adjoint])
dtypes = pytest.mark.parametrize("dtype", [torch.float32, torch.float64])


class Decay(nn.Module):
    """y' = -a y, with a parameter that no path uses."""

    def __init__(self, dtype=DTYPE):
        super().__init__()
        self.a, self.unused = (nn.Parameter(torch.ones((), dtype=dtype)) for _ in range(2))

    def forward(self, t, y):
        return -self.a * y


def ball(t, y):
    return torch.stack((y[1], torch.full_like(y[1], -9.81)))


@conditions
@dtypes
@pytest.mark.parametrize("method, options", METHODS)
def test_the_time_is_that_of_the_change(name, dtype, method, options):
    options = options or {"rtol": 1e-6, "atol": 1e-6}
    y0, g = torch.ones(1, dtype=dtype), (ONE_SIDED | STEPS)[name]
    for sign in (1.0, -1.0):
        f = lambda t, y, sign=sign: -sign * y  # noqa: E731
        hit = Solver(method, **options).event(f, y0, 0.0, g, t_end=sign * 3)
        assert hit.found and hit.t.item() == pytest.approx(sign * log(2), abs=1e-5)


@conditions
@interfaces
@pytest.mark.parametrize("method, options", DROP_IN)
def test_the_drop_in_finds_the_same(name, interface, method, options):
    how = {"method": method, "options": options, "rtol": 1e-7, "atol": 1e-7}
    g, start = (ONE_SIDED | STEPS)[name], torch.zeros((), dtype=DTYPE)
    y0 = torch.ones(2, dtype=DTYPE)
    t, ys = odeint_event(Decay(), y0, start, event_fn=g, odeint_interface=interface, **how)
    assert t.item() == pytest.approx(log(2), abs=1e-6)
    torch.testing.assert_close(ys[1], torch.full_like(ys[1], 0.5), rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", ONE_SIDED)
@pytest.mark.parametrize("interface", [None, odeint, odeint_adjoint])
def test_a_one_sided_condition_has_the_derivative_of_its_other_side(name, interface):
    """t = ln(2 y0) / a; what is not used has the gradient that torch gives it."""
    f, y0, g = Decay(), torch.ones(1, dtype=DTYPE, requires_grad=True), ONE_SIDED[name]
    if interface is None:
        t = Solver("dopri5", 1e-9, 1e-9).event(f, y0, 0.0, g, t_end=3.0).t
    else:
        start = torch.zeros((), dtype=DTYPE)
        t, _ = odeint_event(f, y0, start, event_fn=g, odeint_interface=interface)
    a, start, unused = torch.autograd.grad(t, (f.a, y0, f.unused), allow_unused=True)
    assert a.item() == pytest.approx(-log(2), abs=1e-6)
    assert start.item() == pytest.approx(1.0, abs=1e-6)
    assert unused is None or not unused.any()


@pytest.mark.parametrize("name", STEPS)
def test_a_condition_that_jumps_has_a_time_but_no_derivative(name):
    f, start = Decay(), torch.zeros((), dtype=DTYPE)
    y0 = torch.ones(1, dtype=DTYPE, requires_grad=True)
    hit = Solver().event(f, y0, 0.0, STEPS[name], t_end=3.0)
    with pytest.raises(GrazingError, match="gives no gradient"):
        hit.t.backward()
    t, _ = odeint_event(f, y0, start, event_fn=STEPS[name])
    with pytest.raises(GrazingError, match="gives no gradient"):
        t.backward()


@pytest.mark.parametrize("direction, expected", [("up", 0.5), ("down", 0.25), ("either", 0.25)])
def test_directions_of_a_boolean_condition(direction, expected):
    """True within the first and from the second half on."""
    event = Event(lambda t, y: (t < 0.25) | (t > 0.5), direction)
    hit = Solver("rk4", step_size=0.1).event(lambda t, y: 0 * y, torch.ones(1), 0.0, event, t_end=1)
    assert hit.t.item() == pytest.approx(expected, abs=1e-6)


SOON = {
    "fall": (ball, [0.0, -1.0], lambda y, e: y[0] + e),
    "at rest": (lambda t, y: 0 * y, [1.0], None),
}


@pytest.mark.parametrize("case", SOON)
@pytest.mark.parametrize(
    "method, options",
    [("dopri5", {}), ("tsit5", {"first_step": 10.0}), ("rk4", {"step_size": 1.0})],
)
@pytest.mark.parametrize("dtype, early", [(torch.float32, 1e-4), (torch.float64, 1e-9)])
def test_an_event_just_after_the_start_is_found(case, method, options, dtype, early):
    f, start, g = SOON[case]
    y0 = torch.tensor(start, dtype=dtype)
    event = (lambda t, y: g(y, early)) if g else (lambda t, y: t - early)
    hit = Solver(method, **options).event(f, y0, 0.0, event, t_end=100.0)
    assert hit.found and hit.t.item() == pytest.approx(early, rel=0.01)
    t = torch.tensor([0.0, 1.0], dtype=dtype)
    options = options | ({"interp": "cubic"} if method == "rk4" else {})
    found, _ = odeint(f, y0, t, event_fn=event, method=method, options=options)
    assert found.item() == pytest.approx(early, rel=0.01)


@dtypes
@pytest.mark.parametrize("ground", [0.0, 10.0])
def test_what_rounding_left_of_an_event_is_not_one(dtype, ground):
    """A ball that goes on from where it has hit the ground, itself not quite on it."""
    y, t = torch.tensor([ground + 1.0, 0.0], dtype=dtype), torch.tensor(0.0, dtype=dtype)
    drop_in, now, flight = y, t, 2 * sqrt(2 / 9.81)
    for n in range(4):
        hit = Solver("dopri5").event(ball, y, t, lambda t, y: y[0] - ground, t_end=1e3)
        y, t = hit.state * torch.tensor([1.0, -1.0], dtype=dtype), hit.t
        now, ys = odeint_event(ball, drop_in, now, event_fn=lambda t, y: y[0] - ground)
        drop_in = ys[1] * torch.tensor([1.0, -1.0], dtype=dtype)
        for found in (t, now):
            assert found.item() == pytest.approx((n + 0.5) * flight, rel=1e-3)


def test_a_start_that_is_only_rounded_to_zero_is_left_without_an_event():
    """Far from zero in float32 the first steps do not move the state at all."""
    y0 = torch.tensor([1000.0, 1.0])
    solver = Solver("dopri5", first_step=1e-6)
    hit = solver.event(
        lambda t, y: torch.stack((y[1], 0 * y[1] - 0.5)), y0, 0.0, lambda t, y: y[0] - 1000, t_end=9
    )
    assert hit.t.item() == pytest.approx(4.0, abs=0.01)


@pytest.mark.parametrize("method, options", DROP_IN)
def test_times_are_as_fine_as_those_given(method, options):
    """Not as the state is: float64 from 10^6 on, with a state in float32."""
    start = torch.tensor(1e6, dtype=DTYPE, requires_grad=True)
    y0, g = torch.ones(1), (lambda t, y: t - 1e6 - 0.7)
    hit = Solver("dopri5").event(lambda t, y: -y, y0, start, g, t_end=1e6 + 2)
    t, _ = odeint_event(lambda t, y: -y, y0, start, event_fn=g, method=method, options=options)
    for found in (hit.t, t):
        assert found.dtype == DTYPE and found.item() - 1e6 == pytest.approx(0.7, abs=1e-9)


@pytest.mark.parametrize("method", ["dopri5", "tsit5", "bosh3"])
@pytest.mark.parametrize("after", [1e-6, 1e-3, 0.05])
def test_a_step_across_a_discontinuity_is_not_trusted(method, after):
    """y' = -1, and -3 from t = 0.4 on; the event comes ``after`` that."""
    f = lambda t, y: torch.where(t < 0.4, -1.0, -3.0).to(y) * torch.ones_like(y)  # noqa: E731
    level, y0 = 0.6 - 3 * after, torch.ones(1, dtype=DTYPE)
    hit = Solver(method, 1e-6, 1e-6).event(f, y0, 0.0, lambda t, y: y[0] - level, t_end=5.0)
    assert hit.t.item() == pytest.approx(0.4 + after, abs=2e-5)


def test_the_first_of_several_kinds_ends_the_solve():
    def event_fn(t, y):
        return torch.stack((torch.relu(y[0] - 0.3), y[0] - 0.5, t - 2.0))

    y0 = torch.ones(1, dtype=DTYPE, requires_grad=True)
    t, _ = odeint_event(Decay(), y0, torch.zeros((), dtype=DTYPE), event_fn=event_fn)
    assert t.item() == pytest.approx(log(2), abs=1e-6)
    assert torch.autograd.grad(t, y0)[0].item() == pytest.approx(1.0, abs=1e-5)


def test_a_condition_that_is_nan_is_named_by_the_drop_in():
    def event_fn(t, y):
        return torch.stack((y[0] - 0.1, torch.where(t > 0.3, torch.nan, 1.0).to(y)))

    t = torch.tensor([0.0, 1.0], dtype=DTYPE)
    with pytest.raises(ValueError, match="condition of event 1 is NaN at t=0.3"):
        odeint(Decay(), torch.ones(1, dtype=DTYPE), t, event_fn=event_fn)
