"""Steps of BDF: their formulas, error estimates, choice of order, interpolant and gradients."""

from __future__ import annotations

from functools import partial
from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp
from support.ode.steps import begin, robertson, solve, van_der_pol
from torch.autograd import forward_ad

from node_runner.ode import Quadrature
from node_runner.ode.stepper import StepFailed
from node_runner.ode.steppers.bdf import BDF, Differences

RATES = torch.tensor([0.02, 0.04, 0.06, 0.08], dtype=torch.float64)  # of Robertson's first reaction
# Test Set for IVP Solvers (Mazzia, Magherini, 2008), VDPOL: the state at t = 2000.
VAN_DER_POL = torch.tensor([[1.706167732170483, -8.928097010247975e-4]], dtype=torch.float64)


def turning(t, y):
    """Exact: (sin t, cos t), turned by the start."""
    return torch.stack([y[..., 1], -y[..., 0]], -1)


def circle(t, dtype=torch.float64):
    return torch.tensor([[np.sin(t), np.cos(t)]], dtype=dtype)


def uneven(k, h, seed):
    """k + 1 times before 1, the newest first, and one after it; steps differ up to threefold."""
    gaps = h * (0.5 + torch.rand(k + 1, generator=torch.Generator().manual_seed(seed)).double())
    return [1.0, *(1.0 - gaps[:k].cumsum(0)).tolist()], 1.0 + gaps[-1].item()


def placed(f, exact, k, nodes):
    """A stepper of order k on exact values at the nodes."""
    y = exact(nodes[0])
    stepper, flat = begin(BDF(), f, y, tol=1e-13)
    stepper.order = k
    stepper.past = [(t, exact(t).reshape(-1)) for t in nodes]
    stepper.differences = Differences.through(stepper.past, 1.0)
    return stepper, flat


@pytest.mark.parametrize("k", range(1, 6))
def test_order_k_is_exact_for_polynomials_of_degree_k(k):
    c = torch.randn(k + 1, 3, generator=torch.Generator().manual_seed(k)).double()
    powers = torch.arange(k + 1).double()[:, None]

    def exact(t):
        return (c * t**powers).sum(0)

    def f(t, y):
        return (c[1:] * powers[1:] * t ** (powers[1:] - 1)).sum(0) - 5 * (y - exact(t))

    nodes, t1 = uneven(k, 0.1, seed=k)
    stepper, y = placed(f, exact, k, nodes)
    attempt = stepper.attempt(1.0, t1, y)
    assert torch.allclose(attempt.y1, exact(t1), rtol=1e-11, atol=1e-11)
    assert attempt.error.abs().max() < 1e-9


@pytest.mark.parametrize("k", range(1, 6))
@pytest.mark.parametrize("sign", [1, -1], ids=["forward", "backward"])
def test_the_estimate_is_the_local_error(k, sign):
    """Of a step from exact points at uneven times."""

    def exact(t):
        return torch.sin(torch.tensor([2 * t, 2 * t + 1, 2 * t + 2], dtype=torch.float64))

    def f(t, y):
        phase = 2 * t + torch.arange(3)
        return 2 * torch.cos(phase) - sign * (y - torch.sin(phase))

    nodes, t1 = uneven(k, 0.02, seed=10 + k)
    nodes, t1 = [sign * t for t in nodes], sign * t1
    stepper, y = placed(f, exact, k, nodes)
    attempt = stepper.attempt(nodes[0], t1, y)
    error = (attempt.y1 - exact(t1)).norm()
    assert 0.6 < attempt.error.norm() * abs(t1 - nodes[0]) / error < 1.8


