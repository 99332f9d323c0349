"""Adams methods as steppers: orders, tolerances and costs, estimates, interpolants, gradients."""

from __future__ import annotations

import math
from functools import cache
from typing import NamedTuple

import numpy as np
import pytest
import torch
from scipy.integrate import ode, solve_ivp

from node_runner.ode.control import FixedControl, PIControl
from node_runner.ode.error_norm import ErrorNorm
from node_runner.ode.rhs import Rhs
from node_runner.ode.state import Layout, Quadrature, RightSide
from node_runner.ode.stats import Counts
from node_runner.ode.stepper import Attempt, Interpolant, StepFailed
from node_runner.ode.steppers.adams import Adams, adams_weights, scaled_times
from node_runner.ode.steppers.fixed_adams import FixedAdams

F64 = torch.float64
TOLERANCES = [1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8]
MIXING = torch.tensor([[0.5, -1.2, 0.3], [0.9, -0.4, 1.1], [-0.7, 0.6, -0.8]], dtype=F64)


def bend(t, y):
    return -2 * t * y * y


def logistic(t, y):
    return y * (1 - y) * torch.cos(2 * t)


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


class Step(NamedTuple):
    t0: float
    t1: float
    y0: torch.Tensor
    attempt: Attempt
    order: int
    inside: Interpolant


class Solve(NamedTuple):
    final: torch.Tensor
    counts: Counts
    steps: list[Step]


def solve(method, f, y0, t, end, *, tol=1e-6, size=None, graph=False, quadratures=()):
    """A small loop over a stepper, with the control of the core."""
    layout, counts = Layout(y0, quadratures), Counts()
    norm = ErrorNorm(layout, tol, tol, [1.0] * len(layout.sizes))
    rates = RightSide(Rhs(f, layout.device), layout, counts)
    stepper = method.start(rates, layout, norm, graph)
    entries = [y0] if layout.is_tensor else list(y0)
    y = layout.start([*entries, *(q.start for q in quadratures)])
    first = min(0.1 * math.sqrt(tol), abs(end - t))
    control = FixedControl(size) if size else PIControl(first, method.exponent)
    control.begin(t)
    steps = []
    while t != end:
        t1 = control.propose(t, end)
        attempt = stepper.attempt(t, t1, y)
        if attempt.error is not None and not judged(control, stepper, norm, t, t1, y, attempt):
            counts.rejected += 1
            continue
        stepper.accept()
        counts.accepted += 1
        if attempt.error is not None and stepper.growth is not None:
            grown = abs(t1 - t) * stepper.growth
            clipped = abs(t1 - t) < 0.99 * control.proposed
            control.dt = max(grown, control.proposed) if clipped else grown
        order = getattr(stepper, "exponent", 1) - 1
        steps.append(Step(t, t1, y, attempt, order, stepper.interpolant()))
        t, y = t1, attempt.y1
    return Solve(y, counts, steps)


@torch.no_grad()
def judged(control, stepper, norm, t, t1, y, attempt):
    ratio = abs(t1 - t) * norm.error_ratios(attempt.error / norm.scale(y, attempt.y1))[0]
    control.order, control.proposed = stepper.exponent, control.dt
    return control.judge(abs(t1 - t), ratio)


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
    """f, y0, t0, t1 and y(t1)."""
    f, y0, t0, t1 = PROBLEMS[name]
    return f, torch.tensor(y0, dtype=F64), t0, t1, reference(f, y0, t0, t1)


def vode_evaluations(f, y0, t, end, tol):
    f = on_arrays(f)
    solver = ode(f).set_integrator("vode", method="adams", rtol=tol, atol=tol, nsteps=100_000)
    solver.set_initial_value(y0.numpy(), t).integrate(end)
    return f.count


def observed_orders(errors):
    return [math.log2(a / b) for a, b in zip(errors, errors[1:], strict=False)]


