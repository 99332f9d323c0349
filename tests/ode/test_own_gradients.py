"""Fields that call autograd themselves: energies, Hamiltonians, FFJORD's divergence."""

from __future__ import annotations

import math

import pytest
import torch

from node_runner.ode import Adjoint, Direct, Replay, Solver, torchdiffeq

DOUBLE = torch.float64
TIMES = torch.tensor([0.0, 1.0], dtype=DOUBLE)
GRADIENTS = {"direct": Direct(), "replay": Replay(), "bounded": Replay(2), "adjoint": Adjoint()}
by_every_gradient = pytest.mark.parametrize("gradient", GRADIENTS.values(), ids=GRADIENTS)


def descent(t, y):
    """y' = -y as the gradient of -|y|^2 / 2; y is not marked."""
    return torch.autograd.grad(-y.square().sum() / 2, y, create_graph=True)[0]


def marking(t, y):
    """y' = -y by f, which marks its arguments as FFJORD's field does."""
    with torch.enable_grad():
        y.requires_grad_(True)
        t.requires_grad_(True)
        rate = -y * torch.cos(0 * t)
        slope = torch.autograd.grad(rate.sum(), y, create_graph=True)[0]
    return rate + 0 * slope


def start(requires_grad=True):
    return torch.tensor([1.0, 2.0], dtype=DOUBLE, requires_grad=requires_grad)


def assert_decayed(y0, y, atol=1e-4):
    torch.testing.assert_close(y.detach(), math.exp(-1) * y0.detach(), rtol=0, atol=atol)
    if y.requires_grad and y0.requires_grad:
        g = torch.autograd.grad(y.sum(), y0)[0]
        torch.testing.assert_close(g, torch.full_like(y0, math.exp(-1)), rtol=0, atol=atol)


@pytest.mark.parametrize("f", [descent, marking])
@pytest.mark.parametrize("method", ["bosh3", "dopri5", "rk4"])
@by_every_gradient
def test_a_field_may_take_a_gradient_in_its_state(f, method, gradient):
    how = {"step_size": 0.1} if method == "rk4" else {"rtol": 1e-6, "atol": 1e-6}
    for requires_grad in (True, False):
        y0 = start(requires_grad)
        assert_decayed(y0, Solver(method, gradient=gradient, **how)(f, y0, [0.0, 1.0]).final)


@by_every_gradient
def test_dense_output_and_events_of_such_a_field(gradient):
    y0, solver = start(), Solver(rtol=1e-7, atol=1e-7, gradient=gradient)
    assert_decayed(y0, solver.dense(descent, y0, 0.0, 2.0)(1.0))
    event = solver.event(descent, y0, 0.0, lambda t, y: y[0] - math.exp(-1), t_end=9.0)
    assert event.found and abs(event.t.item() - 1) < 1e-5


@pytest.mark.parametrize("f", [descent, marking])
@pytest.mark.parametrize("method", ["dopri5", "rk4", "implicit_adams", "trapezoid", "radauIIA5"])
@pytest.mark.parametrize("adjoint", [False, True], ids=["odeint", "odeint_adjoint"])
def test_such_a_field_in_the_drop_in(f, method, adjoint):
    options = None if method == "dopri5" else {"step_size": 0.1}
    how = {"rtol": 1e-6, "atol": 1e-6, "method": method, "options": options}
    y0 = start()
    if adjoint:
        y = torchdiffeq.odeint_adjoint(f, y0, TIMES, adjoint_params=(), **how)
    else:
        y = torchdiffeq.odeint(f, y0, TIMES, **how)
    assert_decayed(y0, y[-1], atol=1e-3)


@pytest.mark.parametrize("without", [torch.no_grad, torch.inference_mode])
def test_such_a_field_is_solved_where_gradients_are_disabled(without):
    with without():
        y = Solver(rtol=1e-6, atol=1e-6)(descent, start(False), [0.0, 1.0]).final
        assert not y.requires_grad
        assert_decayed(start(False), y.clone())


def test_other_errors_of_f_are_raised_as_they_are():
    def f(t, y):
        raise RuntimeError("a mistake of mine")

    with pytest.raises(RuntimeError, match="a mistake of mine"):
        Solver()(f, start(), [0.0, 1.0])
