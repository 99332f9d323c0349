"""Gradients of gradients: by direct and by replay, and refused by the adjoint."""

from __future__ import annotations

import pytest
import torch
from support.ode.problems import Net

from node_runner.ode import Adjoint, Direct, Replay, Solver

TWICE = {"direct": Direct(), "replay": Replay(), "bounded": Replay(2)}
twice = pytest.mark.parametrize("gradient", TWICE.values(), ids=TWICE)


def parametrised(solver):
    def run(y0, w, b):
        def f(t, y):
            return torch.tanh(w @ y + b * t)

        return solver(f, y0, [0.0, 0.33, 1.0], params=(w, b)).ys

    return run


@twice
@pytest.mark.parametrize(
    "options",
    [{"method": "rk4", "step_size": 0.25}, {"method": "dopri5", "rtol": 1e-9, "atol": 1e-9}],
    ids=["fixed", "adaptive"],
)
def test_second_derivatives_are_those_of_differences(gradient, options, draw):
    """Outputs inside steps included."""
    run = parametrised(Solver(**options, gradient=gradient))
    inputs = tuple(x.requires_grad_() for x in (draw(2), draw(2, 2), draw(2)))
    assert torch.autograd.gradgradcheck(run, inputs, eps=1e-5, atol=1e-5, fast_mode=True)


def hessian_vector(gradient, y_of):
    """H v of a loss in the parameters of a net, where y0 is made from them too."""
    torch.manual_seed(0)
    net = Net(3)
    params = tuple(net.parameters())
    solver = Solver("dopri5", 1e-8, 1e-8, gradient=gradient)
    final = solver(net, y_of(net), [0.0, 0.5, 1.0]).ys[1:]
    first = torch.autograd.grad(final.square().sum(), params, create_graph=True)
    product = sum((g * torch.ones_like(g)).sum() for g in first)
    second = torch.autograd.grad(product, params)
    return [g.detach() for g in first], second


@pytest.mark.parametrize(
    "y_of",
    [
        lambda net: torch.linspace(-1, 1, 3, dtype=torch.float64),
        lambda net: net(torch.zeros((), dtype=torch.float64), torch.ones(3, dtype=torch.float64)),
    ],
    ids=["given", "made by the same net"],
)
def test_replay_differentiates_twice_as_direct_does(y_of):
    """Nothing is counted twice where y0 depends on the parameters as well."""
    expected, expected_second = hessian_vector(Direct(), y_of)
    found, found_second = hessian_vector(Replay(), y_of)
    for a, b in zip((*found, *found_second), (*expected, *expected_second), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


def test_replay_differentiates_a_penalty_on_its_gradient(draw):
    """As in training with ``create_graph``: the loss, and the square of its gradient in y0."""
    net, y0 = Net(3), draw(3)

    def trained(gradient):
        start = y0.clone().requires_grad_()
        final = Solver("tsit5", 1e-8, 1e-8, gradient=gradient)(net, start, [0.0, 1.0]).final
        slope = torch.autograd.grad(final.sum(), start, create_graph=True)[0]
        return torch.autograd.grad(final.sum() + slope.square().sum(), tuple(net.parameters()))

    for a, b in zip(trained(Replay()), trained(Direct()), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


def test_the_adjoint_refuses_by_name_only_where_it_is_differentiated_again(draw):
    net, y0 = Net(3), draw(3).requires_grad_()
    final = Solver(gradient=Adjoint())(net, y0, [0.0, 1.0]).final
    slope = torch.autograd.grad(final.square().sum(), y0, create_graph=True)[0]
    expected = torch.autograd.grad(
        Solver(gradient=Direct())(net, y0, [0.0, 1.0]).final.square().sum(), y0
    )[0]
    torch.testing.assert_close(slope.detach(), expected, rtol=1e-3, atol=1e-4)
    with pytest.raises(NotImplementedError, match=r"Adjoint\(\).*Direct\(\) and Replay\(\)"):
        slope.sum().backward()


@pytest.mark.parametrize("wanted", ["ts", "y0"])
def test_second_derivatives_of_a_solve_whose_times_move_are_refused(wanted, draw):
    y0, ts = draw(3).requires_grad_(), torch.tensor([0.0, 1.0], requires_grad=True)
    final = Solver()(Net(3), y0, ts).final
    (first,) = torch.autograd.grad(
        final.square().sum(), {"ts": ts, "y0": y0}[wanted], create_graph=True
    )
    with pytest.raises(NotImplementedError, match=r"second derivatives .* ts requires a gradient"):
        first.sum().backward()
