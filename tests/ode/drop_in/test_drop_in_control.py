"""Options of adaptive methods: each does what it says."""

from __future__ import annotations

from math import pi

import pytest
import torch
from support.ode.drop_in_cases import ADAPTIVE, DTYPE, FORWARDS, TIMES, Field, decay, spiral, start

from node_runner.ode import Solver, SolverError
from node_runner.ode.torchdiffeq import odeint, odeint_adjoint, odeint_dense

LONG = torch.tensor([0.0, 10.0], dtype=DTYPE)


class Watched:
    """A field that records its times, and the (t0, dt, accepted) of every attempt."""

    def __init__(self, f=decay):
        self.f, self.times, self.attempts = f, [], []

    def __call__(self, t, y):
        self.times.append(t.item())
        return self.f(t, y)

    def callback_accept_step(self, t0, y0, dt):
        self.attempts.append((t0.item(), dt.item(), True))

    def callback_reject_step(self, t0, y0, dt):
        self.attempts.append((t0.item(), dt.item(), False))

    def accepted(self):
        return [(t0, dt) for t0, dt, accepted in self.attempts if accepted]


def watch(t=FORWARDS, f=decay, method="dopri5", tol=1e-6, y0=None, **options):
    watched = Watched(f)
    y0 = start() if y0 is None else y0
    ys = odeint(watched, y0, t, rtol=tol, atol=tol, method=method, options=options)
    return watched, ys


def test_first_step_is_the_first():
    watched, _ = watch(first_step=0.01)
    assert watched.attempts[0] == (0.0, 0.01, True)


@pytest.mark.parametrize("direction", TIMES)
@pytest.mark.parametrize("method", ADAPTIVE)
def test_steps_stay_below_max_step(method, direction):
    watched, _ = watch(TIMES[direction], method=method, tol=1e-3, max_step=0.05)
    assert max(dt for _, dt in watched.accepted()) <= 0.05 + 1e-12  # t1 - t0 is rounded
    assert len(watched.accepted()) >= 40


def test_steps_of_min_step_are_accepted_whatever_their_error():
    """A tolerance that would ask for steps of 1e-3 is given up; only landings are shorter."""
    free, _ = watch(LONG, tol=1e-11)
    bound, ys = watch(LONG, tol=1e-11, min_step=0.5)
    assert max(dt for _, dt in free.accepted()) < 0.5
    assert all(accepted for _, dt, accepted in bound.attempts if dt <= 0.5)
    assert min(dt for _, dt in bound.accepted()) >= 0.25 and len(bound.accepted()) <= 40
    assert torch.isfinite(ys).all()


@pytest.mark.parametrize("wall", [0.9, 1.0, 1.1, 1.3, 1.7])
@pytest.mark.parametrize("min_step", [0.1, 0.07, 1 / 3])
def test_a_step_of_min_step_that_is_not_finite_fails(min_step, wall):
    """Wherever it starts: the difference of its ends is not min_step to the last bit."""
    with pytest.raises(
        SolverError,
        match=f"min_step={min_step:g} cannot be computed; it is not finite; f returned NaN",
    ):
        watch(f=lambda t, y: torch.where(t > wall, torch.nan, -y), min_step=min_step)


@pytest.mark.parametrize("direction", TIMES)
@pytest.mark.parametrize("method", ADAPTIVE)
@pytest.mark.parametrize("option", ["step_t", "jump_t"])
def test_steps_end_where_they_are_told(option, method, direction):
    """Inside the interval; times beyond it are no matter."""
    told = torch.tensor([-1.0, 0.123, 0.3, 1.7, 5.0], dtype=DTYPE)
    watched, _ = watch(TIMES[direction], method=method, tol=1e-3, **{option: told})
    starts = [t0 for t0, _ in watched.accepted()]
    assert {0.123, 1.7} < set(starts)
    assert all(0.0 <= t <= 2.0 for t in watched.times)


def saw(t, y):
    """y' = 1 before t = 1 and -3 from then on."""
    return torch.where(t < 1, 1.0, -3.0) * torch.ones_like(y)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("direction", TIMES)
@pytest.mark.parametrize("method", ADAPTIVE)
def test_a_jump_is_seen_from_both_sides_and_never_itself(method, direction, dtype):
    """Then every method is exact on a piecewise constant field, and rejects nothing."""
    t = torch.tensor({"forwards": [0.0, 0.3, 2.0], "backwards": [2.0, 1.0, 0.0]}[direction])
    y0 = torch.zeros(2, dtype=dtype)
    watched, ys = watch(t, saw, method, y0=y0, jump_t=torch.tensor([1.0]))
    exact = {"forwards": [0.3, -2.0], "backwards": [3.0, 2.0]}[direction]
    torch.testing.assert_close(ys[1:, 0], torch.tensor(exact, dtype=dtype), rtol=0, atol=1e-6)
    jump, sides = torch.tensor(1.0, dtype=dtype), torch.tensor([0.0, 2.0], dtype=dtype)
    beside = torch.nextafter(jump, sides).tolist()
    assert 1.0 not in watched.times and set(beside) <= set(watched.times)
    assert len(watched.accepted()) == len(watched.attempts)


def test_a_jump_that_is_told_of_saves_evaluations():
    blind, _ = watch(LONG, saw, tol=1e-9)
    told, _ = watch(LONG, saw, tol=1e-9, jump_t=torch.tensor([1.0]))
    assert 3 * len(told.times) < len(blind.times)


