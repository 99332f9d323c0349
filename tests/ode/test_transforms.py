"""torch.func, forward-mode derivatives and batched gradients: right, or refused by name."""

from __future__ import annotations

import math

import pytest
import torch
import torch.autograd.forward_ad as forward_ad

from node_runner.ode import Adjoint, Direct, Replay, Solver, torchdiffeq

DOUBLE = torch.float64
Y0 = torch.tensor([0.5, 1.0, 2.0], dtype=DOUBLE)
HOW = {"rk4": {"step_size": 0.1}, "bosh3": {"rtol": 1e-6, "atol": 1e-6}}
WITHOUT_GRAPH = {"replay": Replay(), "adjoint": Adjoint()}


def square(t, y):
    """y' = -y^2: y(1) = y0 / (1 + y0)."""
    return -y * y


def end(method, gradient=None):
    return lambda y: Solver(method, gradient=gradient, **HOW[method])(square, y, [0.0, 1.0]).final


def total(method, gradient=None):
    return lambda y: end(method, gradient)(y).sum()


SLOPE = 1 / (1 + Y0) ** 2
CASES = {
    "grad": (lambda m, g=None: torch.func.grad(total(m, g))(Y0), SLOPE),
    "jacrev": (lambda m, g=None: torch.func.jacrev(end(m, g))(Y0), torch.diag(SLOPE)),
    "jacfwd": (lambda m, g=None: torch.func.jacfwd(end(m, g))(Y0), torch.diag(SLOPE)),
    "jvp": (lambda m, g=None: torch.func.jvp(end(m, g), (Y0,), (Y0,))[1], SLOPE * Y0),
    "hessian": (
        lambda m, g=None: torch.func.hessian(total(m, g))(Y0),
        torch.diag(-2 / (1 + Y0) ** 3),
    ),
    "vmap": (lambda m, g=None: torch.func.vmap(end(m, g))(Y0[:, None])[:, 0], Y0 / (1 + Y0)),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("method", HOW)
def test_transforms_of_a_direct_solve(method, case):
    transform, expected = CASES[case]
    if case == "vmap" and method != "rk4":
        with pytest.raises(NotImplementedError, match=r"vmap .* fixed-step method"):
            transform(method)
    else:
        torch.testing.assert_close(transform(method), expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("gradient", WITHOUT_GRAPH.values(), ids=WITHOUT_GRAPH)
def test_transforms_of_other_strategies_name_direct(gradient, case):
    with pytest.raises(NotImplementedError, match=r"torch.func .* gradient=Direct\(\)"):
        CASES[case][0]("rk4", gradient)


def test_vmap_over_a_tensor_that_f_captures():
    def final(w):
        return Solver("rk4", step_size=0.1)(lambda t, y: w * y, torch.ones(1), [0.0, 1.0]).final[0]

    w = torch.tensor([0.1, 0.2])
    torch.testing.assert_close(torch.func.vmap(final)(w), w.exp(), rtol=1e-5, atol=0)


@pytest.mark.parametrize("method", ["rk4", "explicit_adams"])
def test_vmap_over_fixed_steps_of_the_drop_in(method):
    def final(y):
        t, options = torch.tensor([0.0, 1.0], dtype=DOUBLE), {"step_size": 0.1, "max_order": 4}
        options = options if method == "explicit_adams" else {"step_size": 0.1}
        return torchdiffeq.odeint(square, y, t, method=method, options=options)[-1]

    found = torch.func.vmap(final)(Y0[:, None])[:, 0]
    torch.testing.assert_close(found, Y0 / (1 + Y0), rtol=0, atol=1e-2)


def tangent(solve, what):
    """d/ds of y(1) for y' = w y where w, y0 or the end moves as s, at w = 0.5 and y0 = 1."""
    values = {"w": 0.5, "y0": [1.0], "ts": [0.0, 1.0]}
    with forward_ad.dual_level():
        given = {name: torch.tensor(value, dtype=DOUBLE) for name, value in values.items()}
        moves = torch.tensor([0.0, 1.0]).double() if what == "ts" else torch.ones_like(given[what])
        given[what] = forward_ad.make_dual(given[what], moves)
        y = solve(lambda t, y: given["w"] * y, given["y0"], given["ts"])
        return forward_ad.unpack_dual(y).tangent


def right(what):
    return torch.tensor([math.exp(0.5) * (0.5 if what == "ts" else 1.0)], dtype=DOUBLE)


@pytest.mark.parametrize("graph", [True, False], ids=["grad", "no_grad"])
@pytest.mark.parametrize("method", HOW)
@pytest.mark.parametrize("what", ["w", "y0", "ts"])
def test_forward_mode_of_a_direct_solve(what, method, graph):
    with torch.set_grad_enabled(graph):
        found = tangent(lambda f, y0, ts: Solver(method, **HOW[method])(f, y0, ts).final, what)
    torch.testing.assert_close(found, right(what), rtol=1e-4, atol=0)


@pytest.mark.parametrize("method", ["dopri5", "rk4", "trapezoid", "implicit_adams"])
@pytest.mark.parametrize("what", ["w", "y0", "ts"])
def test_forward_mode_of_the_drop_in(what, method):
    options = None if method == "dopri5" else {"step_size": 0.05}

    def solve(f, y0, ts):
        return torchdiffeq.odeint(f, y0, ts, method=method, options=options)[-1]

    torch.testing.assert_close(tangent(solve, what), right(what), rtol=1e-3, atol=0)


@pytest.mark.parametrize("what", ["w", "y0", "ts"])
@pytest.mark.parametrize("gradient", WITHOUT_GRAPH.values(), ids=WITHOUT_GRAPH)
def test_forward_mode_of_other_strategies_names_direct(gradient, what):
    solver = Solver(gradient=gradient)
    with pytest.raises(NotImplementedError, match=r"forward-mode .* gradient=Direct\(\)"):
        tangent(lambda f, y0, ts: solver(f, y0, ts).final, what)


@pytest.mark.parametrize("what", ["w", "y0"])
@pytest.mark.parametrize("of", ["adjoint", "scipy", "event"])
def test_forward_mode_that_is_not_there_is_refused(of, what):
    def solve(f, y0, ts):
        if of == "adjoint":
            return torchdiffeq.odeint_adjoint(f, y0, ts, adjoint_params=())[-1]
        if of == "scipy":
            return torchdiffeq.odeint(f, y0, ts, method="scipy_solver")[-1]
        return Solver().event(f, y0, 0.0, lambda t, y: y[0] - 1.5, t_end=2.0).state

    if of == "scipy":
        pytest.importorskip("scipy")
    with pytest.raises(NotImplementedError, match="forward-mode"):
        tangent(solve, what)


@pytest.mark.parametrize("method", HOW)
def test_batched_gradients(method):
    def batched(gradient):
        y0 = Y0.clone().requires_grad_()
        y = end(method, gradient)(y0)
        eye = torch.eye(3, dtype=DOUBLE)
        return torch.autograd.grad(y, y0, eye, is_grads_batched=True)[0]

    for gradient in (Direct(), Replay()):
        torch.testing.assert_close(batched(gradient), torch.diag(SLOPE), rtol=1e-3, atol=1e-3)
    with pytest.raises(NotImplementedError, match=r"is_grads_batched=True .* gradient=Direct\(\)"):
        batched(Adjoint())
