"""Implicit Runge-Kutta steps: order, stiffness, gradients, interpolants and cost."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from math import log2

import pytest
import torch
from scipy.integrate import solve_ivp
from support.ode.steps import begin, robertson, smooth, solve, van_der_pol
from torch.autograd import gradcheck

from node_runner.ode import Solver, methods
from node_runner.ode.methods import get
from node_runner.ode.state import Quadrature
from node_runner.ode.stepper import StepFailed
from node_runner.ode.steppers.hermite import Hermite, refined

NAMES = [name for name in methods.names() if get(name).implicit and get(name).one_step]
ADAPTIVE = [name for name in NAMES if get(name).adaptive]
# Order of the interpolant, by that of the method.
INTERPOLANT = {1: 1, 2: 2, 3: 3, 4: 4, 5: 4, 6: 5}
PAST_THE_END = ["kvaerno5"]
Y0 = torch.tensor([[0.3, 1.0], [0.5, -0.2]], dtype=torch.float64)


def fixed(name, f, y0, end, steps, **options):
    """The end of so many equal steps, solved to rounding."""
    return solve(name, f, y0, (0.0, end), step_size=end / steps, inside=False, **options).final


def adaptive(name, f, y0, end, tol=1e-6, first=1e-4, **options):
    options = {"tol": tol, "atol": 1e-3 * tol, "first_step": first, "inside": False} | options
    return solve(name, f, y0, (0.0, end), **options)


@cache
def reference(end):
    return fixed("gauss6", smooth, Y0, end, 24)


@pytest.mark.parametrize("name", NAMES)
def test_observed_order(name):
    method, exact = get(name), reference(1.5)
    errors = [(fixed(name, smooth, Y0, 1.5, n) - exact).norm().item() for n in (8, 16)]
    assert log2(errors[0] / errors[1]) > method.order - 0.5


@pytest.mark.parametrize("name", NAMES)
def test_order_and_slope_of_the_interpolant(name):
    method, errors = get(name), []
    for steps in (4, 8):
        found = solve(name, smooth, Y0, (0.0, 0.5), step_size=0.5 / steps)
        middle = found.steps[steps // 2].inside
        t = middle.t0 + 0.3 * middle.dt
        errors.append((middle.at([t])[0] - reference(t)).norm().item())
        change = middle.at([t + 1e-5, t - 1e-5])
        assert torch.allclose((change[0] - change[1]) / 2e-5, middle.slope(t), atol=1e-8)
    assert log2(errors[0] / errors[1]) > INTERPOLANT[method.order] - 0.5


def test_interpolant_meets_its_ends_and_times_have_a_gradient(draw):
    y0, y1, k0, k1, bump = draw(5, 3)
    path = Hermite(0.5, 0.7, y0, y1, k0, k1, bump)
    assert torch.allclose(path.at([0.5, 0.7]), torch.stack([y0, y1]), atol=1e-15)
    assert torch.allclose(path.slope(0.5), k0) and torch.allclose(path.slope(0.7), k1)
    t = torch.tensor([0.55, 0.6], dtype=torch.float64, requires_grad=True)
    (rates,) = torch.autograd.grad(path.at_tensor(t).sum(), t)
    expected = [path.slope(s).sum().item() for s in t.tolist()]
    assert rates.tolist() == pytest.approx(expected)


@pytest.mark.parametrize("inner", [0, 1, 2])
def test_each_point_inside_adds_two_degrees_that_are_exact(inner, draw):
    """The polynomial itself is found again, its slope, and its derivative in time twice."""
    roots = draw(3 + 2 * inner, 3)

    def exact(t):
        return (t - roots).prod(0)

    def value_and_rate(t):
        t = torch.tensor(t, dtype=torch.float64, requires_grad=True)
        rate = torch.autograd.functional.jacobian(exact, t)
        return exact(t).detach(), rate

    (y0, k0), (y1, k1) = map(value_and_rate, (0.5, 1.7))
    path = refined(Hermite(0.5, 1.7, y0, y1, k0, k1), inner, value_and_rate)
    ts = torch.tensor([0.5, 0.8, 1.1, 1.5, 1.7], dtype=torch.float64, requires_grad=True)
    expected = torch.stack([exact(t) for t in ts])
    assert torch.allclose(path.at(ts.tolist()), expected, atol=1e-12)
    assert torch.allclose(path.at_tensor(ts), expected, atol=1e-12)
    for t in ts.tolist():
        assert torch.allclose(path.slope(t), value_and_rate(t)[1], atol=1e-11)
    assert torch.autograd.gradcheck(path.at_tensor, ts)
    assert torch.autograd.gradgradcheck(path.at_tensor, ts)


@pytest.mark.parametrize("name", NAMES)
def test_a_mistyped_coefficient_is_refused(name):
    tableau = get(name).tableau
    b = (tableau.b[0] + 1e-9, *tableau.b[1:])
    with pytest.raises(ValueError, match="order condition of b"):
        replace(tableau, b=b)


@pytest.mark.parametrize("name", [name for name in NAMES if get(name).tableau.bump])
def test_a_mistyped_interpolant_is_refused(name):
    bump = get(name).tableau.bump
    with pytest.raises(ValueError, match="order condition of bump"):
        replace(get(name).tableau, bump=(bump[0] + 1e-9, *bump[1:]))


def scipy_end(f, y0, end):
    def right(t, y):
        return f(t, torch.from_numpy(y)).numpy()

    solution = solve_ivp(right, (0, end), y0, method="Radau", rtol=1e-8, atol=1e-12)
    return torch.from_numpy(solution.y[:, -1])


@pytest.mark.parametrize(("name", "most"), [("kvaerno5", 17), ("radau_iia5", 14)])
def test_robertson(name, most):
    """To the tolerance, with few evaluations a step and few Jacobians."""
    y0 = [1.0, 0.0, 0.0]
    y, counts, _, stepper = adaptive(name, robertson, torch.tensor([y0]).double(), 40.0)
    exact = scipy_end(robertson, y0, 40.0)
    assert ((y - exact) / exact).abs().max() < 1e-5
    assert counts.accepted < 80
    assert counts.nfe < most * (counts.accepted + counts.rejected)
    assert stepper.newton.evaluated < counts.accepted + 1


def test_van_der_pol_past_a_jump():
    y0 = [1.1, -0.05]
    found = adaptive("radau_iia5", van_der_pol, torch.tensor([y0]).double(), 10.0, tol=1e-4)
    assert torch.allclose(found.final, scipy_end(van_der_pol, y0, 10.0), rtol=1e-2)
    assert found.counts.accepted < 200


@pytest.mark.parametrize("name", ADAPTIVE)
def test_a_stiff_decay_is_followed_with_long_steps(name):
    """Prothero and Robinson's problem, of slope -1e6, where the steps are those of the smooth
    solution cos t.
    """

    def f(t, y):
        return -1e6 * (y - torch.cos(t)) - torch.sin(t)

    y, counts, *_ = adaptive(name, f, torch.ones(1, 1).double(), 3.0, tol=1e-5, first=0.01)
    assert abs(y.item() - torch.cos(torch.tensor(3.0)).item()) < 1e-4
    assert counts.accepted + counts.rejected < 120


@pytest.mark.parametrize("name", NAMES)
def test_gradient_is_that_of_the_steps(name):
    """Of a batch with a parameter and a quadrature, by float64 differences."""
    quadrature = Quadrature(torch.zeros(2, dtype=torch.float64))

    def end(y0, w):
        def f(t, y):
            return smooth(t, y) * w, (y[:, 0] * w,)

        return fixed(name, f, y0, 0.6, 2, quadratures=[quadrature], graph=True)

    w = torch.tensor(0.8, dtype=torch.float64, requires_grad=True)
    assert gradcheck(end, (Y0.clone().requires_grad_(), w), fast_mode=True)


@pytest.mark.parametrize("name", ADAPTIVE)
def test_gradient_of_controlled_steps(name):
    """Also where the iteration stops at the tolerance; the choice of steps is not differentiated,
    and where no gradient is wanted there is no graph.
    """
    y0 = Y0.clone().requires_grad_()
    y = adaptive(name, smooth, y0, 0.3, 1e-7, 0.05, graph=True).final
    (found,) = torch.autograd.grad(y.sum(), y0)
    exact = fixed("gauss6", smooth, y0, 0.3, 4, graph=True)
    (expected,) = torch.autograd.grad(exact.sum(), y0)
    assert torch.allclose(found, expected, rtol=1e-5)
    assert not adaptive(name, smooth, y0, 0.1, first=0.05).final.requires_grad


def test_gradient_cannot_be_differentiated_again():
    y0 = Y0.clone().requires_grad_()
    y = fixed("kvaerno3", smooth, y0, 0.2, 2, graph=True)
    (once,) = torch.autograd.grad(y.sum(), y0, create_graph=True)
    with pytest.raises(NotImplementedError, match="cannot be differentiated again"):
        torch.autograd.grad(once.sum(), y0)


@pytest.mark.parametrize("name", ["kvaerno5", "gauss4"])
def test_rows_take_the_steps_of_the_full_jacobian(name):
    ends = [fixed(name, smooth, Y0, 1.0, 5, jacobian=jacobian) for jacobian in ("rows", "full")]
    assert torch.allclose(*ends, rtol=1e-13)


@pytest.mark.parametrize("name", NAMES)
def test_quadratures_are_integrated_beside_the_state(name):
    """With the order of the method, and without a say in the state's steps."""
    start = Quadrature(torch.zeros((), dtype=torch.float64))
    with_q = lambda t, y: (smooth(t, y), [smooth(t, y).sum()])  # noqa: E731
    y = fixed(name, with_q, Y0, 0.2, 3, quadratures=[start])
    alone = fixed(name, smooth, Y0, 0.2, 3)
    assert torch.equal(y[:4], alone)
    assert y[4].item() == pytest.approx((alone - Y0.reshape(-1)).sum().item(), abs=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_f_is_not_evaluated_past_the_end(name):
    seen = []

    def f(t, y):
        seen.append(float(t))
        return smooth(t, y)

    fixed(name, f, Y0, 0.7, 7)
    assert min(seen) >= 0.0
    assert (max(seen) <= 0.7) != (name in PAST_THE_END)


@pytest.mark.parametrize("name", NAMES)
def test_first_rate_and_rates_at_the_ends_are_not_evaluated_twice(name):
    """And a step that is tried again from the same start is the same."""
    calls = []

    def counted(t, y):
        calls.append(t)
        return smooth(t, y)

    stepper, y = begin(replace(get(name), fixed=True), counted, Y0)
    rate = stepper.first_rate(0.0, y)
    assert torch.allclose(rate, smooth(torch.tensor(0.0), Y0).reshape(-1))
    before = len(calls)
    stepper.attempt(0.0, 0.4, y)
    short = stepper.attempt(0.0, 0.1, y).y1
    tried = len(calls)
    assert torch.allclose(short, fixed(name, smooth, Y0, 0.1, 1), rtol=1e-12)
    stepper.accept()
    stepper.interpolant()
    ends = len(calls) - tried
    if get(name).tableau.inner:
        assert ends > 1
    else:
        assert ends == (0 if get(name).tableau.stiffly_accurate else 1)
    stepper.first_rate(0.1, short)
    assert len(calls) == tried + ends and before == 1
    stepper.restart()
    stepper.first_rate(0.1, short)
    assert len(calls) == tried + ends + 1


def test_a_step_that_has_no_solution_fails_by_name():
    f = lambda t, y: 1 + y**2  # noqa: E731
    stepper, _ = begin("implicit_euler", f, torch.ones(1, 1))
    with pytest.raises(StepFailed, match="did not converge .*t=1"):
        stepper.attempt(0.0, 1.0, torch.ones(1))


@pytest.mark.parametrize("name", ["kvaerno3", "radau_iia5"])
def test_float32_and_inference_mode(name):
    """A solve in inference mode leaves nothing behind that a later one with a graph trips over."""
    y0 = Y0.float()
    with torch.inference_mode():
        y = adaptive(name, smooth, y0, 0.5, 1e-4, 0.1).final
    assert torch.allclose(y, reference(0.5).float(), atol=1e-3)
    y0.requires_grad_()
    y = adaptive(name, smooth, y0, 0.5, 1e-4, 0.1, graph=True).final
    assert torch.autograd.grad(y.sum(), y0)[0].isfinite().all()


def test_a_row_costs_what_a_batch_does(draw):
    """Equal rows take the steps of one of them, at as many evaluations."""
    counts = []
    for rows in (1, 50):
        y0 = torch.tensor([[1.0, 0.0, 0.0]], dtype=torch.float64).expand(rows, -1)
        _, cost, _, stepper = adaptive("kvaerno5", robertson, y0, 1.0, 1e-4)
        counts.append((cost.accepted, cost.nfe - (rows > 1), stepper.newton.evaluated))
    assert counts[0] == counts[1]


@pytest.mark.parametrize("name", ["implicit_euler", "implicit_midpoint", "radau_iia3", "gauss6"])
def test_f_may_be_infinite_where_a_solve_starts(name):
    """y' = 1 / (2 sqrt t), which no stage of these asks for at t = 0."""
    y0 = torch.zeros(3, 2, dtype=torch.float64)
    solver = Solver(name, step_size=0.01)
    found = solver(lambda t, y: 0.5 / t.sqrt() + 0 * y, y0, [0.0, 1.0]).final
    assert (found - 1).abs().max() < 0.1