@pytest.mark.parametrize("k", range(1, 6))
def test_a_step_on_equal_times_has_the_textbook_coefficients(k):
    """sum_{j=1}^k (backward difference of order j) / j = h f."""
    stepper, y = placed(
        lambda t, y: -3 * y + t, lambda t: circle(t)[0], k, [-0.1 * j for j in range(k + 2)]
    )
    y1 = stepper.attempt(0.0, 0.1, y).y1
    values, total = [y1, *(circle(-0.1 * j)[0] for j in range(k + 1))], 0
    for j in range(1, k + 1):
        values = [a - b for a, b in pairwise(values)]
        total = total + values[0] / j
    assert torch.allclose(total, 0.1 * (-3 * y1 + 0.1), rtol=1e-10)


@pytest.mark.parametrize("span", [(0.0, 10.0), (10.0, 0.0)], ids=["forward", "backward"])
def test_the_error_follows_the_tolerance(span):
    seen = []

    def f(t, y):
        seen.append(float(t))
        return turning(t, y)

    errors, steps = [], []
    for tol in (1e-4, 1e-6, 1e-8):
        found = solve(BDF(), f, circle(span[0]), span, tol=tol)
        errors.append((found.final - circle(span[1])[0]).abs().max().item())
        steps.append(len(found.steps))
    assert errors[0] > 20 * errors[1] > 400 * errors[2]
    assert errors[2] < 200 * 1e-8 and max(found.orders) == 5
    assert steps[2] < 4.5 * steps[0]  # of order 5: 10^(4/6) = 4.6
    assert min(span) <= min(seen) and max(seen) <= max(span)


def test_robertson_to_1e5_in_no_more_steps_than_scipy():
    y0 = torch.tensor([[1.0, 0.0, 0.0]] * 4, dtype=torch.float64)
    reaction = partial(robertson, rates=RATES)

    def field(t, y):
        return reaction(t, torch.from_numpy(y).view(4, 3)).flatten().numpy()

    def theirs(method, rtol, atol):
        return solve_ivp(field, (0, 1e5), y0.flatten().numpy(), method, rtol=rtol, atol=atol)

    ours = solve(BDF(), reaction, y0, (0.0, 1e5), first_step=1e-6, tol=1e-6, atol=1e-10)
    scipy = theirs("BDF", 1e-6, 1e-10)
    exact = torch.from_numpy(theirs("Radau", 1e-10, 1e-14).y[:, -1])
    assert ((ours.final - exact).abs() / (1e-10 + 1e-6 * exact.abs())).max() < 10
    assert ours.counts.accepted + ours.counts.rejected < 1.1 * len(scipy.t)
    assert ours.counts.nfe < 0.75 * scipy.nfev
    assert ours.stepper.newton.evaluated < 0.15 * ours.counts.accepted


@pytest.mark.parametrize("rtol", [6.8e-4, 6.8e-5, 1e-6])
def test_van_der_pol_through_its_fast_phases(rtol):
    """The larger tolerances are where a Jacobian of the fast phase, used on in the slow one, made
    solutions miss the next.
    """
    y0 = torch.tensor([[2.0, 0.0]], dtype=torch.float64)
    oscillator = partial(van_der_pol, mu=1000.0)
    found = solve(BDF(), oscillator, y0, (0.0, 2000.0), first_step=1e-6, tol=rtol, inside=False)
    error = (found.final - VAN_DER_POL[0]).abs() / (rtol + rtol * VAN_DER_POL[0].abs())
    assert error.max() < 150
    assert found.counts.rejected < 0.1 * found.counts.accepted


def march(times, f, y, graph, tol=1e-12, method=None, **options):
    """Steps that end at times, whatever their errors."""
    stepper, y = begin(method or BDF(), f, y, tol=tol, graph=graph, **options)
    with torch.set_grad_enabled(graph):
        for t0, t1 in pairwise(times):
            y = stepper.attempt(t0, t1, y).y1
            stepper.accept()
    return y, stepper


