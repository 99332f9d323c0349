"""Events: which comes first, when, and what its time and state depend on."""

from __future__ import annotations

from math import exp, inf, log, nan, pi

import pytest
import torch
from support.ode.gradient_cases import STRATEGIES
from support.ode.problems import NAMES, Net, logistic, make_solver
from torch import nn

from node_runner.ode import Event, GrazingError, Replay, Solver, SolverError, events, methods

strategies = pytest.mark.parametrize("gradient", STRATEGIES.values(), ids=STRATEGIES)
FINE = Solver(rtol=1e-9, atol=1e-9)
Y0 = torch.tensor([1.0, 0.0], dtype=torch.float64)


def number(value):
    return torch.tensor(value, dtype=torch.float64, requires_grad=True)


def turn(t, y):
    """(cos t, -sin t) from (1, 0)."""
    return torch.stack((y[1], -y[0]))


def first(t, y):
    return y[0]


def second(t, y):
    return y[1]


class Ball(nn.Module):
    """Height and speed of a ball in free fall."""

    def __init__(self, gravity):
        super().__init__()
        self.gravity = nn.Parameter(torch.tensor(gravity, dtype=torch.float64))

    def forward(self, t, y):
        return torch.stack((y[1], -self.gravity * torch.ones_like(y[1])))


@strategies
def test_bouncing_ball(gradient):
    """Dropped from h, its n-th bounce is at sqrt(2 h / g) (1 + 2 e + ... + 2 e^(n - 1)), where it
    leaves the floor at e^n sqrt(2 g h). Both depend on gravity, restitution and height.
    """
    ball, e, h = Ball(9.81), number(0.8), number(2.0)
    ground = Event(first, "down", "ground")
    solver = Solver("dopri5", 1e-9, 1e-9, gradient=gradient)
    inputs = ball.gravity, e, h
    t, y = torch.tensor(0.0, dtype=torch.float64), torch.stack((h, torch.zeros_like(h)))
    for n in range(1, 6):
        hit = solver.event(ball, y, t, ground, t_end=inf)
        assert hit.found and hit.index == 0
        t, y = hit.t, torch.stack((torch.zeros_like(h), -e * hit.state[1]))
        fall = (2 * h / ball.gravity).sqrt()
        exact = fall * (1 + 2 * sum(e**k for k in range(1, n))), e**n * fall * ball.gravity
        for found, expected in zip((t, y[1]), exact, strict=True):
            torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)
            for a, b in zip(slopes(found, inputs), slopes(expected, inputs), strict=True):
                torch.testing.assert_close(a, b, rtol=1e-7, atol=1e-7)


def slopes(y, inputs):
    return torch.autograd.grad(y, inputs, retain_graph=True, materialize_grads=True)


@strategies
@pytest.mark.parametrize("backwards", [False, True])
def test_gradients_are_those_of_differences(gradient, backwards, draw):
    """Time and state, in the start, its time, f's parameters and the condition's."""
    sign = -1.0 if backwards else 1.0
    solver = Solver("dopri5", 1e-10, 1e-10, gradient=gradient)

    def run(y0, t0, w, level):
        hit = solver.event(
            lambda t, y: sign * torch.tanh(w * y.flip(0) + 1),
            y0,
            t0,
            lambda t, y: y.sum() + level * t * sign - 2,
            t_end=sign * 5,
            params=(w,),
        )
        assert hit.found
        return hit.t, hit.state

    inputs = number([0.1, 0.4]), number(sign * 0.2), number([0.5, -0.7]), number(0.3)
    assert torch.autograd.gradcheck(run, inputs, eps=1e-5, atol=1e-6, fast_mode=True)


@pytest.mark.parametrize("name", NAMES)
def test_the_time_converges_as_the_method_does(name):
    """cos t is 0 at pi / 2, and its derivative -1."""
    hit = make_solver(name, 1e-6, step_size=0.01).event(turn, Y0, 0.0, first, t_end=4.0)
    allowed = {1: 0.02, 2: 1e-3}.get(methods.get(name).order, 1e-5)
    assert hit.t.item() == pytest.approx(pi / 2, abs=allowed)
    assert abs(hit.state[0].item()) < 1e-12
    assert hit.state[1].item() == pytest.approx(-1, abs=allowed)


