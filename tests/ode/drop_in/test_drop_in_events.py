"""SolverProtocol that end at an event: which, when, and the gradient of when."""

from __future__ import annotations

from math import pi, sqrt

import pytest
import torch
from support.ode.drop_in_cases import ADAPTIVE, DTYPE, Field, start
from torch import nn

from node_runner.ode import SolverError, torchdiffeq
from node_runner.ode.torchdiffeq import odeint, odeint_adjoint, odeint_event

interfaces = pytest.mark.parametrize("interface", [odeint, odeint_adjoint])
GRIDS = {"rk4": 0.05, "implicit_adams": 0.05, "gl4": 0.2}
METHODS = [*((name, {}) for name in ADAPTIVE)]
METHODS += [(name, {"step_size": h, "interp": "cubic"}) for name, h in GRIDS.items()]
every = pytest.mark.parametrize("method, options", METHODS)


def number(value, grad=False):
    return torch.tensor(value, dtype=DTYPE, requires_grad=grad)


class Ball(nn.Module):
    """A ball that falls, and the floor that it hits."""

    def __init__(self, gravity=9.8, floor=0.0):
        super().__init__()
        self.gravity, self.floor = nn.Parameter(number(gravity)), nn.Parameter(number(floor))

    def forward(self, t, state):
        height, speed = state
        return speed, -self.gravity.expand_as(height)

    def hits(self, t, state):
        return state[0] - self.floor


@interfaces
@every
def test_a_fall_lasts_as_long_as_it_does_and_so_its_gradients(interface, method, options):
    """t = sqrt(2 h / g), speed -sqrt(2 g h), and their derivatives in height, speed, start,
    gravity and floor.
    """
    ball = Ball()
    h, v, t0 = number([10.0], grad=True), number([0.0], grad=True), number(1.0, grad=True)
    low = method in ("fehlberg2", "adaptive_heun")
    tol = 1e-5 if low else 1e-7
    keywords = {"method": method, "options": options, "rtol": tol, "atol": tol}
    t, (heights, speeds) = odeint_event(
        ball, (h, v), t0, event_fn=ball.hits, odeint_interface=interface, **keywords
    )
    fall, speed = sqrt(2 * 10 / 9.8), -sqrt(2 * 9.8 * 10)
    torch.testing.assert_close(t, number(1 + fall), rtol=0, atol=tol)
    torch.testing.assert_close(heights[:, 0], number([10.0, 0.0]), rtol=0, atol=20 * tol)
    torch.testing.assert_close(speeds[:, 0], number([0.0, speed]), rtol=0, atol=20 * tol)
    inputs = (h, v, t0, ball.gravity, ball.floor)
    of_t = torch.autograd.grad(t, inputs, retain_graph=True)
    exact = [-1 / speed, 1 / 9.8, 1.0, -fall / 2 / 9.8, 1 / speed]
    tolerance = 1e-3 if low or method in ("rk4", "implicit_adams", "gl4") else 1e-5
    assert [g.item() for g in of_t] == pytest.approx(exact, abs=tolerance)
    of_speed = torch.autograd.grad(speeds[1].sum(), inputs, allow_unused=True)
    exact = [9.8 / speed, 0.0, 0.0, 10 / speed, -9.8 / speed]
    found = [0.0 if g is None else g.item() for g in of_speed]
    assert found == pytest.approx(exact, abs=tolerance)


@interfaces
@pytest.mark.parametrize("reverse", [False, True])
def test_gradients_agree_with_finite_differences(interface, reverse):
    """Of a nonlinear field, in its start, a parameter of its own and one of the event function."""
    end = number(-0.3 if reverse else 0.7)
    net, t0 = Field(2).requires_grad_(False), number(0.2)

    class Shifted(nn.Module):
        def __init__(self, shift):
            super().__init__()
            self.shift = shift

        def forward(self, t, y):
            return net(t, y) + self.shift

    def gap(t, y):
        return (y * torch.cos(y)).sum() / (1 + 0.1 * t)

    def found(y0, shift, level):
        t, ys = odeint_event(
            Shifted(shift),
            y0,
            t0,
            event_fn=lambda t, y: gap(t, y) - level,
            reverse_time=reverse,
            odeint_interface=interface,
            rtol=1e-10,
            atol=1e-10,
            **({"adjoint_params": (shift,)} if interface is odeint_adjoint else {}),
        )
        return t + ys[1].square().sum()

    y0, shift = number([0.9, -0.3], grad=True), number([0.1, 0.0], grad=True)
    # The level that is reached half a unit of time from the start.
    level = gap(end, odeint(Shifted(shift), y0, torch.stack([t0, end]))[1]).detach()
    inputs = y0, shift, level.requires_grad_()
    assert torch.autograd.gradcheck(found, inputs, eps=1e-5, atol=1e-5, rtol=1e-4)