# ---- coefficients ------------------------------------------------------------------------------


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
        if degree < k:
            assert abs(predicted - exact) < rounding
            assert abs(defect) < rounding


@pytest.mark.parametrize("t", [0.0, 0.1, 1000.1, -7.3])
@pytest.mark.parametrize("sign", [1, -1])
def test_steps_of_one_size_have_the_same_coefficients(t, sign):
    dt = sign * 0.0123
    times = [t - i * dt for i in range(12)]
    assert scaled_times(times, t, t + dt, 12) == tuple(-float(i) for i in range(12))


# ---- variable order and step -------------------------------------------------------------------


@pytest.mark.parametrize("tol", TOLERANCES)
@pytest.mark.parametrize("name", PROBLEMS)
def test_error_is_of_the_size_of_the_tolerance(name, tol):
    f, y0, t0, t1, exact = problem(name)
    assert (solve(Adams(), f, y0, t0, t1, tol=tol).final - exact).abs().max() < 10 * tol


@pytest.mark.parametrize("name", PROBLEMS)
def test_backward_solve_returns(name):
    f, y0, t0, t1, exact = problem(name)
    back = solve(Adams(), f, exact, t1, t0, tol=1e-8).final
    amplified = 1000 if name == "network" else 50  # by the problem, which contracts forwards
    assert (back - y0).abs().max() < amplified * 1e-8


def test_evaluations_are_those_of_vode():
    ours = theirs = 0
    for name in PROBLEMS:
        f, y0, t0, t1, _ = problem(name)
        for tol in TOLERANCES:
            ours += solve(Adams(), f, y0, t0, t1, tol=tol).counts.nfe
            theirs += vode_evaluations(f, y0, t0, t1, tol)
    assert ours <= 1.5 * theirs


@pytest.mark.parametrize("name", ["pendulum", "predator"])
def test_step_costs_two_evaluations_and_a_rejected_one_costs_one(name):
    f, y0, t0, t1, _ = problem(name)
    _, counts, _ = solve(Adams(), f, y0, t0, t1, tol=1e-4)
    assert counts.nfe == 2 * counts.accepted + counts.rejected


def test_order_rises_from_one():
    f, y0, t0, t1, _ = problem("pendulum")
    orders = [step.order for step in solve(Adams(), f, y0, t0, t1, tol=1e-8).steps]
    assert orders[:3] == [1, 2, 3]
    assert max(orders) >= 6
    assert all(abs(a - b) <= 1 for a, b in zip(orders, orders[1:], strict=False))


@pytest.mark.parametrize("order", [1, 2, 4])
def test_order_keeps_its_bound(order):
    f, y0, t0, t1, exact = problem("bend")
    final, _, steps = solve(Adams(order), f, y0, t0, t1, tol=1e-5)
    assert max(step.order for step in steps) == order
    assert (final - exact).abs().max() < 1e-4


@pytest.mark.parametrize("tol", [1e-3, 1e-5])
@pytest.mark.parametrize("name", ["bend", "pendulum", "network"])
def test_estimate_is_near_the_local_error(name, tol):
    """Both that of the result of order k, y1 - dt * error, and that of y1: at the order and size
    that are chosen, successive orders have errors alike.
    """
    f, y0, t0, t1, _ = problem(name)
    ratios, of_order_k = [], []
    for t, end, y, (y1, error, _), *_ in solve(Adams(), f, y0, t0, t1, tol=tol).steps:
        exact, estimate = reference(f, y, t, end, 1e-13), (end - t) * error
        ratios.append(float((y1 - exact).norm() / estimate.norm()))
        of_order_k.append(float((y1 - estimate - exact).norm() / estimate.norm()))
    assert 0.3 < np.median(ratios) < 2 and np.quantile(ratios, 0.9) < 6
    assert 0.5 < np.median(of_order_k) < 2.5 and np.quantile(of_order_k, 0.9) < 6