@pytest.mark.parametrize("jacobian", ["rows", "full"])
def test_gradients_are_those_of_the_steps(jacobian):
    """In y0, in a parameter and in the rate of a quadrature, through all orders."""
    generator = torch.Generator().manual_seed(3)
    w = torch.randn(3, 3, generator=generator).double().requires_grad_()
    y0 = torch.randn(2, 3, generator=generator).double().requires_grad_()
    times = [0.0, *(0.05 * (1 + torch.rand(14, generator=generator).double()).cumsum(0)).tolist()]
    weight = torch.randn(7, generator=generator).double()
    start = Quadrature(torch.zeros((), dtype=torch.float64))

    def final(y0, w, graph):
        def f(t, y):
            return torch.tanh(y @ w) - 30 * (y - torch.cos(t)), ((y * w[0]).sum(),)

        method = BDF(jacobian=jacobian, iterations=12)
        y1, stepper = march(times, f, y0, graph, method=method, quadratures=(start,))
        return (weight * y1).sum(), stepper

    loss, stepper = final(y0, w, True)
    assert stepper.order >= 3
    found = torch.autograd.grad(loss, [y0, w])
    for gradient, tensor in zip(found, (y0, w), strict=True):
        for i in (0, tensor.numel() - 1):
            step = torch.zeros_like(tensor).view(-1)
            step[i] = 1e-5
            ends = [
                final(*[x + s * step.view_as(x) if x is tensor else x for x in (y0, w)], False)[0]
                for s in (1, -1)
            ]
            difference = (ends[0] - ends[1]) / 2e-5
            assert torch.allclose(gradient.view(-1)[i], difference, rtol=1e-6, atol=1e-9)


def test_forward_mode_derivatives_are_those_of_the_steps():
    times, y0, way = [0.04 * i for i in range(12)], circle(0.3), torch.ones(1, 2).double()

    def f(t, y):
        return torch.sin(y.flip(-1)) - 20 * y

    def final(y):
        return march(times, f, y, False, method=BDF(iterations=12))[0]

    with forward_ad.dual_level():
        found = forward_ad.unpack_dual(final(forward_ad.make_dual(y0, way))).tangent
    expected = (final(y0 + 1e-5 * way) - final(y0 - 1e-5 * way)) / 2e-5
    assert torch.allclose(found, expected, rtol=1e-6, atol=1e-12)


def test_without_graph_nothing_is_recorded():
    w = torch.ones(2, dtype=torch.float64, requires_grad=True)
    y0 = torch.ones(2).double().requires_grad_()
    with torch.no_grad():
        stepper, y = begin(BDF(), lambda t, y: -w * y, y0)
    attempt = stepper.attempt(0.0, 0.1, y)
    assert not attempt.y1.requires_grad and not attempt.error.requires_grad


def test_the_interpolant_is_as_accurate_as_the_steps():
    found = solve(BDF(), turning, circle(0.0), (0.0, 8.0), tol=1e-7)
    scale = max((found.final - circle(8.0)[0]).abs().max().item(), 1e-7)
    t0, y0 = 0.0, circle(0.0)[0]
    for _, t1, _, y1, _, _, inside in found.steps:
        times = [t0, 0.7 * t0 + 0.3 * t1, (t0 + t1) / 2, t1]
        values = inside.at(times)
        exact = torch.cat([circle(t) for t in times])
        assert (values - exact).abs().max() < 2 * scale
        assert torch.equal(values[-1], y1) and torch.allclose(values[0], y0, rtol=1e-13)
        assert torch.equal(values[2:3], inside.at(times[2:3]))
        t0, y0 = t1, y1


def test_the_interpolant_moves_with_time():
    t0, t1, _, y1, _, _, inside = solve(BDF(), turning, circle(0.0), (0.0, 3.0)).steps[-1]
    t = torch.tensor([t0, 0.4 * t0 + 0.6 * t1, t1], dtype=torch.float64, requires_grad=True)
    values = inside.at_tensor(t)
    assert torch.allclose(values, inside.at(t.tolist()), rtol=1e-14)
    for i in range(2):
        (slopes,) = torch.autograd.grad(values[:, i].sum(), t, retain_graph=True)
        expected = torch.stack([inside.slope(s) for s in t.tolist()])[:, i]
        assert torch.allclose(slopes, expected, rtol=1e-10)
    assert torch.allclose(inside.slope(t1), turning(t1, y1), atol=1e-6)  # the corrector's equation