def rotate(t, y):
    return torch.stack([y[1], -y[0]])


@every
@pytest.mark.parametrize("reverse", [False, True])
def test_the_first_of_several_events(method, options, reverse):
    """y = (sin t, cos t) from t = 0.2: forwards it is cos that is zero first, backwards sin."""
    t = number([0.2, 0.1 if reverse else 0.3])
    y0 = torch.stack([torch.sin(t[0]), torch.cos(t[0])])
    low = method in ("fehlberg2", "adaptive_heun")
    tol = 1e-5 if low else 1e-8
    found, ys = odeint(
        rotate, y0, t, event_fn=lambda t, y: y, method=method, options=options, rtol=tol, atol=tol
    )
    exact = 0.0 if reverse else pi / 2
    assert found.item() == pytest.approx(exact, abs=3e-3 if low else 2e-5)
    assert torch.equal(ys[0], y0) and ys[1].abs().min() < 1e-5


@pytest.mark.parametrize("method, options", [("dopri5", {}), ("rk4", {"step_size": 0.01})])
def test_a_start_on_the_event_is_none(method, options):
    """Thrown from the floor, a ball comes back to it."""
    ball = Ball()
    found, _ = odeint(
        ball,
        (number([0.0]), number([4.9])),
        number([0.0, 1.0]),
        event_fn=ball.hits,
        method=method,
        options=options,
    )
    assert found.item() == pytest.approx(1.0, abs=1e-4)


def test_a_ball_bounces():
    """From height h with a loss k of speed at every bounce the n-th comes at sqrt(2 h / g) (1 + 2 k
    + ... + 2 k^n), and so its gradient.
    """
    ball, k = Ball(), number(0.7, grad=True)
    h = number([1.0], grad=True)
    state, t, fall = (h, number([0.0])), number(0.0), sqrt(2 / 9.8)
    for n in range(4):
        t, ends = odeint_event(ball, state, t, event_fn=ball.hits, atol=1e-10, rtol=1e-10)
        exact = fall * (1 + 2 * sum(0.7**i for i in range(1, n + 1)))
        assert t.item() == pytest.approx(exact, abs=1e-7)
        state = (ends[0][1] + 1e-9, -k * ends[1][1])
    of_h, of_k = torch.autograd.grad(t, (h, k))
    assert of_h.item() == pytest.approx(exact / 2, abs=1e-5)
    assert of_k.item() == pytest.approx(fall * 2 * (1 + 2 * 0.7 + 3 * 0.49), abs=1e-5)


def test_nothing_is_differentiated_where_nothing_is_asked():
    ball = Ball()
    with torch.no_grad():
        t, ys = odeint_event(ball, (number([10.0]), number([0.0])), number(0.0), event_fn=ball.hits)
    assert not t.requires_grad and not ys[0].requires_grad


def test_gradients_of_gradients_are_refused():
    ball, h = Ball(), number([10.0], grad=True)
    t, _ = odeint_event(ball, (h, number([0.0])), number(0.0), event_fn=ball.hits)
    (first,) = torch.autograd.grad(t, h, create_graph=True)
    with pytest.raises(NotImplementedError, match="second derivatives are not there"):
        first.sum().backward()


@pytest.mark.parametrize("given", [True, False])
def test_an_event_that_never_comes_ends_the_solve(given, monkeypatch):
    monkeypatch.setattr(torchdiffeq, "MAX_STEPS", 69)
    with pytest.raises(SolverError, match="cap of 50" if given else "cap of 70"):
        odeint(
            lambda t, y: torch.cos(10 * t) * y,
            start(),
            number([0.0, 1.0]),
            event_fn=lambda t, y: y.abs().sum() + 1,
            options={"max_num_steps": 50} if given else None,
        )


def test_an_event_of_time_alone_on_a_field_at_rest():
    """Nothing tells how long a step should be, and none is too long."""
    t, _ = odeint(
        lambda t, y: y * 0, start(), number([0.0, 1.0]), event_fn=lambda t, y: t - 5, atol=1e-9
    )
    assert t.item() == pytest.approx(5.0, abs=1e-8)


def test_an_event_that_is_not_a_number_is_named():
    with pytest.raises(ValueError, match="condition of event 0 is NaN at t=0.3"):
        odeint(
            lambda t, y: -y,
            start(),
            number([0.0, 1.0]),
            event_fn=lambda t, y: torch.where(t > 0.3, torch.nan, 1.0),
        )