def test_estimate_of_small_steps_is_that_of_order_k():
    """Where the order is bounded, y1 is better than the estimate by a power of dt."""
    f, y0, t0, t1, _ = problem("bend")
    ratios, of_order_k = [], []
    for t, end, y, (y1, error, _), *_ in solve(Adams(2), f, y0, t0, t1, tol=1e-6).steps[10:]:
        exact, estimate = reference(f, y, t, end, 1e-13), (end - t) * error
        ratios.append(float((y1 - exact).norm() / estimate.norm()))
        of_order_k.append(float((y1 - estimate - exact).norm() / estimate.norm()))
    assert 0.9 < np.median(of_order_k) < 1.1
    assert np.median(ratios) < 0.2


@pytest.mark.parametrize("sign", [1, -1])
def test_kink_is_stepped_over_by_rejections(sign):
    """f jumps where the solution changes course: y = |t - 1| + const on either way."""

    def kink(t, y):
        return torch.where(t < 1, -1.0, 1.0).to(y) * torch.ones_like(y) - 0.0 * y

    t0, t1 = (0.0, 2.5) if sign > 0 else (2.5, 0.0)
    y0 = torch.full((2,), abs(t0 - 1), dtype=F64)
    final, counts, _ = solve(Adams(), kink, y0, t0, t1, tol=1e-6)
    assert counts.rejected > 0
    assert (final - abs(t1 - 1)).abs().max() < 1e-4


@pytest.mark.parametrize("precision", ["highest", "high"])
def test_float32(precision):
    """Whatever products of matrices may round to: the history is not summed by one then."""
    f, y0, t0, t1, exact = problem("logistic")
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(precision)
    try:
        final, counts, _ = solve(Adams(), f, y0.float(), t0, t1, tol=1e-5)
    finally:
        torch.set_float32_matmul_precision(before)
    assert final.dtype == torch.float32
    assert (final.double() - exact).abs().max() < 1e-4
    assert counts.accepted < 80


def test_step_reads_the_device_once_besides_its_judgement(reads):
    layout, y = Layout(torch.ones(3, dtype=F64)), torch.ones(3, dtype=F64)
    norm = ErrorNorm(layout, 1e-6, 1e-6, [1.0])
    rates = RightSide(Rhs(bend, y.device), layout, Counts())
    stepper, t = Adams().start(rates, layout, norm, False), 0.0
    for _ in range(20):
        y = stepper.attempt(t, t + 0.01, y).y1
        stepper.accept()
        t += 0.01
    assert len(reads) == 20


def test_restart_forgets_the_history():
    layout, y0 = Layout(torch.ones(2, dtype=F64)), torch.ones(2, dtype=F64)
    counts, norm = Counts(), ErrorNorm(layout, 1e-6, 1e-6, [1.0])
    rates = RightSide(Rhs(lambda t, y: -y, y0.device), layout, counts)
    fresh = Adams().start(rates, layout, norm, False)
    used = Adams().start(rates, layout, norm, False)
    y = y0
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


# ---- with and without graph, quadratures ---------------------------------------------------------

METHODS = {
    "adams": (Adams(), {"tol": 1e-7}),
    "adams of order 3": (Adams(3), {"tol": 1e-4}),
    "explicit": (FixedAdams(False, 5), {"size": 0.07}),
    "implicit": (FixedAdams(True, 5), {"size": 0.07}),
}


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("sign", [1, -1])
def test_gradient_is_that_of_the_computed_solution(name, sign):
    """Against central differences; of a method with step-size control to its tolerance only, as
    the choice of steps is not differentiated.
    """
    method, options = METHODS[name]
    y0 = torch.tensor([0.3, 0.8], dtype=F64, requires_grad=True)
    w = torch.tensor([0.9, -0.5], dtype=F64, requires_grad=True)

    def end(y0, w, graph):
        def f(t, y):
            return torch.sin(w * y.flip(0)) + torch.cos(t) * w[0]

        final = solve(method, f, y0, 0.0, sign * 1.5, graph=graph, **options).final
        return (final * torch.tensor([1.0, 2.0], dtype=F64)).sum()

    gradients = torch.autograd.grad(end(y0, w, True), (y0, w))
    step = 1e-5
    for position, gradient in enumerate(gradients):
        for i in range(2):
            points = [y0.detach().clone(), w.detach().clone()]
            points[position][i] += step
            above = end(*points, False)
            points[position][i] -= 2 * step
            difference = (above - end(*points, False)) / (2 * step)
            allowed = 1e-8 if "size" in options else 100 * options["tol"]
            assert abs(gradient[i] - difference) < allowed