@pytest.mark.parametrize("direction, times", [("up", 1.5), ("down", 0.5), ("either", 0.5)])
@pytest.mark.parametrize("sign", [1.0, -1.0], ids=["forward", "backward"])
def test_direction_is_that_of_the_run(direction, times, sign):
    """cos t goes down at +-pi / 2 and up at +-3 pi / 2 for who goes away from 0."""
    hit = FINE.event(turn, Y0, 0.0, Event(first, direction), t_end=sign * 9)
    assert hit.t.item() == pytest.approx(sign * times * pi, abs=1e-7)


@pytest.mark.parametrize("order", [[0, 1, 2], [2, 1, 0], [1, 0, 2]])
def test_the_first_of_several_wins_whatever_their_order(order):
    """cos t = 1/2 before sin t = 0.9, and time 2 last."""
    events = [lambda t, y: y[0] - 0.5, lambda t, y: y[1] + 0.9, lambda t, y: t - 2]
    hit = FINE.event(turn, Y0, 0.0, [events[i] for i in order], t_end=9.0)
    assert order[hit.index] == 0 and hit.t.item() == pytest.approx(pi / 3, abs=1e-7)


@pytest.mark.parametrize("early", [0, 1])
def test_of_two_in_the_same_stretch_the_first_wins(early):
    """Far closer together than steps are; the loser's gradient is not the winner's."""
    levels = number([0.5, 0.5])
    shift = torch.tensor([0.0, 0.0], dtype=torch.float64)
    shift[early] = 1e-7
    events = [lambda t, y, i=i: y[0] - levels[i] - shift[i] for i in (0, 1)]
    hit = Solver(rtol=1e-6, atol=1e-6).event(turn, Y0, 0.0, events, t_end=9.0)
    assert hit.index == early
    (slope,) = torch.autograd.grad(hit.t, levels)
    assert slope[early].item() == pytest.approx(-2 / 3**0.5, rel=1e-4) and slope[1 - early] == 0


def test_two_roots_inside_one_step_are_both_seen():
    """y = (t - 1)^2 - 0.05 in steps of 2 is positive at all their ends."""
    solver, start = Solver("rk4", step_size=2.0), number([0.95])
    for direction, sign in (("down", -1), ("up", 1)):
        event = Event(lambda t, y: y, direction)
        hit = solver.event(lambda t, y: 2 * (t - 1) + 0 * y, start, 0.0, event, t_end=6.0)
        assert hit.t.item() == pytest.approx(1 + sign * 0.05**0.5, abs=1e-12)
        assert hit.stats.forward.accepted == 1


@pytest.mark.parametrize("direction", ["up", "down", "either"])
@pytest.mark.parametrize("start", [0.0, 1e-17, -1e-17])
def test_a_condition_that_is_zero_at_the_start_does_not_happen_there(start, direction):
    """sin t from 0 is up at once; it comes down at pi and up again at 2 pi."""
    hit = FINE.event(turn, number([start, 1.0]), 0.0, Event(first, direction), t_end=9.0)
    assert hit.t.item() == pytest.approx(2 * pi if direction == "up" else pi, abs=1e-7)


def test_a_ball_at_rest_on_the_floor_goes_on():
    """A condition that is zero all along never changes its sign."""
    hit = Solver().event(lambda t, y: 0 * y, Y0, 0.0, second, t_end=1.0)
    assert not hit.found and hit.index is None and hit.t == 1.0


@strategies
def test_without_an_event_it_is_the_solution_at_the_end(gradient):
    solver, y0 = Solver(rtol=1e-8, atol=1e-8, gradient=gradient), Y0.clone().requires_grad_()
    end = number(1.0)
    found = solver.event(turn, y0, 0.0, first, t_end=end)
    assert found.index is None and not found.found and found.t.item() == 1.0
    assert torch.equal(found.state, solver(turn, y0, [0.0, 1.0]).final)
    found.state[0].backward()
    assert end.grad.item() == pytest.approx(-torch.sin(end).item(), abs=1e-6)
    torch.testing.assert_close(
        y0.grad, torch.stack((end.cos(), end.sin())).detach(), rtol=0, atol=1e-6
    )


def test_an_event_at_the_end_of_a_step_is_found():
    """And one that rests there exactly is not passed over, in steps of 1/2 to y = 0 at t = 1."""
    solver = Solver("midpoint", step_size=0.5)
    hit = solver.event(lambda t, y: -torch.ones_like(y), Y0[:1], 0.0, first, t_end=4.0)
    assert hit.t.item() == 1.0 and hit.state.item() == 0.0


