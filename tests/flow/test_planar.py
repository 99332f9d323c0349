"""Planar flows, discrete and continuous, against their formulas."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from node_runner import fields
from node_runner.flow import CNF, Chain, Exact, divergence_and_vjps, planar
from node_runner.flow.bijections import Planar
from node_runner.ode import Solver


def layer(dot, draw, dim=3):
    """One whose free parameters have w . u = dot."""
    flow = Planar(dim).double()
    with torch.no_grad():
        w, u = draw(dim), draw(dim)
        flow.w.copy_(w)
        flow.u.copy_(u + (dot - w @ u) * w / w.square().sum())
        flow.b.copy_(draw())
    return flow


def chain(dim, layers, draw):
    flow = planar(dim, layers).double()
    with torch.no_grad():
        for p in flow.parameters():
            p.copy_(draw(*p.shape))
    return flow


def jacobians(f, x):
    return torch.stack(
        [torch.autograd.functional.jacobian(lambda p: f(p[None])[0], point) for point in x]
    )


DOTS = [-30.0, -8.0, -1.0, 0.0, 0.5, 6.0]
dots = pytest.mark.parametrize("dot", DOTS)


@dots
def test_log_det_of_a_layer_is_autograds(dot, draw):
    flow, x = layer(dot, draw), draw(6, 3)
    found = flow.transport(x)
    expected = torch.linalg.slogdet(jacobians(lambda p: flow.transport(p).z, x))
    assert (expected.sign > 0).all()
    torch.testing.assert_close(found.log_det, expected.logabsdet, rtol=1e-9, atol=1e-9)


@dots
def test_a_layer_is_its_formula_with_u_bent_along_w_alone(dot, draw):
    """w . u becomes softplus(w . u) - 1 > -1; what is across w stays."""
    flow, x = layer(dot, draw), draw(6, 3)
    w, u, b = flow.w.detach(), flow.u.detach(), flow.b.detach()
    bent = (flow.transport(x).z - x) / torch.tanh(x @ w + b)[:, None]
    torch.testing.assert_close(bent, bent[:1].expand(6, 3))
    assert w @ bent[0] > -1
    torch.testing.assert_close(w @ bent[0], F.softplus(w @ u) - 1)
    change = bent[0] - u
    torch.testing.assert_close(change, (change @ w) * w / w.square().sum())


@dots
def test_bisection_inverts_a_layer(dot, draw):
    flow, x = layer(dot, draw), 3 * draw(200, 3)
    z = flow.transport(x).z
    assert (z - x).abs().max() > 0.1
    torch.testing.assert_close(flow.inverse(z), x, rtol=0, atol=1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("size", [0.0, 1e-300, 1e-30, 1e-12])
def test_a_layer_without_direction_has_a_volume_an_inverse_and_gradients(size, dtype):
    """A w of rounding size moves all points alike."""
    flow = Planar(3).to(dtype)
    with torch.no_grad():
        flow.w.copy_(size * torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64))
        flow.b.fill_(0.4)
    x = torch.randn(5, 3, dtype=dtype, requires_grad=True)
    there = flow.transport(x)
    log_prob = there.log_prob
    square = flow.w.square().sum()
    if square < torch.finfo(dtype).eps ** 2:
        expected = (x + flow.u * torch.tanh(flow.b)).detach()
        torch.testing.assert_close(there.z.detach(), expected)
        torch.testing.assert_close(there.log_det, torch.zeros(5, dtype=dtype), rtol=0, atol=1e-7)
        torch.testing.assert_close(flow.inverse(there.z), x)
    assert all(part.isfinite().all() for part in (log_prob, there.z, there.log_det))
    grads = torch.autograd.grad(log_prob.sum(), (x, *flow.parameters()))
    assert all(g.isfinite().all() for g in grads)


def test_a_layer_is_monotone_along_w_however_far_u_points_back(draw):
    flow = layer(-8.0, draw)
    along = torch.linspace(-5, 5, 2001, dtype=torch.float64)[:, None] * flow.w.detach()
    there = flow.transport(along).z.detach() @ flow.w.detach()
    assert (there.diff() > 0).all()


def test_a_chain_of_layers_has_the_volume_of_the_whole_and_comes_back(draw):
    flow, x = chain(2, 8, draw), draw(6, 2)
    assert isinstance(flow, Chain) and len(flow.parts) == 8 and flow.shape == (2,)
    assert sum(p.numel() for p in flow.parameters()) == 8 * (2 + 2 + 1)
    found = flow.transport(x)
    expected = torch.linalg.slogdet(jacobians(lambda p: flow.transport(p).z, x)).logabsdet
    torch.testing.assert_close(found.log_det, expected, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(flow.inverse(found.z), x, rtol=0, atol=1e-9)
    assert found.nfe()["nfe/forward"] == 0 and not found.costs


def test_a_planar_density_integrates_to_one(draw):
    axis = torch.arange(-10, 10.001, 0.05, dtype=torch.float64)
    flow = chain(2, 3, draw)
    log_p = flow.log_prob(torch.cartesian_prod(axis, axis))
    assert log_p.exp().sum().item() * 0.05**2 == pytest.approx(1, abs=1e-3)


def test_evaluation_takes_a_planar_flow_as_it_is(draw):
    flow, x = chain(2, 3, draw), draw(4, 2)
    other = flow.with_solver(Solver("rk4", step_size=0.5), Exact())
    assert torch.equal(other.log_prob(x), flow.log_prob(x))


@pytest.mark.parametrize(("dim", "layers", "named"), [(0, 3, "dim"), (2, 0, "layers")])
def test_a_planar_flow_without_size_is_refused(dim, layers, named):
    with pytest.raises(ValueError, match=rf"{named} is 0, must be at least 1"):
        planar(dim, layers)


def units(field, t, d):
    """w, gated u and b of each unit, from the hypernetwork's values in their order."""
    m = field.width
    values = field.net(t.reshape(1, 1))[0]
    w, u, gate = (values[i * m * d : (i + 1) * m * d].view(m, d) for i in range(3))
    return w, u * torch.sigmoid(gate), values[3 * m * d :]


