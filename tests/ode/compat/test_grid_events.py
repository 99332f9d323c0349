"""Events on a fixed grid: the step in which the sign changes, and the root on its interpolant."""

from __future__ import annotations

from math import exp, nan, sqrt

import pytest
import torch
from grid_cases import STARTS, stepper, times
from ode_problems import slope

from node_runner.ode import SolverError
from node_runner.ode.compat import grid
from node_runner.ode.compat.form import form_of
from node_runner.ode.compat.search import Elements
from node_runner.ode.state import Layout

G = 9.8


def fall(t, y):
    """Height and velocity of a body in free fall."""
    return torch.stack([y[1], torch.full_like(y[1], -G)])


def height(t, y):
    return y[0]


def search(f, y0, event, name="rk4", t0=0.0, **options):
    """The time, 0-dim, and y0 and the state then."""
    start = t0 if isinstance(t0, torch.Tensor) else times(t0)[0]
    options = {"step_size": 0.03, "interp": "cubic"} | options
    elements = Elements(event, form_of(y0), Layout(y0), 1)
    _, t, y = grid.solve_until_event(f, y0, start, elements, stepper(name), **options)
    return torch.tensor(t, dtype=torch.float64), torch.stack([y0, y])


@pytest.mark.parametrize("name", ["rk4", "explicit_adams", "implicit_adams", "radauIIA5", "gl4"])
def test_a_ball_falls_as_galileo_says(name):
    """The parabola is within reach of the cubic: time and velocity are exact."""
    t, ys = search(fall, times(10.0, 0.0), height, name)
    assert t.item() == pytest.approx(sqrt(20 / G), abs=1e-11) and t.shape == ()
    assert ys[0].tolist() == [10.0, 0.0]
    assert ys[1].tolist() == pytest.approx([0.0, -sqrt(20 * G)], abs=1e-10)


def test_a_start_at_zero_is_no_event():
    """Thrown from the ground with 5 m/s the ball is back after 10 / g seconds."""
    t, ys = search(fall, times(0.0, 5.0), height)
    assert t.item() == pytest.approx(10 / G, abs=1e-11)


def test_bouncing_ball():
    """Each bounce halves the speed, so that the flights last 2 v / g, v / g, v / 2 g, ..."""
    state, now, flights = times(0.0, 8.0), 0.0, []
    for _ in range(4):
        t, ys = search(fall, state, height, t0=now)
        flights.append(t.item() - now)
        now, state = t.item(), torch.stack([torch.zeros(()).double(), -ys[1, 1] / 2])
    assert flights == pytest.approx([2 * 8.0 / G / 2**n for n in range(4)], abs=1e-10)


def test_backwards_in_time():
    """y = e^-t from y(0) = 1 is 2 at t = -log 2."""
    t, ys = search(lambda t, y: -y, times(1.0), lambda t, y: y - 2, sign=-1, step_size=0.01)
    assert exp(-t.item()) == pytest.approx(2.0, abs=1e-9)
    assert ys[1].item() == pytest.approx(2.0, abs=1e-11)


@pytest.mark.parametrize("interp, order", [("linear", 2), ("cubic", 4)])
def test_time_is_as_exact_as_the_interpolant(interp, order):
    counts, errors = (10, 21, 41, 82), []
    for n in counts:
        event, start = (lambda t, y: y - 0.47), times(1.0)
        t, _ = search(lambda t, y: -y, start, event, interp=interp, step_size=1 / n)
        errors.append(abs(exp(-t.item()) - 0.47))
    assert max(errors) < {"linear": 2e-3, "cubic": 1e-6}[interp]
    assert errors[-1] < errors[0] * (counts[0] / counts[-1]) ** (order - 1)
    assert -slope(counts, errors) > order - 1.5


def test_event_at_the_very_end_of_a_step():
    t, _ = search(lambda t, y: -torch.ones_like(y), times(1.0), lambda t, y: y, step_size=0.25)
    assert t.item() == 1.0


def test_event_that_depends_on_time_alone():
    t, ys = search(lambda t, y: -y, times(1.0), lambda t, y: t - 0.4321)
    assert t.item() == pytest.approx(0.4321, abs=1e-12)
    assert ys[1].item() == pytest.approx(exp(-0.4321), abs=1e-8)


@pytest.mark.parametrize("name", ["rk4", "implicit_adams", "radauIIA3"])
def test_state_is_differentiable_at_fixed_event_time(name, draw):
    """As the solution on the same grid is, interpolated at that time."""
    y0, w, start = draw(2), draw(2, 2), times(0.1)
    event = search(lambda t, y: torch.tanh(y @ w) + t, y0, lambda t, y: t - 0.3, name, t0=0.1)[0]

    def state(y0, w, t0):
        f = lambda t, y: torch.tanh(y @ w) + t  # noqa: E731
        return search(f, y0, lambda t, y: t.detach() - event, name, t0=t0[0])[1]

    leaves = [x.clone().requires_grad_() for x in (y0, w)]
    assert torch.autograd.gradcheck(lambda y0, w: state(y0, w, start), leaves)
    t0 = start.clone().requires_grad_()
    found, ys = search(lambda t, y: -y, y0, lambda t, y: t - 0.3, name, t0=0.1)
    assert not found.requires_grad
    (gradient,) = torch.autograd.grad(state(y0, w, t0)[1].sum(), t0)
    assert torch.isfinite(gradient).all() and gradient.abs() > 0


def test_on_step_sees_each_step():
    seen = []
    search(
        lambda t, y: -torch.ones_like(y),
        times(1.0),
        lambda t, y: y - 0.3,
        step_size=0.25,
        on_step=lambda t, y, dt: seen.append((t.item(), y.item(), dt.item())),
    )
    assert seen == [(0.0, 1.0, 0.25), (0.25, 0.75, 0.25), (0.5, 0.5, 0.25)]


def test_sign_that_never_changes_ends_at_the_cap_and_says_so():
    with pytest.raises(SolverError) as raised:
        search(lambda t, y: -y, times(1.0), lambda t, y: y + 1, step_size=0.1, max_steps=50)
    error = raised.value
    assert (error.method, error.steps) == ("rk4", (50, 0))
    assert error.t == pytest.approx(5.0)
    assert "event_fn has not changed its sign in 50 steps, it is 1.01 now" in str(error)
    assert "checking that event_fn crosses zero in this direction of time" in str(error)


@pytest.mark.parametrize("at", [0.0, 0.5])
def test_nan_from_the_event_function_is_said(at):
    with pytest.raises(SolverError, match="event_fn returned NaN"):
        search(lambda t, y: -y, times(1.0), lambda t, y: torch.where(t >= at, nan, y))


@pytest.mark.parametrize(
    "options, message",
    [
        ({"step_size": None}, "step_size is missing: rk4 needs one to look for an event"),
        ({"step_size": -1.0}, "step_size is -1.0, must be positive"),
        (
            {"interp": "spline"},
            "unknown interp 'spline'; did you mean 'linear'. choose from linear, cubic",
        ),
    ],
)
def test_unfit_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        search(lambda t, y: -y, STARTS, lambda t, y: y.sum(), **options)
