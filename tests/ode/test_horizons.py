"""Intervals far longer than the first steps: a step is measured by the time where it stands."""

from __future__ import annotations

from math import log

import pytest
import torch
from support.ode.problems import ADAPTIVE, make_solver

from node_runner.ode import Adjoint, Direct, Replay, Solver
from node_runner.ode.torchdiffeq import odeint, odeint_adjoint, odeint_event

STRATEGIES = [Direct(), Replay(), Replay(2), Adjoint()]
HIGH_ORDER = [n for n in ADAPTIVE if n not in ("adaptive_heun", "fehlberg2")]


def early(least):
    """y' = 1 / (|t| + least): y = log(1 + |t| / least), most of it in the first moments."""
    return lambda t, y: 1 / (t.abs() + least) + 0 * y


def kick(t, y):
    """A kick of length 1e-9 that takes y from 0 to 1, and nothing after it."""
    return 1e9 * torch.exp(-1e9 * t) + 0 * y


def zero(dtype=torch.float64):
    return torch.zeros(1, dtype=dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("sign", [1.0, -1.0], ids=["forwards", "backwards"])
@pytest.mark.parametrize("name", HIGH_ORDER)
def test_a_fast_start_of_a_long_interval(name, sign, dtype):
    y = make_solver(name, 1e-5)(early(1e-12), zero(dtype), [0.0, sign * 1e6]).final
    assert sign * y.item() == pytest.approx(log(1e18), rel=1e-4)


@pytest.mark.parametrize("end", [1e7, 1e12])
def test_a_kick_before_a_long_rest(end):
    solution = Solver("tsit5", 1e-6, 1e-6)(kick, zero(), [0.0, end])
    assert solution.final.item() == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize("first_step", [1.0, 1e7])
def test_a_first_step_far_too_large(first_step):
    """Even one at whose end f overflows."""
    for f, end in ((early(1e-12), log(1 + 1e19)), (kick, 1.0)):
        solver = Solver("dopri5", 1e-6, 1e-6, first_step=first_step)
        assert solver(f, zero(), [0.0, 1e7]).final.item() == pytest.approx(end, abs=1e-4)
    decay = Solver("dopri5", 1e-6, 1e-6, first_step=first_step)(
        lambda t, y: -1e9 * y * (1 + torch.expm1(y.abs()) / 1e3), 1 + zero(), [0.0, 1e-6]
    )
    assert abs(decay.final.item()) < 1e-6


@pytest.mark.parametrize("gradient", STRATEGIES, ids=lambda g: type(g).__name__)
def test_gradients_of_a_fast_start(gradient):
    """y(T) = y0 + a log(1 + T / 1e-12)."""
    a = torch.tensor(2.0, dtype=torch.float64, requires_grad=True)
    y0 = zero().requires_grad_()
    solver = Solver("dopri5", 1e-6, 1e-6, gradient=gradient)
    y = solver(lambda t, y: a / (t + 1e-12) + 0 * y, y0, [0.0, 1e6], params=[a]).final
    assert y.item() == pytest.approx(2 * log(1e18), rel=1e-4)
    y.sum().backward()
    assert y0.grad.item() == pytest.approx(1.0)
    assert a.grad.item() == pytest.approx(log(1e18), rel=1e-4)


@pytest.mark.parametrize("solve", [odeint, odeint_adjoint])
@pytest.mark.parametrize("method", ["dopri5", "dopri8", "bosh3", "tsit5"])
def test_the_drop_in_takes_a_fast_start(solve, method):
    t = torch.tensor([0.0, 1e-3, 1e6], dtype=torch.float64)
    more = {"adjoint_params": ()} if solve is odeint_adjoint else {}
    y0 = zero().requires_grad_()
    ys = solve(early(1e-12), y0, t, rtol=1e-5, atol=1e-5, method=method, **more)
    torch.testing.assert_close(ys[:, 0], torch.log1p(t / 1e-12), rtol=1e-4, atol=0)
    ys[-1].sum().backward()
    assert y0.grad.item() == pytest.approx(1.0)


def test_events_and_dense_output_after_a_fast_start():
    solver = Solver("dopri5", 1e-6, 1e-6)
    hit = solver.event(early(1e-12), zero(), 0.0, lambda t, y: y[0] - log(1 + 1e14), t_end=1e7)
    assert hit.t.item() == pytest.approx(100.0, rel=1e-2)
    dense = solver.dense(early(1e-12), zero(), 0.0, 1e7)
    assert dense(1e-6).item() == pytest.approx(log(1 + 1e6), rel=1e-4)
    t, _ = odeint_event(
        early(1e-12),
        zero(),
        torch.tensor(0.0, dtype=torch.float64),
        event_fn=lambda t, y: y[0] - log(1 + 1e14),
        rtol=1e-6,
        atol=1e-6,
    )
    assert t.item() == pytest.approx(100.0, rel=1e-2)