@strategies
def test_no_second_solve_is_paid(gradient):
    """What the way there costs, the evaluation that completes a step at most, and two that tell
    whether the step with the event can be trusted.
    """
    calls, y0 = [], Y0.clone().requires_grad_()

    def counted(t, y):
        calls.append(float(t))
        return turn(t, y)

    solver = Solver("dopri5", 1e-8, 1e-8, gradient=gradient)
    hit = solver.event(counted, y0, 0.0, first, t_end=9.0)
    forward = hit.stats.forward
    assert forward.nfe == len(calls) == 4 + 6 * (forward.accepted + forward.rejected)
    assert max(calls) < pi
    (hit.t + hit.state.sum()).backward()
    assert forward.nfe + hit.stats.backward.nfe == len(calls)


@pytest.mark.parametrize("wanted", [True, False])
def test_without_gradients_nothing_is_kept_but_the_last_step(wanted, monkeypatch):
    made = []

    class Seen(events.solves.StepRecorder):
        def __init__(self, *args):
            super().__init__(*args)
            made.append(self)

    monkeypatch.setattr(events.solves, "StepRecorder", Seen)
    with torch.set_grad_enabled(wanted):
        hit = Solver(rtol=1e-6, atol=1e-6).event(turn, Y0, 0.0, first, t_end=4.0)
    kept = made[0].steps
    assert len(kept) == (hit.stats.forward.accepted if wanted else 1)
    assert [step.interpolant is None for step in kept] == [True] * (len(kept) - 1) + [False]


def test_one_read_a_step_more(reads):
    """And those that close the bracket, one a turn."""
    solver = Solver(rtol=1e-6, atol=1e-6)
    steps = solver.event(turn, Y0, 0.0, first, t_end=1.5).stats.forward
    attempts = steps.accepted + steps.rejected
    assert len(reads) <= attempts + steps.accepted + 3
    reads.clear()

    steps = solver.event(turn, Y0, 0.0, first, t_end=9.0).stats.forward
    assert len(reads) <= 2 * steps.accepted + steps.rejected + 15


@strategies
def test_a_condition_that_is_only_touched_has_no_gradient(gradient):
    """y = (t - 1)^2 in steps of 1/2."""
    y0 = number([1.0])
    solver = Solver("midpoint", step_size=0.5, gradient=gradient)
    hit = solver.event(
        lambda t, y: 2 * (t - 1) * torch.ones_like(y), y0, 0.0, Event(first, name="rim"), t_end=4.0
    )
    assert hit.t.item() == 1.0
    for value in (hit.t, hit.state.sum()):
        with pytest.raises(GrazingError, match=r"event 0 \(rim\), t=1,"):
            value.backward(retain_graph=True)


def test_a_condition_cut_off_from_its_inputs_has_no_gradient():
    hit = Solver().event(turn, number([1.0, 0.0]), 0.0, lambda t, y: y[0].detach(), t_end=4.0)
    assert hit.found
    with pytest.raises(GrazingError, match="gives no gradient"):
        hit.t.backward()


@strategies
def test_an_event_in_time_alone(gradient):
    """Its time depends on nothing but the condition's own parameter."""
    when, w, y0 = number(0.7), number([2.0]), number([1.0])
    solver = Solver(rtol=1e-8, atol=1e-8, gradient=gradient)
    hit = solver.event(lambda t, y: -w * y, y0, 0.0, lambda t, y: t - when, t_end=4.0, params=(w,))
    a, b, c = torch.autograd.grad(hit.t, (when, w, y0), retain_graph=True, materialize_grads=True)
    assert a == 1 and not b.any() and not c.any()
    a, b, c = torch.autograd.grad(hit.state.sum(), (when, w, y0))
    for found, expected in zip((a, b, c), (-2.0, -0.7, 1.0), strict=True):
        assert found.item() == pytest.approx(expected * exp(-1.4), rel=1e-5)


@strategies
def test_no_graph_where_nothing_wants_one(gradient):
    solver = Solver(gradient=gradient)
    with torch.no_grad():
        hit = solver.event(turn, number([1.0, 0.0]), number(0.0), first, t_end=4)
    for found in (hit, solver.event(turn, Y0, 0.0, first, t_end=4)):
        assert not found.t.requires_grad and not found.state.requires_grad


def test_second_derivatives_are_refused_by_name():
    y0 = number([1.0, 0.0])
    for which in ("t", "state"):
        hit = Solver().event(turn, y0, 0.0, first, t_end=4.0)
        (slope,) = torch.autograd.grad(getattr(hit, which).sum(), y0, create_graph=True)
        with pytest.raises(NotImplementedError, match="second derivatives .* end is an event"):
            slope.sum().backward()


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_an_end_that_is_infinite(sign):
    """y' = -+y / 100: e^-1 is reached at +-100, whatever the end is."""
    solver, y0 = Solver(rtol=1e-8, atol=1e-8), torch.ones(1, dtype=torch.float64)
    hit = solver.event(
        lambda t, y: -sign * y / 100, y0, 0.0, lambda t, y: y.log() + 1, t_end=sign * inf
    )
    assert hit.t.item() == pytest.approx(sign * 100, rel=1e-6)


