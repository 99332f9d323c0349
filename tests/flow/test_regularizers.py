"""Regularizers: their densities, and their integrals along a path."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from node_runner.fields import MLP
from node_runner.flow import CNF, Exact, Rademacher, divergence_and_vjps
from node_runner.flow.regularizers import (
    L1,
    L2,
    Jacobian,
    Kinetic,
    PathPoint,
    TotalDerivative,
)
from node_runner.flow.regularizers.protocol import total_derivative
from node_runner.ode import Solver

ENDS = 0.0, 0.8
SOLVER = Solver("dopri8", rtol=1e-10, atol=1e-10)
COSTS = {
    "kinetic": Kinetic(),
    "jacobian": Jacobian(),
    "total_derivative": TotalDerivative(),
    "l1": L1(),
    "l2": L2(),
}


def local(draw, *event, probes=1):
    """A point with everything drawn."""
    dx, change = draw(4, *event), draw(4, *event)
    return PathPoint(draw(), draw(4, *event), dx, draw(probes, 4, *event), lambda: change)


class Linear(nn.Module):
    """f(t, x) = A x."""

    def __init__(self, a):
        super().__init__()
        self.a = nn.Parameter(a)

    def forward(self, t, x):
        return x @ self.a.T


FORMULAS = {
    "kinetic": lambda at: 0.5 * at.dx.square(),
    "total_derivative": lambda at: at.total_derivative().square(),
    "l1": lambda at: at.dx.abs(),
}


@pytest.mark.parametrize("event", [(3,), (2, 2, 2)], ids=str)
@pytest.mark.parametrize("name", FORMULAS)
def test_a_density_is_a_mean_over_dimensions(name, event, draw):
    at = local(draw, *event)
    expected = torch.stack([one.mean() for one in FORMULAS[name](at)])
    torch.testing.assert_close(COSTS[name](at), expected, rtol=1e-14, atol=0)


def test_the_square_of_the_speed_is_twice_the_kinetic_energy(draw):
    at = local(draw, 2, 2, 2)
    torch.testing.assert_close(L2()(at).square(), 2 * Kinetic()(at), rtol=1e-14, atol=0)


def test_the_speed_of_a_flow_at_rest_has_a_gradient():
    """A last layer of zeros, as RNODE starts with, must not make it NaN."""
    dx = torch.zeros(2, 3, requires_grad=True)
    L2()(PathPoint(dx.new_zeros(()), dx, dx, dx[None], lambda: dx)).sum().backward()
    assert dx.grad.isfinite().all()


@pytest.mark.parametrize("event", [(3,), (2, 2, 2)], ids=str)
def test_jacobian_density_is_the_frobenius_norm_over_dimensions(event, draw):
    """With the exact probes, for f = A x: |A|_F^2 / D whatever the sample."""
    x = draw(4, *event)
    d = x[0].numel()
    a = draw(d, d)

    def f(t, x):
        return (x.flatten(1) @ a.T).view(x.shape)

    t = draw()
    found = divergence_and_vjps(f, t, x, Exact().probes(x))
    cost = Jacobian()(PathPoint(t, x, found.dx, found.vjps, None))
    torch.testing.assert_close(cost, (a.square().sum() / d).expand(4), rtol=1e-13, atol=0)


def test_jacobian_density_is_unbiased_with_random_probes(draw):
    """Within 4 standard errors over 20,000 probes."""
    a, x = draw(3, 3), draw(1, 3).expand(20_000, 3)
    found = divergence_and_vjps(lambda t, x: x @ a.T, draw(), x, Rademacher().probes(x))
    cost = Jacobian()(PathPoint(draw(), x, found.dx, found.vjps, None))
    assert (cost.mean() - a.square().sum() / 3).abs() < 4 * cost.std() / 20_000**0.5


@pytest.mark.parametrize("cost", COSTS.values(), ids=COSTS)
def test_weight_is_the_trainers_business(cost, draw):
    """It multiplies the cost in the loss, not the density."""
    at = local(draw, 3, probes=2)
    assert torch.equal(type(cost)(weight=7.0)(at), cost(at))


def linear_flow(draw, regularizers=COSTS, solver=SOLVER):
    return CNF(Linear(draw(3, 3)), solver, Exact(), regularizers), draw(5, 3)


def test_kinetic_cost_of_a_linear_field(draw):
    """int 1/2 mean (A e^{At} x)^2 dt, by Gauss and Legendre's rule on 20 points: exact far beyond
    rounding for an entire function.
    """
    flow, x = linear_flow(draw)
    a = flow.field.a.detach()
    numpy = pytest.importorskip("numpy")
    nodes, weights = map(torch.from_numpy, numpy.polynomial.legendre.leggauss(20))
    half = (ENDS[1] - ENDS[0]) / 2
    expected = sum(
        w * half * 0.5 * (x @ (a @ torch.matrix_exp(a * (half * (n + 1)))).T).square().mean(1)
        for n, w in zip(nodes, weights, strict=True)
    )
    found = flow.transport(x, t0=0.0, t1=0.8).costs["kinetic"]
    torch.testing.assert_close(found.detach(), expected, rtol=1e-7, atol=0)


def test_the_total_derivative_is_that_along_the_path(draw):
    """d f(t, x(t)) / dt by finite differences along the solution, for a field that knows the
    time; in its own gradient too.
    """
    field, x, h = MLP(3, (8,)).double(), draw(4, 3), 1e-4
    t = torch.tensor(0.3, dtype=torch.float64)
    found = total_derivative(field, t, x, field(t, x))
    ahead, behind = (SOLVER(field, x, [0.3, 0.3 + s]).final for s in (h, -h))
    expected = (field(t + h, ahead) - field(t - h, behind)) / (2 * h)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-8)
    assert torch.autograd.gradcheck(
        lambda x: total_derivative(field, t, x, field(t, x)), x.requires_grad_()
    )


def test_a_straight_steady_path_has_no_total_derivative(draw):
    class Steady(nn.Module):
        def forward(self, t, x):
            return torch.ones_like(x)

    flow = CNF(Steady(), SOLVER, Exact(), {"total_derivative": TotalDerivative()})
    assert not flow.transport(draw(4, 3)).costs["total_derivative"].any()


def test_jacobian_cost_of_a_linear_field(draw):
    """A constant density: |A|_F^2 / D times the time."""
    flow, x = linear_flow(draw)
    expected = flow.field.a.square().sum() / 3 * (ENDS[1] - ENDS[0])
    found = flow.transport(x, t0=0.0, t1=0.8).costs["jacobian"]
    torch.testing.assert_close(found, expected.expand(5), rtol=1e-12, atol=0)


def test_costs_are_positive_whichever_way_the_path_is_walked(draw):
    flow, x = linear_flow(draw)
    there = flow.transport(x, t0=0.0, t1=0.8)
    back = flow.transport(there.z, t0=0.8, t1=0.0)
    for name in COSTS:
        assert (there.costs[name] > 0).all()
        rtol = 1e-2 if name == "l1" else 1e-6  # its density has kinks
        torch.testing.assert_close(back.costs[name], there.costs[name], rtol=rtol, atol=0)


@pytest.mark.parametrize("method", ["dopri5", "bosh3", "dopri8"])
def test_costs_take_no_step_of_their_own(method, draw):
    """The evaluations are those of the flow alone."""
    solver = Solver(method, rtol=1e-5, atol=1e-5)
    flow, x = linear_flow(draw, solver=solver)
    bare = CNF(flow.field, solver, Exact())
    costly, plain = flow.transport(x, t0=0.0, t1=3.0), bare.transport(x, t0=0.0, t1=3.0)
    assert costly.stats.forward == plain.stats.forward
    torch.testing.assert_close(costly.z, plain.z, rtol=1e-10, atol=1e-12)


def test_costs_have_a_name_and_one_number_a_sample(draw):
    flow, x = linear_flow(draw)
    costs = flow.transport(x, t0=0.0, t1=0.8).costs
    assert list(costs) == list(COSTS)
    assert all(cost.shape == (5,) for cost in costs.values())


def test_costs_reach_the_parameters(draw):
    """The gradient of |A|_F^2 T / D is 2 A T / D."""
    flow, x = linear_flow(draw, {"jacobian": Jacobian()})
    flow.transport(x, t0=0.0, t1=0.8).costs["jacobian"].mean().backward()
    a = flow.field.a
    torch.testing.assert_close(a.grad, 2 * a.detach() * ENDS[1] / 3, rtol=1e-9, atol=1e-12)
