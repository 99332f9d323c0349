"""Flows of several parts: volumes add, what goes there comes back, sizes are the papers'."""

from __future__ import annotations

from functools import partial
from math import prod

import pytest
import torch

from node_runner.fields import MLP, ConvNet, EncoderDecoder
from node_runner.flow import (
    CNF,
    Chain,
    Exact,
    Gaussian,
    Rademacher,
    multiscale,
    single_scale,
    stacked_cnf,
)
from node_runner.flow.bijections import Flatten, Logit, Squeeze
from node_runner.flow.regularizers import Jacobian, Kinetic
from node_runner.ode import Adjoint, Direct, Replay, Solver

TIGHT = Solver("dopri8", 1e-10, 1e-10)
CNFS = partial(CNF, solver=TIGHT, divergence=Exact())
COSTS = {"kinetic": Kinetic(), "jacobian": Jacobian()}

FLOWS = {
    "logit": lambda: (Logit(0.05), (2, 2, 1)),
    "squeeze": lambda: (Squeeze(), (1, 4, 2)),
    "flatten": lambda: (Flatten((2, 1, 2)), (2, 1, 2)),
    "stack": lambda: (stacked_cnf(CNFS, partial(MLP, hidden=(6,)), dim=3, flows=2), (3,)),
    "multiscale": lambda: (
        multiscale(CNFS, partial(ConvNet, hidden=(3,)), (1, 4, 4), flows=1, scales=2),
        (1, 4, 4),
    ),
    "single scale": lambda: (
        single_scale(CNFS, partial(EncoderDecoder, hidden=(3, 3)), (1, 4, 4)),
        (1, 4, 4),
    ),
}


def made(name, draw):
    """A flow, and data in (0, 1)."""
    flow, shape = FLOWS[name]()
    return flow.double(), torch.sigmoid(draw(3, *shape))


@pytest.mark.parametrize("name", FLOWS)
def test_log_det_is_that_of_the_whole_map(name, draw):
    flow, x = made(name, draw)
    d = x[0].numel()

    def carry(point):
        return flow.transport(point[None]).z[0]

    jacobians = [torch.autograd.functional.jacobian(carry, p).reshape(d, d) for p in x]
    expected = torch.stack([torch.linalg.slogdet(j).logabsdet for j in jacobians])
    found = flow.transport(x).log_det
    torch.testing.assert_close(found.expand(3), expected, rtol=0, atol=1e-8)


@pytest.mark.parametrize("name", FLOWS)
def test_what_goes_there_comes_back(name, draw):
    flow, x = made(name, draw)
    z = flow.transport(x).z
    assert z.numel() == x.numel()
    torch.testing.assert_close(flow.inverse(z), x, rtol=0, atol=1e-8)


def test_squeezed_blocks_become_channels():
    x = torch.arange(16.0).view(1, 1, 4, 4)
    z = Squeeze().transport(x).z
    assert z.shape == (1, 4, 2, 2)
    assert z[0, :, 0, 0].tolist() == [0, 1, 4, 5]


def test_a_multiscale_flow_lets_go_of_half_after_each_scale_but_the_last(draw):
    """What has been let go is not touched by later scales."""
    flow, x = made("multiscale", draw)
    logit, scales = flow.parts
    assert scales.shapes == [(4, 2, 2), (2, 2, 2)]
    first = scales.scales[0].transport(logit.transport(x).z).z
    z = flow.transport(x).z
    assert torch.equal(z[:, :8], first[:, 2:].flatten(1))
    assert not torch.equal(z[:, 8:], first[:, :2].flatten(1))


@pytest.mark.parametrize(
    "sides, scales",
    [((28, 28), 3), ((32, 32), 4), ((64, 64), 5), ((256, 256), 7), ((7, 7), 1), ((12, 48), 2)],
)
def test_scales_go_on_while_a_side_keeps_four_pixels(sides, scales):
    flow = multiscale(CNFS, partial(ConvNet, hidden=(1,)), (1, *sides), flows=1)
    assert len(flow.parts[1].scales) == scales
    assert sum(map(prod, flow.parts[1].shapes[:-1])) // 2 + prod(flow.parts[1].shapes[-1]) == prod(
        sides
    )


@pytest.mark.parametrize(
    "shape, parameters",
    [((1, 28, 28), 800_636), ((3, 32, 32), 1_358_868), ((3, 64, 64), 1_996_116)],
)
def test_multiscale_flows_have_the_parameters_of_the_papers(shape, parameters):
    flow = multiscale(CNFS, ConvNet, shape)
    assert sum(p.numel() for p in flow.parameters()) == parameters


