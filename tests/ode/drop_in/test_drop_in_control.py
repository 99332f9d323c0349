"""Options of adaptive methods: those of ``Solver``, whose laws are in test_step_options.py."""

from __future__ import annotations

import pytest
import torch
from support.ode.drop_in_cases import ADAPTIVE, DTYPE, FORWARDS, TIMES, Field, decay, spiral, start

from node_runner.ode import Solver, SolverError
from node_runner.ode.torchdiffeq import odeint, odeint_adjoint, odeint_dense

LONG = torch.tensor([0.0, 10.0], dtype=DTYPE)
STOPS = torch.tensor([-1.0, 0.123, 0.3, 1.7, 5.0], dtype=DTYPE)


class Watched:
    """A field that records the (t0, dt, accepted) of every attempt."""

    def __init__(self, f=decay):
        self.f, self.attempts = f, []

    def __call__(self, t, y):
        return self.f(t, y)

    def callback_accept_step(self, t0, y0, dt):
        self.attempts.append((t0.item(), dt.item(), True))

    def callback_reject_step(self, t0, y0, dt):
        self.attempts.append((t0.item(), dt.item(), False))


def watch(t=FORWARDS, f=decay, method="dopri5", tol=1e-4, y0=None, **options):
    watched = Watched(f)
    y0 = start() if y0 is None else y0
    ys = odeint(watched, y0, t, rtol=tol, atol=tol, method=method, options=options)
    return watched.attempts, ys


def strict(y):
    return 1e3 * y.square().mean().sqrt()


OPTIONS = {
    "first_step": ("first_step", 0.01),
    "min_step": ("min_step", 0.7),
    "max_step": ("max_step", 0.05),
    "safety": ("safety", 0.3),
    "ifactor": ("max_factor", 1.5),
    "dfactor": ("min_factor", 0.99),
    "step_t": ("stops", STOPS),
    "jump_t": ("jumps", STOPS),
    "norm": ("error_norm", strict),
}


@pytest.mark.parametrize("direction", TIMES)
@pytest.mark.parametrize("option", OPTIONS)
def test_an_option_is_that_of_the_solver(option, direction):
    """The same attempts to the last bit, which are others than without it."""
    (ours, value), t = OPTIONS[option], TIMES[direction]
    first = {} if option == "first_step" else {"first_step": 1e-3 if option == "ifactor" else 1.5}
    usual, _ = watch(t, **first)
    for method in ADAPTIVE:
        seen = []

        def listen(event, t, y, dt, seen=seen):
            if event != "step":
                seen.append((t, abs(dt), event == "accept_step"))

        solver = Solver(method, 1e-4, 1e-4, on_attempt=listen, **first, **{ours: value})
        expected = solver(decay, start(), t).ys
        attempts, ys = watch(t, method=method, **first, **{option: value})
        assert torch.equal(ys, expected) and attempts == seen
        assert method != "dopri5" or attempts != usual


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

    field, options = Two(), {"jump_t": torch.tensor([1.0])}
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
        return sum(accepted for *_, accepted in watch(LONG, f, tol=1e-6, y0=y0, **options)[0])

    ours, thousand = steps(norm=norm), steps(norm=lambda x: norm(x, 1000.0))
    assert thousand > ours
    if state != "complex":  # whose parts the usual norm measures each by itself
        assert steps() > ours if state == "tuple" else steps() == ours
    entries = seen[0] if state == "tuple" else (seen[0],)
    wanted = y0 if state == "tuple" else (y0,)
    assert [(e.shape, e.dtype) for e in entries] == [(y.shape, y.dtype) for y in wanted]


def test_zero_atol_is_taken():
    """Where the state stays away from zero, as torchdiffeq does."""
    y = odeint(decay, torch.ones(2, dtype=DTYPE), FORWARDS, atol=0.0, rtol=1e-8)
    torch.testing.assert_close(y[:, 0], torch.exp(-torch.sin(FORWARDS)), rtol=1e-6, atol=0)


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
    odeint_dense(watched, start(), 0.0, 3.0, options={"max_step": 0.1})
    assert max(dt for _, dt, _ in watched.attempts) <= 0.1 + 1e-12
