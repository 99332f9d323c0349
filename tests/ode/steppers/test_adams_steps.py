"""Adams methods: orders, tolerances and costs, estimates, interpolants, gradients."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import pytest
import torch
from scipy.integrate import ode, solve_ivp
from support.ode.problems import bend, logistic
from support.ode.steps import begin, solve

from node_runner.ode import SolverError
from node_runner.ode.steppers.adams import Adams, adams_weights, scaled_times
from node_runner.ode.steppers.fixed_adams import FixedAdams

F64 = torch.float64
MIXING = torch.tensor([[0.5, -1.2, 0.3], [0.9, -0.4, 1.1], [-0.7, 0.6, -0.8]], dtype=F64)


def pendulum(t, y):
    return torch.stack([y[1], -torch.sin(y[0])])


def predator(t, y):
    return torch.stack([y[0] * (1.5 - y[1]), y[1] * (y[0] - 3)])


def kepler(t, y):
    return torch.cat([y[2:], -y[:2] / y[:2].norm() ** 3])


def network(t, y):
    return torch.tanh(MIXING.to(y) @ y + torch.cos(t)) - 0.3 * y


PROBLEMS = {
    "bend": (bend, [1.0, 0.5, 0.8], 0.0, 3.0),
    "logistic": (logistic, [0.3, 0.5, 0.8], 0.0, 5.0),
    "pendulum": (pendulum, [1.0, 0.5], 0.0, 6.0),
    "predator": (predator, [3.0, 1.0], 0.0, 1.2),
    "kepler": (kepler, [0.7, 0.0, 0.0, math.sqrt(1.3 / 0.7)], 0.0, 1.5),
    "network": (network, [0.5, -0.2, 0.9], 0.0, 8.0),
}
METHODS = {
    "adams": (Adams(), {"tol": 1e-7}),
    "adams of order 3": (Adams(3), {"tol": 1e-4}),
    "explicit": (FixedAdams(False, 5), {"step_size": 0.07}),
    "implicit": (FixedAdams(True, 5), {"step_size": 0.07}),
}
methods = pytest.mark.parametrize("name", METHODS)


def on_arrays(f):
    """f for SciPy, counted."""

    def called(t, y):
        called.count += 1
        return f(torch.tensor(float(t), dtype=F64), torch.from_numpy(np.array(y))).numpy()

    called.count = 0
    return called


def reference(f, y0, t, end, tol=1e-12):
    y0 = np.asarray(y0, dtype=float)
    found = solve_ivp(on_arrays(f), (t, end), y0, method="DOP853", rtol=tol, atol=tol)
    return torch.from_numpy(found.y[:, -1].copy())


@cache
def problem(name):
    """f, y0, ends and y(t1)."""
    f, y0, t0, t1 = PROBLEMS[name]
    return f, torch.tensor(y0, dtype=F64), (t0, t1), reference(f, y0, t0, t1)


def vode_evaluations(f, y0, ends, tol):
    f = on_arrays(f)
    solver = ode(f).set_integrator("vode", method="adams", rtol=tol, atol=tol, nsteps=100_000)
    solver.set_initial_value(y0.numpy(), ends[0]).integrate(ends[1])
    return f.count


@pytest.mark.parametrize("k", [1, 2, 3, 5, 8, 12])
def test_formulas_integrate_polynomials_exactly(k):
    """On uneven times: the predictor degree k - 1, the corrector degree k, both over [0, 1]."""
    generator = torch.Generator().manual_seed(k)
    gaps = (0.5 + torch.rand(k - 1, generator=generator, dtype=F64)).tolist()
    nodes = tuple([0.0] + [-sum(gaps[: i + 1]) for i in range(k - 1)])
    weights = adams_weights(nodes, k)
    for degree in range(k + 1):
        rates = [(1 + x / k) ** degree for x in nodes]
        predicted, extrapolated = (
            math.fsum(w * r for w, r in zip(row, rates, strict=True)) for row in weights.rows[:2]
        )
        defect = (1 + 1 / k) ** degree - extrapolated
        exact = k * ((1 + 1 / k) ** (degree + 1) - 1) / (degree + 1)
        rounding = 1e-15 * sum(map(abs, weights.rows[1])) * k
        assert abs(predicted + weights.corrector * defect - exact) < rounding
        assert degree == k or max(abs(predicted - exact), abs(defect)) < rounding


@pytest.mark.parametrize("t", [0.0, 0.1, 1000.1, -7.3])
@pytest.mark.parametrize("sign", [1, -1])
def test_steps_of_one_size_have_the_same_coefficients(t, sign):
    dt = sign * 0.0123
    times = [t - i * dt for i in range(12)]
    assert scaled_times(times, t, t + dt, 12) == tuple(-float(i) for i in range(12))


@pytest.mark.parametrize("name", PROBLEMS)
def test_error_is_of_the_size_of_the_tolerance_both_ways(name):
    f, y0, ends, exact = problem(name)
    for tol in (1e-3, 1e-5, 1e-8):
        assert (solve(Adams(), f, y0, ends, tol=tol).final - exact).abs().max() < 10 * tol
    back = solve(Adams(), f, exact, ends[::-1], tol=1e-8).final
    amplified = 3000 if name == "network" else 50  # by the problem, which contracts forwards
    assert (back - y0).abs().max() < amplified * 1e-8


def test_evaluations_are_those_of_vode():
    ours = theirs = 0
    for name in PROBLEMS:
        f, y0, ends, _ = problem(name)
        for tol in (1e-4, 1e-7):
            ours += solve(Adams(), f, y0, ends, tol=tol, inside=False).counts.nfe
            theirs += vode_evaluations(f, y0, ends, tol)
    assert ours <= 1.5 * theirs


@pytest.mark.parametrize("name", ["pendulum", "predator"])
def test_step_costs_two_evaluations_and_a_rejected_one_costs_one(name):
    f, y0, ends, _ = problem(name)
    counts = solve(Adams(), f, y0, ends, tol=1e-4, first_step=1e-3).counts
    assert counts.nfe == 2 * counts.accepted + counts.rejected


def test_order_rises_from_one():
    f, y0, ends, _ = problem("pendulum")
    orders = solve(Adams(), f, y0, ends, tol=1e-8).orders
    assert orders[:3] == [1, 2, 3] and max(orders) >= 6
    assert all(abs(a - b) <= 1 for a, b in zip(orders, orders[1:], strict=False))


@pytest.mark.parametrize("order", [1, 2, 4])
def test_order_keeps_its_bound(order):
    f, y0, ends, exact = problem("bend")
    found = solve(Adams(order), f, y0, ends, tol=1e-5)
    assert max(found.orders) == order and (found.final - exact).abs().max() < 1e-4


def error_over_estimate(method, name, tol, first=0):
    """Medians and 90 % quantiles of the errors of y1, and of the result of order k, y1 - dt *
    error, over the estimate.
    """
    f, y0, ends, _ = problem(name)
    ratios = []
    for step in solve(method, f, y0, ends, tol=tol).steps[first:]:
        exact = reference(f, step.y0, step.t0, step.t1, 1e-13)
        estimate = (step.t1 - step.t0) * step.trial.defect * step.trial.weights.error
        errors = step.y1 - exact, step.y1 - estimate - exact
        ratios.append([float(error.norm() / estimate.norm()) for error in errors])
    return np.quantile(ratios, [0.5, 0.9], axis=0).T


@pytest.mark.parametrize("name, tol", [("bend", 1e-3), ("pendulum", 1e-5), ("network", 1e-4)])
def test_estimate_is_near_the_local_error(name, tol):
    """At the order and size that are chosen, successive orders have errors alike."""
    (of_y1, most), (of_order_k, most_k) = error_over_estimate(Adams(), name, tol)
    assert 0.3 < of_y1 < 2 and most < 6
    assert 0.5 < of_order_k < 2.5 and most_k < 6


def test_estimate_of_small_steps_is_that_of_order_k():
    """Where the order is bounded, y1 is better than the estimate by a power of dt."""
    (of_y1, _), (of_order_k, _) = error_over_estimate(Adams(2), "bend", 1e-6, first=10)
    assert 0.9 < of_order_k < 1.1 and of_y1 < 0.2


@pytest.mark.parametrize("ends", [(0.0, 2.5), (2.5, 0.0)])
def test_kink_is_stepped_over_by_rejections(ends):
    """f jumps where the solution changes course: y = |t - 1| + const on either way."""
    y0 = torch.full((2,), abs(ends[0] - 1), dtype=F64)
    kink = lambda t, y: torch.where(t < 1, -1.0, 1.0).to(y) * torch.ones_like(y)  # noqa: E731
    found = solve(Adams(), kink, y0, ends)
    assert found.counts.rejected > 0
    assert (found.final - abs(ends[1] - 1)).abs().max() < 1e-4


@pytest.mark.parametrize("precision", ["highest", "high"])
def test_float32(precision):
    """Whatever products of matrices may round to: the history is not summed by one then."""
    f, y0, ends, exact = problem("logistic")
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(precision)
    try:
        found = solve(Adams(), f, y0.float(), ends, tol=1e-5)
    finally:
        torch.set_float32_matmul_precision(before)
    assert found.final.dtype == torch.float32
    assert (found.final.double() - exact).abs().max() < 1e-4 and found.counts.accepted < 80


def test_step_reads_the_device_once_besides_its_judgement(reads):
    stepper, y = begin(Adams(), bend, torch.ones(3, dtype=F64))
    reads.clear()
    for i in range(20):
        y = stepper.attempt(0.01 * i, 0.01 * (i + 1), y).y1
        stepper.accept()
    assert len(reads) == 20


def test_restart_forgets_the_history():
    (fresh, y0), (used, y) = (begin(Adams(), lambda t, y: -y, torch.ones(2).double()) for _ in "ab")
    for i in range(5):
        y = used.attempt(0.01 * i, 0.01 * (i + 1), y).y1
        used.accept()
    used.restart()
    assert used.exponent == 2
    for i in range(4):
        a, b = (s.attempt(0.1 * i, 0.1 * (i + 1), y0) for s in (fresh, used))
        assert torch.equal(a.y1, b.y1) and torch.equal(a.error, b.error)
        fresh.accept(), used.accept()
        y0 = a.y1


@methods
@pytest.mark.parametrize("sign", [1, -1])
def test_gradient_is_that_of_the_computed_solution(name, sign):
    """Against central differences; of a method with step-size control to its tolerance only, as
    the choice of steps is not differentiated. A graph changes no value.
    """
    method, options = METHODS[name]
    y0, w = (torch.tensor(v, dtype=F64, requires_grad=True) for v in ([0.3, 0.8], [0.9, -0.5]))

    def end(y0, w, graph):
        def f(t, y):
            return torch.sin(w * y.flip(0)) + torch.cos(t) * w[0]

        found = solve(method, f, y0, (0.0, sign * 1.5), graph=graph, **options)
        return (found.final * torch.tensor([1.0, 2.0], dtype=F64)).sum(), found.counts

    (value, counts), (plain, others) = end(y0, w, True), end(y0, w, False)
    assert counts == others and value.requires_grad and not plain.requires_grad
    assert abs(value - plain) < 1e-12
    step, allowed = 1e-5, 100 * options.get("tol", 1e-10)
    for position, gradient in enumerate(torch.autograd.grad(value, (y0, w))):
        for i in range(2):
            sides = []
            for moved in (step, -step):
                points = [y0.detach().clone(), w.detach().clone()]
                points[position][i] += moved
                sides.append(end(*points, False)[0])
            assert abs(gradient[i] - (sides[0] - sides[1]) / (2 * step)) < allowed


@pytest.mark.parametrize("name", PROBLEMS)
def test_interpolant_is_as_accurate_as_the_steps(name, tol=1e-6):
    """And is held while the solve goes on: it is asked at its end only."""
    f, y0, ends, _ = problem(name)
    result = solve_ivp(
        on_arrays(f), ends, y0.numpy(), "DOP853", rtol=1e-12, atol=1e-12, dense_output=True
    )
    for step in solve(Adams(), f, y0, ends, tol=tol).steps:
        times = [step.t0 + theta * (step.t1 - step.t0) for theta in (0.2, 0.5, 0.9)]
        exact = torch.from_numpy(result.sol(times).T)
        at_ends = torch.from_numpy(result.sol([step.t0, step.t1]).T)
        error = (torch.stack([step.y0, step.y1]) - at_ends).abs().max()
        assert (step.inside.at(times) - exact).abs().max() < 2 * error + tol


@methods
@pytest.mark.parametrize("sign", [1, -1])
def test_interpolant_joins_the_ends_and_has_its_slope(name, sign):
    method, options = METHODS[name]
    f, y0, *_ = problem("network")
    y0 = y0.clone().requires_grad_()
    for t0, t1, y, y1, _, _, inside in solve(
        method, f, y0, (0.0, sign * 1.2), graph=True, **options
    ).steps:
        assert torch.allclose(inside.at([t0, t1]), torch.stack([y, y1]), rtol=0, atol=1e-13)
        t = torch.tensor([t0 + 0.3 * (t1 - t0), t1], dtype=F64, requires_grad=True)
        values = inside.at_tensor(t)
        assert torch.allclose(values, inside.at(t.tolist()), rtol=0, atol=1e-13)
        (slope,) = torch.autograd.grad(values[0, 1], t, retain_graph=True)
        assert slope[0] == pytest.approx(float(inside.slope(t[0].item())[1]), abs=1e-9)
        assert not inside.slope(t1).requires_grad
        assert (inside.slope(t1) - f(torch.tensor(t1, dtype=F64), y1)).abs().max() < 0.05


@pytest.mark.parametrize("corrects", [False, True])
def test_fixed_steps_of_other_orders(corrects):
    """An order that is bounded; and the highest, whose start alone bounds that of a solve."""
    f, y0, ends, exact = problem("pendulum")
    low = FixedAdams(corrects, 4, max_iters=20, rtol=1e-13, atol=1e-13)
    errors = [
        (solve(low, f, y0, ends, step_size=6 / (n - 0.4)).final - exact).abs().max().item()
        for n in (80, 160)
    ]
    assert math.log2(errors[0] / errors[1]) > low.order - 0.3
    final = solve(FixedAdams(corrects), f, y0, ends, step_size=0.005, inside=False).final
    assert (final - exact).abs().max() < (1e-9 if corrects else 1e-4)


def test_explicit_formula_costs_one_evaluation():
    f, y0, ends, _ = problem("bend")
    found = solve(FixedAdams(False, 5), f, y0, ends, step_size=0.1)
    in_first_two = 2 * 3  # the further stages of rk4; its interpolant's rate is the next step's
    assert found.counts.nfe == len(found.steps) + in_first_two


def test_steps_of_rk4_only_are_announced():
    with pytest.warns(UserWarning, match="max_order is 3"):
        method = FixedAdams(True, 3)
    f, y0, ends, exact = problem("bend")
    assert (solve(method, f, y0, ends, step_size=0.02).final - exact).abs().max() < 1e-7


def test_corrector_that_does_not_converge_is_an_error():
    with pytest.raises(SolverError, match="corrector has not converged in 2 iterations"):
        method = FixedAdams(True, max_iters=2)
        solve(method, lambda t, y: -20 * y, torch.ones(1), (0.0, 1.0), step_size=0.1)


@pytest.mark.parametrize(
    "make", [lambda: FixedAdams(True, 13), lambda: FixedAdams(True, max_iters=0), lambda: Adams(0)]
)
def test_options_out_of_range(make):
    with pytest.raises(ValueError, match="must be"):
        make()