@pytest.mark.parametrize("gradient", [Direct(), Replay(), Adjoint()])
def test_costs_and_evaluations_are_sums_over_the_cnfs(gradient, draw):
    solver = Solver("dopri5", 1e-6, 1e-6, gradient=gradient)
    cnfs = [CNF(MLP(3, (6,)).double(), solver, Exact(), COSTS) for _ in range(3)]
    x = draw(4, 3)
    found = Chain(cnfs).transport(x)
    found.z.square().sum().backward()
    alone, spent = [], 0
    for cnf in cnfs:
        alone.append(cnf.transport(x))
        x = alone[-1].z.detach()
        alone[-1].z.square().sum().backward()
        spent += alone[-1].nfe()["nfe/forward"]
    assert found.nfe()["nfe/forward"] == spent
    assert (found.nfe()["nfe/backward"] > 0) == (not isinstance(gradient, Direct))
    for name in COSTS:
        expected = sum(each.costs[name] for each in alone)
        torch.testing.assert_close(found.costs[name], expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("gradient", [Replay(), Adjoint()])
def test_gradients_of_a_multiscale_flow_agree(gradient, draw):
    found = []
    for strategy in (Direct(), gradient):
        torch.manual_seed(0)
        solver = Solver("dopri5", 1e-8, 1e-8, gradient=strategy)
        cnfs = partial(CNF, solver=solver, divergence=Rademacher(), regularizers=COSTS)
        flow = multiscale(cnfs, partial(ConvNet, hidden=(3,)), (1, 4, 4), flows=1, scales=2)
        flow = flow.double()
        transport = flow.transport(torch.full((2, 1, 4, 4), 0.3).double())
        log_prob = transport.log_prob
        (sum(c.sum() for c in transport.costs.values()) - log_prob.sum()).backward()
        found.append(torch.cat([p.grad.flatten() for p in flow.parameters()]))
    torch.testing.assert_close(found[1], found[0], rtol=0, atol=1e-5 * found[0].abs().max().item())


def test_an_evaluated_flow_shares_its_fields_and_has_no_costs(draw):
    cnfs = partial(CNF, solver=TIGHT, divergence=Gaussian(), regularizers=COSTS, steer=0.5)
    flow = multiscale(cnfs, partial(ConvNet, hidden=(3,)), (1, 4, 4), flows=1, scales=2).double()
    assert set(flow.regularizers) == set(COSTS)
    solver = Solver("rk4", step_size=0.5)
    other = flow.with_solver(solver, Exact())
    assert list(map(id, flow.parameters())) == list(map(id, other.parameters()))
    assert not other.regularizers
    for cnf in (m for m in other.modules() if isinstance(m, CNF)):
        assert (cnf.solver, cnf.divergence, cnf.steer) == (solver, Exact(), 0)
    kept = flow.with_solver(solver)
    assert {type(m.divergence) for m in kept.modules() if isinstance(m, CNF)} == {Gaussian}


def test_steer_draws_the_end_in_training_alone():
    flow = CNF(MLP(2), TIGHT, Exact(), end_time=1.0, steer=0.25)
    ends = [flow.draw_end() for _ in range(200)]
    assert min(ends) < 0.8 and max(ends) > 1.2
    assert all(0.75 <= end <= 1.25 for end in ends)
    assert {flow.eval().draw_end() for _ in range(5)} == {1.0}


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: multiscale(CNFS, ConvNet, (1, 28, 28), scales=4), "scales is 4, .* 28 x 28"),
        (lambda: multiscale(CNFS, ConvNet, (28, 28)), r"shape is \[28, 28\]"),
        (lambda: multiscale(CNFS, ConvNet, (1, 28, 28), flows=0), "flows is 0"),
        (lambda: stacked_cnf(CNFS, MLP, dim=0), "dim is 0"),
        (lambda: single_scale(CNFS, EncoderDecoder, (1, 0, 4)), r"shape is \[1, 0, 4\]"),
        (lambda: single_scale(CNFS, EncoderDecoder, (1, 30, 28)), "30 x 28 .* multiples of 4"),
        (lambda: Logit(0.5), "alpha is 0.5"),
        (lambda: CNF(MLP(2), TIGHT, Exact(), steer=1.0), "steer is 1.0"),
    ],
)
def test_sizes_that_cannot_be_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