def test_float32_takes_the_same_steps():
    options = {"ends": (0.0, 6.0), "tol": 1e-4}
    single = solve(BDF(), turning, circle(0.0, torch.float32), **options)
    double = solve(BDF(), turning, circle(0.0), **options)
    assert single.final.dtype == torch.float32
    assert (single.final - double.final).abs().max() < 1e-4
    assert abs(len(single.steps) - len(double.steps)) <= 3


def test_a_rejected_step_leaves_no_trace():
    with torch.no_grad():
        stepper = solve(BDF(), turning, circle(0.0), (0.0, 2.0)).stepper
        y = stepper.differences.terms[0]
        order, short = stepper.order, stepper.attempt(2.0, 2.05, y).y1
        stepper.attempts = 0
        stepper.attempt(2.0, 2.3, y)
        again = stepper.attempt(2.0, 2.05, y).y1
        assert torch.allclose(again, short, atol=1e-7) and stepper.order == order
        stepper.attempt(2.0, 2.01, y)
        assert stepper.order == order - 1  # rejected twice


@pytest.mark.parametrize("gap", [1e-7, 1e-12])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_steps_that_are_clipped_to_slivers_cost_no_accuracy(gap, dtype):
    """The rounding of points that are close would be magnified by the length of the next step."""
    times = [0.05 * i for i in range(21)]

    def error(grid):
        y = march(grid, turning, circle(0.0, dtype), False, tol=1e-4)[0]
        return (y - circle(1.0)[0]).abs().max().item()

    for i in range(5, 18, 3):
        slivers = [times[i] + gap, times[i] + 2 * gap]
        assert error(sorted([*times, *slivers])) < 1.2 * error(times)


def test_a_sliver_at_the_start_is_forgotten():
    y, stepper = march([0.0, 1e-12, 0.1], turning, circle(0.0), False)
    assert (y - circle(0.1)[0]).abs().max() < 0.01 and stepper.tried.formula.k == 1


def test_a_restart_forgets():
    with torch.no_grad():
        stepper = solve(BDF(), turning, circle(0.0), (0.0, 2.0)).stepper
        assert stepper.order > 2
        stepper.restart()
        y = torch.tensor([5.0, -1.0], dtype=torch.float64)
        fresh = begin(BDF(), turning, y[None])[0]
        assert torch.allclose(stepper.attempt(2.0, 2.1, y).y1, fresh.attempt(2.0, 2.1, y).y1)
    assert stepper.order == 1 and stepper.exponent == 2


def test_the_rate_at_the_start_is_asked_for_once():
    stages = []
    stepper, y = begin(BDF(), turning, circle(0.0))
    rates = stepper.f
    stepper.f = lambda stage, t, y: stages.append(stage) or rates(stage, t, y)
    assert torch.equal(stepper.first_rate(0.0, y), turning(0.0, y))
    stepper.attempt(0.0, 0.1, y)
    stepper.attempt(0.0, 0.05, y)
    assert stages == [0]


@pytest.mark.parametrize("order", [0, 6, 2.5])
def test_an_order_out_of_range_is_refused(order):
    with pytest.raises(ValueError, match="order is"):
        BDF(order=order)


@pytest.mark.parametrize("order", [1, 2, 4])
def test_the_order_can_be_bounded(order):
    found = solve(BDF(order=order), turning, circle(0.0), (0.0, 2.0), tol=1e-4)
    assert max(found.orders) == order
    assert (found.final - circle(2.0)[0]).abs().max() < 1e-2


def test_a_step_that_meets_nan_fails():
    stepper, y = begin(BDF(), lambda t, y: y * torch.nan, torch.ones(2, dtype=torch.float64))
    with pytest.raises(StepFailed, match="NaN"):
        stepper.attempt(0.0, 0.1, y)
