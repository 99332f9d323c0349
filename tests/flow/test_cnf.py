"""Continuous normalizing flows: change of variables, inverses, densities."""

from __future__ import annotations

import math

import pytest
import torch
from random_flow import make_flow
from torch import nn

from node_runner.flow import CNF, Exact, Rademacher, log_normal
from node_runner.flow.regularizers import Kinetic
from node_runner.ode import Solver


@pytest.mark.parametrize("event", [(2,), (3,), (2, 1, 2)], ids=str)
def test_log_det_is_that_of_the_whole_map(event, draw):
    flow, x = make_flow(event), draw(4, *event)
    found = flow.transport(x, t0=0.0, t1=1.0)
    d = x[0].numel()

    def carry(point):
        return flow.transport(point[None], t0=0.0, t1=1.0).z[0]

    jacobians = [torch.autograd.functional.jacobian(carry, p).reshape(d, d) for p in x]
    expected = torch.stack([torch.linalg.slogdet(j).logabsdet for j in jacobians])
    assert expected.abs().max() > 0.1
    torch.testing.assert_close(found.log_det, expected, rtol=0, atol=1e-9)


def test_log_det_of_a_linear_field_is_its_trace(draw):
    """z = e^{AT} x, log |det| = T tr A."""
    linear = nn.Linear(3, 3, bias=False).double()

    class Linear(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = linear

        def forward(self, t, x):
            return self.linear(x)

    flow, x = CNF(Linear(), Solver("dopri8", 1e-11, 1e-11), Exact()), draw(5, 3)
    found = flow.transport(x, t0=0.0, t1=1.7)
    a = linear.weight.detach()
    torch.testing.assert_close(found.z, x @ torch.matrix_exp(1.7 * a).T, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(found.log_det, (1.7 * a.trace()).expand(5), rtol=1e-10, atol=1e-11)


def test_there_and_back_is_the_identity(draw):
    flow, x = make_flow(), draw(6, 2)
    there = flow.transport(x, t0=0.0, t1=1.0)
    back = flow.transport(there.z, t0=1.0, t1=0.0)
    assert (there.z - x).abs().max() > 0.1
    torch.testing.assert_close(back.z, x, rtol=0, atol=1e-9)
    torch.testing.assert_close(back.log_det, -there.log_det, rtol=0, atol=1e-9)


def test_transport_composes(draw):
    """From 0 to 1 is from 0 to 0.3 and on, in the points and in the log-determinants."""
    flow, x = make_flow(), draw(6, 2)
    whole, first = flow.transport(x, t0=0.0, t1=1.0), flow.transport(x, t0=0.0, t1=0.3)
    second = flow.transport(first.z, t0=0.3, t1=1.0)
    torch.testing.assert_close(second.z, whole.z, rtol=0, atol=1e-9)
    torch.testing.assert_close(first.log_det + second.log_det, whole.log_det, rtol=0, atol=1e-9)


def test_density_integrates_to_one():
    """The trapezoidal rule on [-8, 8]^2 by 0.1 errs far below 1e-4 for a smooth density that
    vanishes at the border.
    """
    flow = make_flow(method="dopri5", tol=1e-6)
    axis = torch.arange(-8, 8.001, 0.1, dtype=torch.float64)
    grid = torch.cartesian_prod(axis, axis)
    with torch.no_grad():
        transport = flow.transport(grid)
        log_p = transport.log_prob
    assert (transport.z - grid).abs().max() > 0.3
    assert log_p.exp().sum().item() * 0.1**2 == pytest.approx(1.0, abs=1e-4)


def test_log_prob_of_the_flow_at_rest_is_the_normal(draw):
    flow, x = make_flow(), draw(6, 2)
    with torch.no_grad():
        for p in flow.parameters():
            p.zero_()
    transport = flow.transport(x)
    log_p = transport.log_prob
    normal = torch.distributions.MultivariateNormal(torch.zeros(2), torch.eye(2))
    assert torch.equal(transport.z, x) and not transport.log_det.any()
    torch.testing.assert_close(log_p.float(), normal.log_prob(x.float()), rtol=1e-5, atol=1e-5)


def test_log_normal_sums_over_the_event(draw):
    z = draw(3, 2, 2)
    expected = (-0.5 * z**2 - 0.5 * math.log(2 * math.pi)).sum((1, 2))
    torch.testing.assert_close(log_normal(z), expected, rtol=1e-13, atol=0)


def test_log_prob_is_base_density_plus_log_det(draw):
    flow, x = make_flow(end_time=0.6), draw(6, 2)
    transport = flow.transport(x)
    log_p = transport.log_prob
    direct = flow.transport(x, t0=0.0, t1=0.6)
    assert torch.equal(transport.z, direct.z)
    assert torch.equal(log_p, log_normal(direct.z) + direct.log_det)


def test_sampling_inverts_the_transport(draw):
    flow, x = make_flow(end_time=0.6), draw(6, 2)
    z = flow.transport(x, t0=0.0, t1=0.6).z
    torch.testing.assert_close(flow.inverse(z), x, rtol=0, atol=1e-9)


def test_flow_passes_through_the_transport_of_each_time(draw):
    flow, x, ts = make_flow(), draw(6, 2), [0.0, 0.3, 1.0]
    path = flow.path(x, ts)
    assert torch.equal(path[0], x)
    for t, z in zip(ts[1:], path[1:], strict=True):
        torch.testing.assert_close(z, flow.transport(x, t0=0.0, t1=t).z, rtol=0, atol=1e-9)


def test_stochastic_log_prob_is_unbiased(draw):
    """Probes enter the log-determinant linearly and leave the path alone: within 4 standard errors
    over 4,000 copies of one sample. The wide batch does not change the path beyond tolerance.
    """
    exact = make_flow(tol=1e-6, method="dopri5")
    noisy = exact.with_solver(exact.solver, Rademacher())
    x = draw(1, 2)
    with torch.no_grad():
        expected = exact.log_prob(x).item()
        values = noisy.log_prob(x.expand(4000, 2))
    assert values.std() > 1e-2
    assert abs(values.mean().item() - expected) < 4 * values.std().item() / 4000**0.5 + 1e-5


def test_log_det_takes_part_in_error_control(draw):
    """With a field that moves nothing along x_0 but stretches ever faster, the path alone would
    take few steps: the log-determinant is an answer, too.
    """

    class Stretch(nn.Module):
        def forward(self, t, x):
            return x * torch.cos(30 * t)

    flow = CNF(Stretch(), Solver(rtol=1e-6, atol=1e-6), Exact())
    origin = torch.zeros(3, 2, dtype=torch.float64)
    alone = flow.solver(flow.field, origin, [0.0, 1.0]).stats.forward
    found = flow.transport(origin, t0=0.0, t1=1.0)
    assert found.stats.forward.accepted > 4 * alone.accepted
    expected = torch.full((3,), 2 * math.sin(30) / 30, dtype=torch.float64)
    torch.testing.assert_close(found.log_det, expected, rtol=0, atol=2e-5)


def test_with_solver_shares_the_field(draw):
    flow = make_flow(regularizers={"kinetic": Kinetic()})
    other = flow.with_solver(Solver(), Rademacher())
    assert other.field is flow.field and other.end_time == flow.end_time
    assert other.transport(draw(2, 2), t0=0.0, t1=1.0).costs == {}


@pytest.mark.parametrize("end_time", [0.0, -1.0, float("nan")])
def test_end_time_that_is_not_positive_is_refused(end_time):
    with pytest.raises(ValueError, match="end_time is .*, must be positive"):
        make_flow(end_time=end_time)


def test_state_dict_carries_the_flow_over(draw):
    flow, other, x = make_flow(), make_flow(), draw(3, 2)
    assert not torch.allclose(flow.log_prob(x), other.log_prob(x))
    other.load_state_dict(flow.state_dict())
    assert torch.equal(flow.log_prob(x), other.log_prob(x))


def test_a_field_with_batch_normalisation_is_refused():
    """Unless its statistics are fixed; other normalisations see one sample alone."""
    field = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))
    with pytest.raises(ValueError, match="field has batch normalisation"):
        CNF(field, Solver(), Exact())
    CNF(field.eval(), Solver(), Exact())
    CNF(nn.Sequential(nn.Linear(3, 3), nn.LayerNorm(3)), Solver(), Exact())