@pytest.mark.parametrize("name", METHODS)
def test_graph_changes_no_value(name):
    method, options = METHODS[name]
    f, y0, t0, t1, _ = problem("pendulum")
    with torch.no_grad():
        plain = solve(method, f, y0, t0, t1, **options)
    graph = solve(method, f, y0.clone().requires_grad_(), t0, t1, graph=True, **options)
    assert graph.counts == plain.counts
    assert graph.final.requires_grad and not plain.final.requires_grad
    assert (graph.final - plain.final).abs().max() < 1e-12
    assert all(s.attempt.error is None or not s.attempt.error.requires_grad for s in graph.steps)


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("graph", [False, True])
def test_f_may_return_the_same_memory_each_time(name, graph):
    method, options = METHODS[name]
    f, y0, *_ = problem("logistic")
    memory = torch.empty_like(y0)

    def reusing(t, y):
        return memory.copy_(f(t, y))

    with torch.no_grad():
        found, expected = (
            solve(method, g, y0, 0.0, 1.5, graph=graph, **options).final for g in (reusing, f)
        )
    assert torch.equal(found, expected)


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("graph", [False, True])
def test_quadratures_and_entries_ride_along(name, graph):
    """y' = (v, -x), q' = x^2 + v^2: constant, so that q = t."""
    method, options = METHODS[name]

    def f(t, y):
        x, v = y
        return (v, -x), (x.square() + v.square(),)

    y0 = (torch.ones(1, dtype=F64), torch.zeros(1, dtype=F64))
    start = Quadrature(torch.zeros(1, dtype=F64))
    with torch.set_grad_enabled(graph):
        final = solve(method, f, y0, 0.0, 2.0, graph=graph, quadratures=(start,), **options).final
    exact = torch.tensor([math.cos(2), -math.sin(2), 2.0], dtype=F64)
    assert (final - exact).abs().max() < 1e-3


# ---- interpolants --------------------------------------------------------------------------------


@pytest.mark.parametrize("tol", [1e-4, 1e-6, 1e-8])
@pytest.mark.parametrize("name", PROBLEMS)
def test_interpolant_is_as_accurate_as_the_steps(name, tol):
    """And is held while the solve goes on: it is asked at its end only."""
    f, y0, t0, t1, _ = problem(name)
    result = solve_ivp(
        on_arrays(f), (t0, t1), y0.numpy(), "DOP853", rtol=1e-12, atol=1e-12, dense_output=True
    )
    for step in solve(Adams(), f, y0, t0, t1, tol=tol).steps:
        times = [step.t0 + theta * (step.t1 - step.t0) for theta in (0.2, 0.5, 0.9)]
        exact = torch.from_numpy(result.sol(times).T)
        at_ends = torch.from_numpy(result.sol([step.t0, step.t1]).T)
        error = (torch.stack([step.y0, step.attempt.y1]) - at_ends).abs().max()
        assert (step.inside.at(times) - exact).abs().max() < 2 * error + tol


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("sign", [1, -1])
def test_interpolant_joins_the_ends_and_has_its_slope(name, sign):
    method, options = METHODS[name]
    f, y0, *_ = problem("network")
    y0 = y0.clone().requires_grad_()
    for t0, t1, y, (y1, *_), _, inside in solve(
        method, f, y0, 0.0, sign * 1.2, graph=True, **options
    ).steps:
        assert torch.allclose(inside.at([t0, t1]), torch.stack([y, y1]), rtol=0, atol=1e-13)
        t = torch.tensor([t0 + 0.3 * (t1 - t0), t1], dtype=F64, requires_grad=True)
        values = inside.at_tensor(t)
        assert torch.allclose(values, inside.at(t.tolist()), rtol=0, atol=1e-13)
        (slope,) = torch.autograd.grad(values[0, 1], t, retain_graph=True)
        assert slope[0] == pytest.approx(float(inside.slope(t[0].item())[1]), abs=1e-9)
        assert not inside.slope(t1).requires_grad
        assert (inside.slope(t1) - f(torch.tensor(t1, dtype=F64), y1)).abs().max() < 0.05