@pytest.mark.parametrize("norm", [None, "seminorm"])
def test_the_adjoint_jumps_as_well(norm):
    """dy/dt = a (t < 1), b (t > 1): the gradients are the lengths of the intervals."""

    class Two(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.rates = torch.nn.Parameter(torch.tensor([1.0, -2.0], dtype=DTYPE))
            self.times = []

        def forward(self, t, y):
            self.times.append(t.item())
            return self.rates[(t > 1).long()] * torch.ones_like(y)

    field = Two()
    options = {"jump_t": torch.tensor([1.0])}
    y = odeint_adjoint(
        field,
        start(1),
        torch.tensor([0.0, 2.5], dtype=DTYPE),
        options=options,
        adjoint_options=None if norm is None else {**options, "norm": norm},
    )
    y[-1].sum().backward()
    torch.testing.assert_close(field.rates.grad, torch.tensor([1.0, 1.5], dtype=DTYPE))
    assert 1.0 not in field.times


def test_safety_and_factors_steer_the_step():
    careful, _ = watch(LONG, safety=0.3)
    assert len(careful.accepted()) > len(watch(LONG)[0].accepted())
    slow, _ = watch(LONG, first_step=1e-4, ifactor=1.5)
    sizes = [dt for _, dt in slow.accepted()]
    grown = [b / a for a, b in zip(sizes, sizes[1:], strict=False)]
    assert max(grown) <= 1.5 + 1e-9 and grown[0] > 1.49
    harsh, _ = watch(LONG, first_step=9.0, dfactor=0.9)
    first = [dt for _, dt, accepted in harsh.attempts if not accepted][:10]
    assert min(b / a for a, b in zip(first, first[1:], strict=False)) > 0.9 - 1e-9


def test_max_num_steps_is_the_whole_solves():
    """And the failure can be caught as torchdiffeq's is."""
    with pytest.raises(AssertionError, match="cap of 3 steps") as caught:
        watch(LONG, max_num_steps=3)
    assert isinstance(caught.value, SolverError)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_dtype_is_that_of_the_times_callbacks_see(dtype):
    seen = []

    class Listening(Watched):
        def callback_step(self, t0, y0, dt):
            seen.append((t0.dtype, dt.dtype))

    odeint(Listening(), start(), FORWARDS, options={"dtype": dtype})
    assert set(seen) == {(dtype, dtype)}


@pytest.mark.parametrize("state", ["tensor", "tuple", "complex"])
def test_a_norm_sees_the_state_as_the_field_does(state):
    """A norm a thousand times as large asks for more steps, and one of the first entry alone
    forgets the others.
    """
    seen = []
    y0 = {
        "tensor": start(4).view(2, 2),
        "tuple": (start(4).view(2, 2), start(3)),
        "complex": torch.ones(2, dtype=torch.complex128),
    }[state]

    def f(t, y):
        if state == "tuple":
            return -y[0], torch.cos(20 * t) * y[1]
        return spiral(t, y) if state == "complex" else decay(t, y)

    def norm(scaled, factor=1.0):
        seen.append(scaled)
        first = scaled[0] if state == "tuple" else scaled
        return factor * first.abs().square().mean().sqrt()

    def steps(**options):
        return len(watch(LONG, f, y0=y0, **options)[0].accepted())

    ours, thousand = steps(norm=norm), steps(norm=lambda x: norm(x, 1000.0))
    assert thousand > ours
    if state != "complex":  # whose parts the usual norm measures each by itself
        assert steps() > ours if state == "tuple" else steps() == ours
    entries = seen[0] if state == "tuple" else (seen[0],)
    wanted = y0 if state == "tuple" else (y0,)
    assert [(e.shape, e.dtype) for e in entries] == [(y.shape, y.dtype) for y in wanted]


@pytest.mark.parametrize("method", ADAPTIVE)
def test_func_is_never_called_outside(method):
    for t in TIMES.values():
        watched, _ = watch(t, method=method, tol=1e-3)
        assert min(watched.times) >= 0.0 and max(watched.times) <= 2.0


def test_zero_atol_is_taken():
    """Where the state stays away from zero, as torchdiffeq does."""
    y = odeint(decay, torch.ones(2, dtype=DTYPE), FORWARDS, atol=0.0, rtol=1e-8)
    torch.testing.assert_close(y[:, 0], torch.exp(-torch.sin(FORWARDS)), rtol=1e-6, atol=0)


def test_tolerances_hold_entry_by_entry():
    """What is asked of one entry alone costs about what it costs for all of them."""
    loose, tight = watch(LONG, tol=1e-3), watch(LONG, tol=1e-9)
    mixed = watch(LONG, tol=torch.tensor([1e-3, 1e-9, 1e-3], dtype=DTYPE))
    steps = [len(each[0].accepted()) for each in (loose, mixed, tight)]
    assert steps[0] < steps[1] <= steps[2]


@pytest.mark.parametrize("method", ADAPTIVE)
def test_evaluations_are_those_that_are_counted(method):
    """The field's own counter and the core's: nothing is captured, cached or called in secret."""
    field, calls = Field(), []
    field.register_forward_pre_hook(lambda *_: calls.append(1))
    odeint(field, start(), FORWARDS, rtol=1e-5, atol=1e-5, method=method)
    solution = Solver(method, 1e-5, 1e-5)(Field(), start(), FORWARDS)
    assert field.calls == len(calls) == solution.stats.forward.nfe


def test_dense_output_takes_the_options_too():
    watched = Watched()
    odeint_dense(watched, start(), 0.0, pi, options={"max_step": 0.1})
    assert max(dt for _, dt in watched.accepted()) <= 0.1 + 1e-12