def make_field(dim=3, width=5):
    field = fields.Planar(dim, width, hypernet=7).double()
    with torch.no_grad():
        for p in field.parameters():
            p.mul_(3)
    return field


def test_the_planar_field_is_its_formula(draw):
    field, x, t = make_field(), draw(4, 3), draw()
    w, u, b = units(field, t, 3)
    expected = torch.zeros_like(x)
    for n in range(5):
        for i, point in enumerate(x):
            expected[i] += u[n] * torch.tanh(w[n] @ point + b[n]) / 5
    torch.testing.assert_close(field(t, x), expected, rtol=1e-12, atol=1e-13)


def test_the_planar_field_takes_one_time_for_all_or_one_for_each(draw):
    field, x, t = make_field(), draw(4, 3), draw(4)
    torch.testing.assert_close(field(t[0], x), field(t[:1].expand(4), x), rtol=1e-12, atol=1e-13)
    alone = torch.cat([field(t[i], x[i : i + 1]) for i in range(4)])
    torch.testing.assert_close(field(t, x), alone, rtol=1e-12, atol=1e-13)


def test_the_divergence_of_the_planar_field(draw):
    """1/M sum_n (1 - tanh^2) w_n . u_n."""
    field, x, t = make_field(), draw(4, 3), draw()
    w, u, b = units(field, t, 3)
    slopes = 1 - torch.tanh(x @ w.T + b).square()
    expected = (slopes * (w * u).sum(1)).mean(1)
    found = divergence_and_vjps(field, t, x, Exact().probes(x))
    torch.testing.assert_close(found.div, expected, rtol=1e-12, atol=1e-13)
    traces = jacobians(lambda p: field(t, p), x).diagonal(dim1=1, dim2=2).sum(1)
    torch.testing.assert_close(found.div, traces, rtol=1e-12, atol=1e-13)


def test_a_cnf_of_the_planar_field_has_its_shape_and_comes_back(draw):
    field = make_field(2)
    flow = CNF(field, Solver("dopri8", 1e-10, 1e-10), Exact())
    assert flow.shape == (2,)
    x = draw(4, 2)
    torch.testing.assert_close(flow.inverse(flow.transport(x).z), x, rtol=0, atol=1e-8)


def test_a_planar_field_without_size_is_refused():
    with pytest.raises(ValueError, match="width"):
        fields.Planar(width=0)
