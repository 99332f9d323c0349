"""Adams methods: their weights, their start, steps of unequal size, and the corrector."""

from __future__ import annotations

import pytest
import torch
from grid_cases import STARTS, Counted, even, solve, stepper, times
from ode_problems import logistic, logistic_exact, slope

from node_runner.ode.compat import grid, steppers
from node_runner.ode.compat.steppers.adams import exact_weights, gauss, quadrature_weights


def bashforth(k):
    return tuple(range(0, -k, -1))


def moulton(k):
    return tuple(range(1, 1 - k, -1))


@pytest.mark.parametrize("nodes", [bashforth, moulton])
@pytest.mark.parametrize("k", range(1, 13))
def test_weights_integrate_polynomials(nodes, k):
    """sum_i w_i x_i^d = 1 / (d + 1) for d < k, and not for d = k: the order is k."""
    x, w = nodes(k), exact_weights(nodes(k))
    terms = [[a * b**d for a, b in zip(w, x, strict=True)] for d in range(k + 1)]
    for d, row in enumerate(terms[:k]):
        assert sum(row) == pytest.approx(1 / (d + 1), abs=1e-15 * k * max(map(abs, row)))
    assert abs(sum(terms[k]) - 1 / (k + 1)) > 1e-3


def test_weights_of_the_textbook():
    """Hairer, Norsett, Wanner, Solving ODEs I, III.1."""
    assert exact_weights(bashforth(2)) == (3 / 2, -1 / 2)
    assert exact_weights(bashforth(4)) == (55 / 24, -59 / 24, 37 / 24, -9 / 24)
    assert exact_weights(moulton(4)) == (9 / 24, 19 / 24, -5 / 24, 1 / 24)


@pytest.mark.parametrize("nodes", [bashforth, moulton])
@pytest.mark.parametrize("k", range(1, 13))
def test_weights_by_quadrature_are_the_exact_ones(nodes, k):
    found = quadrature_weights(torch.tensor(nodes(k), dtype=torch.float64))
    largest = max(map(abs, exact_weights(nodes(k))))
    assert found.tolist() == pytest.approx(exact_weights(nodes(k)), abs=1e-14 * largest)


def test_weights_of_uneven_nodes_integrate_polynomials(draw):
    x = -torch.arange(7).double() + 0.2 * draw(7)
    w = quadrature_weights(x)
    for d in range(7):
        assert (w * x**d).sum().item() == pytest.approx(1 / (d + 1), rel=1e-9)


@pytest.mark.parametrize("n", range(1, 8))
def test_gauss_rule_is_exact_to_degree_2n_minus_1(n):
    points, masses = gauss(n)
    for d in range(2 * n):
        total = sum(m * p**d for p, m in zip(points, masses, strict=True))
        assert total == pytest.approx(1 / (d + 1), rel=1e-14)