# ---- fixed steps --------------------------------------------------------------------------------


@pytest.mark.parametrize("corrects, max_order", [(False, 4), (False, 5), (True, 4), (True, 5)])
@pytest.mark.parametrize("sign", [1, -1])
def test_order_of_fixed_steps(corrects, max_order, sign):
    """Although the last step is shortened, at outputs inside steps too."""
    method = FixedAdams(corrects, max_order, max_iters=20, rtol=1e-13, atol=1e-13)
    y0, end = torch.tensor([0.3, 0.5, 0.8], dtype=F64), sign * 2.0
    exact, middle = (reference(logistic, y0, 0.0, t, 1e-13) for t in (end, 0.71 * end))
    errors, inside = [], []
    for n in (40, 80, 160):
        final, _, steps = solve(method, logistic, y0, 0.0, end, size=2.0 / (n - 0.4))
        errors.append((final - exact).abs().max())
        (step,) = [s for s in steps if abs(s.t0) < 0.71 * 2 <= abs(s.t1)]
        inside.append((step.inside.at([0.71 * end])[0] - middle).abs().max())
    assert min(observed_orders(errors)) > method.order - 0.3
    assert observed_orders([inside[0], inside[-1]])[0] / 2 > method.order - 0.5


@pytest.mark.parametrize("corrects", [False, True])
def test_fixed_steps_of_the_highest_order(corrects):
    """Its start bounds the order of a solve; not of what follows a history that is exact."""
    f, y0, t0, t1, exact = problem("pendulum")
    final = solve(FixedAdams(corrects), f, y0, t0, t1, size=0.005).final
    assert (final - exact).abs().max() < (1e-4 if not corrects else 1e-9)


def test_explicit_formula_costs_one_evaluation():
    f, y0, t0, t1, _ = problem("bend")
    _, counts, steps = solve(FixedAdams(False, 5), f, y0, t0, t1, size=0.1)
    in_first_two = 2 * 3  # the further stages of rk4; its interpolant's rate is the next step's
    assert counts.nfe == len(steps) + in_first_two


def test_steps_of_rk4_only_are_announced():
    with pytest.warns(UserWarning, match="max_order is 3"):
        method = FixedAdams(True, 3)
    f, y0, t0, t1, exact = problem("bend")
    assert (solve(method, f, y0, t0, t1, size=0.02).final - exact).abs().max() < 1e-7


def test_corrector_that_does_not_converge_is_told():
    with pytest.raises(StepFailed, match="the corrector has not converged in 2 iterations"):
        solve(FixedAdams(True, max_iters=2), lambda t, y: -20 * y, torch.ones(1), 0, 1.0, size=0.1)


@pytest.mark.parametrize(
    "make", [lambda: FixedAdams(True, 13), lambda: FixedAdams(True, max_iters=0), lambda: Adams(0)]
)
def test_options_out_of_range(make):
    with pytest.raises(ValueError, match="must be"):
        make()
