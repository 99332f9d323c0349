"""Gradients of a flow's density, and the probes that stay fixed through a solve."""

from __future__ import annotations

import pytest
import torch
from random_flow import make_flow

from node_runner.flow import CNF, Exact, Gaussian, Rademacher, cnf
from node_runner.flow.regularizers import Jacobian, Kinetic
from node_runner.ode import Adjoint, Direct, Replay, Solver

STRATEGIES = {"direct": Direct(), "replay": Replay(), "adjoint": Adjoint()}
ESTIMATORS = {"exact": Exact(), "rademacher": Rademacher(), "gaussian": Gaussian(4)}
estimators = pytest.mark.parametrize("divergence", ESTIMATORS.values(), ids=ESTIMATORS)


def gradients(flow, x):
    x = x.clone().requires_grad_()
    torch.manual_seed(7)
    transport = flow.transport(x)
    log_p = transport.log_prob
    loss = -log_p.mean() + 0.1 * sum(cost.mean() for cost in transport.costs.values())
    return [loss.detach(), *torch.autograd.grad(loss, (x, *flow.parameters()))]


@estimators
def test_gradients_of_the_strategies_agree(divergence, draw):
    """In the data and all parameters, the costs included. Replay to rounding, the adjoint to some
    tolerances.
    """
    flow, x = make_flow(divergence=divergence), draw(6, 2)
    costs = {"kinetic": Kinetic(), "jacobian": Jacobian()}

    def under(gradient, tol):
        solver = Solver("dopri8", rtol=tol, atol=tol, gradient=gradient)
        return gradients(CNF(flow.field, solver, divergence, costs), x)

    for a, b in zip(under(Direct(), 1e-5), under(Replay(), 1e-5), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-11, atol=1e-11)
    for a, b in zip(under(Direct(), 1e-8), under(Adjoint(), 1e-8), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("gradient", STRATEGIES.values(), ids=STRATEGIES)
def test_log_prob_passes_gradcheck(gradient, draw):
    """Differences over 1e-4 of a solution good to 1e-10."""
    flow, x = make_flow(gradient=gradient, tol=1e-10), draw(1, 2).requires_grad_()
    bias = flow.field.net.layers[0].linear.bias

    def log_prob(x, _):
        return flow.log_prob(x)

    assert torch.autograd.gradcheck(log_prob, (x, bias), eps=1e-4, atol=1e-5, fast_mode=True)


@pytest.mark.parametrize("gradient", STRATEGIES.values(), ids=STRATEGIES)
def test_every_parameter_has_a_gradient(gradient, draw):
    flow = make_flow(gradient=gradient, tol=1e-5)
    (-flow.log_prob(draw(6, 2)).mean()).backward()
    assert all(p.grad is not None and p.grad.any() for p in flow.parameters())


class Watched:
    """A divergence that counts how often its probes are drawn."""

    def __init__(self, inner):
        self.inner, self.drawn = inner, 0

    def probes(self, x):
        self.drawn += 1
        return self.inner.probes(x)


@pytest.mark.parametrize("gradient", STRATEGIES.values(), ids=STRATEGIES)
def test_probes_are_drawn_once_a_solve(gradient, draw):
    watched = Watched(Rademacher())
    flow = make_flow(divergence=watched, gradient=gradient, tol=1e-5)
    loss = -flow.log_prob(draw(6, 2)).mean()
    loss.backward()
    assert watched.drawn == 1
    flow.log_prob(draw(6, 2))
    assert watched.drawn == 2


def test_probes_are_the_same_at_every_evaluation(draw, monkeypatch):
    """In the forward and in the backward pass."""
    seen, original = [], cnf.divergence_and_vjps

    def watched(f, t, x, probes):
        seen.append(probes.clone())
        return original(f, t, x, probes)

    monkeypatch.setattr(cnf, "divergence_and_vjps", watched)
    flow = make_flow(divergence=Rademacher(), gradient=Adjoint(), tol=1e-5)
    transport = flow.transport(draw(6, 2))
    log_p = transport.log_prob
    log_p.sum().backward()
    assert transport.stats.backward.nfe > 0
    assert len(seen) == transport.stats.forward.nfe + transport.stats.backward.nfe
    assert all(torch.equal(probes, seen[0]) for probes in seen)


@estimators
def test_same_seed_same_bits(divergence, draw):
    flow, x = make_flow(divergence=divergence, tol=1e-5), draw(6, 2)
    a, b = gradients(flow, x), gradients(flow, x)
    assert all(torch.equal(v, w) for v, w in zip(a, b, strict=True))