@pytest.mark.parametrize("options", [{}, {"method": "rk4", "step_size": 0.1, "max_steps": 200}])
def test_an_end_that_never_comes_is_an_error(options):
    with pytest.raises(SolverError, match="stopped at t=.*Try "):
        Solver(**options).event(lambda t, y: 0 * y, Y0, 0.0, lambda t, y: y[0] + 1, t_end=inf)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_tuples_and_dtypes(dtype):
    y0 = (torch.ones(2, 2, dtype=dtype), torch.zeros((), dtype=dtype))
    hit = Solver("tsit5").event(
        lambda t, y: (-y[0], torch.ones_like(y[1])),
        y0,
        torch.tensor(0.0, dtype=torch.float64),
        lambda t, y: y[0].min() - 0.5,
        t_end=9.0,
    )
    assert hit.t.dtype == torch.float64 and hit.t.shape == ()
    assert hit.t.item() == pytest.approx(log(2), abs=1e-4)
    assert hit.state[0].shape == (2, 2) and hit.state[1].shape == ()
    assert hit.state[0].dtype == hit.state[1].dtype == dtype
    torch.testing.assert_close(hit.state[0], torch.full((2, 2), 0.5, dtype=dtype))


def test_restarts_far_from_zero_in_time():
    """Where times themselves are rounded to 1e-10."""
    hit = FINE.event(turn, Y0, 1e6, first, t_end=1e6 + 4)
    assert hit.t.item() - 1e6 == pytest.approx(pi / 2, abs=1e-6)


REFUSED = {
    "no event": ([], "^events is"),
    "none": (None, "^events is"),
    "a number": ([first, 3.0], "^events is"),
    "a vector": (Event(lambda t, y: y, name="rim"), r"event 0 \(rim\) returned shape \(2,\)"),
    "a float": (Event(lambda t, y: 1.0, name="rim"), r"event 0 \(rim\) returned float"),
    "NaN": ([first, lambda t, y: torch.where(t < 0.5, 1.0, nan)], "event 1 is NaN at t=0.5"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_no_event_is_refused(kind):
    events, message = REFUSED[kind]
    with pytest.raises(ValueError, match=message):
        Solver("rk4", step_size=0.5).event(turn, Y0, 0.0, events, t_end=1.0)


def test_another_direction_is_refused():
    with pytest.raises(ValueError, match="direction is 'sideways'"):
        Event(first, "sideways")


@pytest.mark.parametrize("name", NAMES)
def test_a_field_that_turns_nan_is_blamed_not_the_condition(name):
    def f(t, y):
        return torch.where(t > 0.5, nan, -y)

    with pytest.raises(SolverError, match="f returned NaN or inf"):
        make_solver(name, 1e-4).event(f, Y0, 0.0, lambda t, y: y.sum() + 1, t_end=2.0)


def test_unknown_leaves_are_refused():
    """Of f; a condition may use what it likes."""
    w = number([1.0, 1.0])
    with pytest.raises(ValueError, match="params="):
        Solver(gradient=Replay()).event(lambda t, y: w * y, Y0, 0.0, first, t_end=1.0)


def test_the_field_may_be_a_network(draw):
    """The gradient in its parameters is that of differences."""
    net, y0 = Net(3), draw(3)
    solver, bias = Solver(rtol=1e-10, atol=1e-10), net.outer.bias.detach()

    def time(shift):
        f = lambda t, y: net(t, y) + shift  # noqa: E731
        event = lambda t, y: y.sum() - y0.sum() - 0.1  # noqa: E731
        return solver.event(f, y0, 0.0, event, t_end=30.0, params=(shift,)).t

    assert torch.autograd.gradcheck(time, (0 * bias).requires_grad_(), eps=1e-5, rtol=1e-4)


def test_time_of_a_logistic_threshold():
    y0 = torch.tensor([0.2], dtype=torch.float64)
    hit = FINE.event(logistic, y0, 0.0, lambda t, y: torch.sin(2 * t) - 0.5, t_end=1.0)
    assert hit.t.item() == pytest.approx(pi / 12, abs=1e-9)