def uneven(end, n):
    """Steps that differ by up to a factor of three, the same pattern at every n."""
    return (
        end
        * torch.cumsum(
            torch.tensor([0.0] + [1.0, 2.0, 3.0, 1.0] * (n // 4), dtype=torch.float64), 0
        )
        / (7 * n / 4)
    )


@pytest.mark.parametrize("name, order", [("explicit_adams", 4), ("implicit_adams", 5)])
def test_order_on_uneven_grids(name, order):
    counts, errors = (64, 128, 256), []
    for n in counts:
        t = uneven(4.0, n)
        ys = grid.solve(logistic, STARTS, t, stepper(name, max_order=5))[:: n // 8]
        exact = logistic_exact(t[:: n // 8, None], STARTS)
        errors.append((ys - exact).square().mean().sqrt().item())
    assert -slope(counts, errors) == pytest.approx(order, abs=0.5)


def test_torchdiffeq_is_of_order_one_there():
    theirs = pytest.importorskip("torchdiffeq")
    counts, errors = (64, 128, 256), []
    for n in counts:
        t = uneven(4.0, n)
        options = {"max_order": 5}
        ys = theirs.odeint(logistic, STARTS, t, method="explicit_adams", options=options)
        errors.append((ys - logistic_exact(t[:, None], STARTS)).square().mean().sqrt().item())
    assert -slope(counts, errors) == pytest.approx(1, abs=0.3)


@pytest.mark.parametrize("grad", [False, True])
@pytest.mark.parametrize("name, degree", [("explicit_adams", 2), ("implicit_adams", 3)])
def test_polynomials_are_exact_up_to_a_shortened_last_step(name, degree, grad):
    """y' = (d + 1) t^d: the first formulas take three rates, so that Bashforth's is exact to d = 2
    and Moulton's, which adds one, to d = 3; so is rk4.
    """
    for d in range(degree + 1):
        t = times(0.0, 1.03, grad=grad)
        f = lambda t, y, d=d: ((d + 1) * t**d).expand(1)  # noqa: E731
        y = grid.solve(f, times(0.0), t, stepper(name, max_order=5), step_size=0.1)
        assert y[-1].item() == pytest.approx(1.03 ** (d + 1), rel=1e-13)


@pytest.mark.parametrize("name", ["explicit_adams", "implicit_adams"])
def test_first_two_steps_are_those_of_rk4(name):
    t = even(0.5, 5)
    adams, start = solve(logistic, STARTS, t, name), solve(logistic, STARTS, t, "rk4")
    assert torch.equal(adams[:3], start[:3]) and not torch.equal(adams[3], start[3])


@pytest.mark.parametrize("name", ["explicit_adams", "implicit_adams", "fixed_adams"])
def test_max_order_below_four_is_rk4_and_warns(name):
    with pytest.warns(
        UserWarning, match=f"max_order is 3, below 4: {name} takes steps of rk4 only"
    ):
        method = steppers.get(name, max_order=3)
    t = even(1.0, 8)
    assert torch.equal(grid.solve(logistic, STARTS, t, method), solve(logistic, STARTS, t, "rk4"))


def test_fixed_adams_is_another_name_of_implicit_adams():
    t = even(1.0, 8)
    implicit, fixed = (solve(logistic, STARTS, t, n) for n in ("implicit_adams", "fixed_adams"))
    assert torch.equal(implicit, fixed)


def test_one_evaluation_a_step_after_the_start():
    f = Counted(logistic)
    solve(f, STARTS, even(1.0, 20), "explicit_adams")
    assert f.calls == 2 * 4 + 18


def test_corrector_stops_at_its_tolerance():
    """Looser tolerances cost fewer evaluations, down to one correction a step."""
    calls = []
    for rtol in (1e3, 1e-4, 1e-12):
        f = Counted(logistic)
        grid.solve(
            f, STARTS, even(1.0, 20), steppers.get("implicit_adams", rtol=rtol, max_iters=50)
        )
        calls.append(f.calls)
    assert calls[0] == 2 * 4 + 18 * 2 and calls[0] < calls[1] < calls[2]


def test_tolerances_may_be_tensors_one_for_each_entry():
    t, tight = even(1.0, 20), torch.full((8,), 1e-9, dtype=torch.float64)
    methods = [
        steppers.get("implicit_adams", rtol=tol, atol=tol, max_iters=50) for tol in (1e-9, tight)
    ]
    first, second = (grid.solve(logistic, STARTS, t, method) for method in methods)
    assert torch.equal(first, second)


@pytest.mark.parametrize("grad", [False, True])
def test_corrector_that_does_not_converge_warns(grad):
    """dt times the slope of f is 5 times 0.375, the weight of the end: no contraction."""
    method = steppers.get("implicit_adams", max_order=4, max_iters=3)
    t = even(2.0, 4).requires_grad_(grad)
    with pytest.warns(UserWarning, match="implicit_adams: the corrector has not converged in max_"):
        grid.solve(lambda t, y: -10 * y, STARTS, t, method)


@pytest.mark.parametrize(
    "option, value", [("max_order", 0), ("max_order", 13), ("max_order", 4.5), ("max_iters", 0)]
)
def test_options_out_of_range_are_refused(option, value):
    with pytest.raises(ValueError, match=f"{option} is {value}, must be a"):
        steppers.get("implicit_adams", **{option: value})
