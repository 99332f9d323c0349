"""Callbacks: which are called, in which order, and with what."""

from __future__ import annotations

import warnings

import pytest
import torch
from support.ode.drop_in_cases import (
    ADAPTIVE,
    DTYPE,
    FIXED,
    FORWARDS,
    SCIPY,
    TIMES,
    Field,
    decay,
    start,
)
from torch import nn

from node_runner.ode.torchdiffeq import odeint, odeint_adjoint

NAMES = ("callback_step", "callback_accept_step", "callback_reject_step")
LONG = torch.tensor([0.0, 6.0], dtype=DTYPE)


class Listening(nn.Module):
    """A field with callbacks that keep (name, t0, y0, dt)."""

    def __init__(self, f=decay, names=NAMES, suffix=""):
        super().__init__()
        self.f, self.heard = f, []
        for name in names:
            setattr(self, name + suffix, self.listener(name))

    def listener(self, name):
        return lambda t0, y0, dt: self.heard.append((name, t0, y0, dt))

    def forward(self, t, y):
        return self.f(t, y)

    def names(self):
        return [name for name, *_ in self.heard]


@pytest.mark.parametrize("direction", TIMES)
@pytest.mark.parametrize("method", ADAPTIVE)
def test_an_attempt_is_announced_and_then_judged(method, direction):
    """Steps follow each other from end to end; dt is positive either way, as there."""
    field, t = Listening(lambda t, y: decay(4 * t, y)), TIMES[direction]
    odeint(field, start(), t, method=method, rtol=1e-4, atol=1e-4, options={"first_step": 1.5})
    announced, judged = field.heard[::2], field.heard[1::2]
    assert {name for name, *_ in announced} == {"callback_step"}
    assert {name for name, *_ in judged} == set(NAMES[1:])
    sign, now = (1 if direction == "forwards" else -1), t[0].item()
    for (_, t0, y0, dt), (name, *same) in zip(announced, judged, strict=True):
        assert same[0] == t0 and torch.equal(same[1], y0) and same[2] == dt
        assert t0.item() == pytest.approx(now, abs=1e-12) and dt > 0 and t0.dim() == dt.dim() == 0
        now += sign * dt.item() if name == "callback_accept_step" else 0.0
    assert now == pytest.approx(t[-1].item())


@pytest.mark.parametrize("direction", TIMES)
@pytest.mark.parametrize("method", FIXED)
def test_fixed_steps_are_announced(method, direction):
    field = Listening(names=NAMES[:1])
    chosen = {"max_iters": 60} if "adams" in method else None  # steps of 1 are long ones
    odeint(field, start(), TIMES[direction], method=method, options=chosen)
    t = TIMES[direction]
    torch.testing.assert_close(torch.stack([t0 for _, t0, *_ in field.heard]), t[:-1])
    torch.testing.assert_close(torch.stack([dt for *_, dt in field.heard]), t.diff().abs())


@pytest.mark.parametrize("method", ["dopri5", "rk4"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.complex64])
def test_callbacks_see_states_as_the_field_does(method, dtype):
    field = Listening(lambda t, s: tuple(decay(t, y) for y in s), names=NAMES[:1])
    y0 = (torch.ones(2, 1, dtype=dtype), torch.ones(3, dtype=dtype))
    odeint(field, y0, FORWARDS, method=method)
    for _, _, state, _ in field.heard:
        assert [(y.shape, y.dtype) for y in state] == [(y.shape, dtype) for y in y0]


@pytest.mark.parametrize(
    "method, named",
    [
        ("rk4", "callback_accept_step and callback_reject_step"),
        ("scipy_solver", "callback_step and callback_accept_step and callback_reject_step"),
    ],
)
def test_callbacks_that_are_never_called_are_warned_of(method, named):
    if method == SCIPY:
        pytest.importorskip("scipy", reason="SciPy is not installed")
    field = Listening()
    with pytest.warns(UserWarning, match=named) as warned:
        odeint(field, start(), FORWARDS, method=method)
    assert [each.filename for each in warned] == [__file__]
    assert set(field.names()) <= {"callback_step"}


@pytest.mark.parametrize("method", ["dopri5", "rk4", "trapezoid"])
def test_the_adjoint_has_callbacks_of_its_own(method):
    """They see y in the backward solve alone, against time."""
    names = NAMES if method == "dopri5" else NAMES[:1]
    field = Listening(Field(1), names, "_adjoint")
    ys = odeint_adjoint(field, start(1), FORWARDS, method=method)
    assert not field.heard
    ys[-1].sum().backward()
    assert set(names[:2]) <= set(field.names())
    times = [t0.item() for name, t0, *_ in field.heard if name == "callback_step"]
    assert times == sorted(times, reverse=True) and times[0] == 2.0
    for _, _, state, dt in field.heard:
        assert state.shape == (1,) and dt > 0


def test_callbacks_do_not_change_the_solve():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        silent = odeint(decay, start(), LONG)
        assert torch.equal(silent, odeint(Listening(), start(), LONG))
