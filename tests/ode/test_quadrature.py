"""Quadratures: integrals along the path that f never sees."""

from __future__ import annotations

from math import nan

import pytest
import torch
from support.ode.problems import ADAPTIVE, NAMES, Recorded, logistic, make_solver

from node_runner.ode import Quadrature, Solver, SolverError, methods


def zero(*shape, weight=1.0):
    return Quadrature(torch.zeros(shape, dtype=torch.float64), weight)


def with_integrals(t, y):
    """y' = -y with the integrals of y (a vector), of y_0^2 (a scalar) and of cos t."""
    return -y, (y, y[0] ** 2, torch.cos(t))


@pytest.mark.parametrize("name", NAMES)
def test_integrals_are_those_of_analysis(name):
    """int_0^T e^-t = 1 - e^-T, int e^-2t = (1 - e^-2T) / 2, int cos = sin."""
    y0 = torch.ones(2, dtype=torch.float64)
    ts = torch.tensor([0.0, 0.4, 1.0, 2.0], dtype=torch.float64)
    quadratures = [zero(2), zero(), zero()]
    solution = make_solver(name, 1e-6, 0.002)(with_integrals, y0, ts, quadratures=quadratures)
    expected = (
        (1 - torch.exp(-ts))[:, None].expand(4, 2),
        (1 - torch.exp(-2 * ts)) / 2,
        torch.sin(ts),
    )
    allowed = 2e-3 if methods.get(name).order == 1 else 2e-4 if name == "fehlberg2" else 2e-5
    for found, exact in zip(solution.quadratures, expected, strict=True):
        torch.testing.assert_close(found, exact, rtol=0, atol=allowed)
    for found, final in zip(solution.quadratures, solution.final_quadratures, strict=True):
        assert torch.equal(found[-1], final)


def test_integral_starts_where_it_is_told():
    y0, start = torch.ones(2, dtype=torch.float64), torch.tensor([3.0, -1.0]).double()

    def f(t, y):
        return -y, (y,)

    a, b = (
        Solver("rk4", step_size=0.1)(f, y0, [0.0, 0.25, 1.0], quadratures=[Quadrature(s)])
        for s in (start, torch.zeros_like(start))
    )
    assert torch.equal(a.quadratures[0][0], start)
    torch.testing.assert_close(a.quadratures[0] - start, b.quadratures[0], rtol=0, atol=1e-14)


@pytest.mark.parametrize("graph", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_quadrature_equals_an_entry_of_the_state(name, graph, draw):
    """It is solved as if it were fed to f: the steps are the same, the sums too."""
    y0, ts = draw(3).abs().requires_grad_(graph), [0.0, 0.3, 1.0]
    q0 = torch.zeros((), dtype=torch.float64)
    solver = make_solver(name, 1e-5)
    apart = solver(lambda t, y: (logistic(t, y), (y.prod(),)), y0, ts, quadratures=[zero()])
    fed = solver(lambda t, s: (logistic(t, s[0]), s[0].prod()), (y0, q0), ts)
    assert apart.stats == fed.stats
    torch.testing.assert_close(apart.ys, fed.ys[0], rtol=1e-13, atol=1e-14)
    torch.testing.assert_close(apart.quadratures[0], fed.ys[1], rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize("name", ADAPTIVE)
def test_quadrature_of_weight_zero_leaves_steps_and_cost_alone(name, draw):
    """It oscillates far faster than the state, and costs steps when it has weight."""
    y0, ts, solver = draw(3).abs(), [0.0, 0.3, 2.0], make_solver(name, 1e-5)

    def f(t, y):
        return logistic(t, y), (torch.cos(60 * t).expand(2),)

    alone = solver(logistic, y0, ts)
    riding = solver(f, y0, ts, quadratures=[zero(2, weight=0.0)])
    weighing = solver(f, y0, ts, quadratures=[zero(2)])
    assert riding.stats == alone.stats
    torch.testing.assert_close(riding.ys, alone.ys, rtol=1e-12, atol=1e-14)
    assert weighing.stats.forward.nfe > alone.stats.forward.nfe


def test_quadrature_is_not_shown_to_f(draw):
    seen = set()

    def f(t, y):
        seen.add(tuple(y.shape))
        return -y, (y.sum(),)

    Solver()(f, draw(2, 3), [0.0, 1.0], quadratures=[zero()])
    assert seen == {(2, 3)}


def test_quadratures_beside_a_tuple(draw):
    y0 = (draw(2), draw(3))
    solution = Solver(rtol=1e-9, atol=1e-9)(
        lambda t, s: ((-s[0], -s[1]), (s[1].sum(),)), y0, [0.0, 1.0], quadratures=[zero()]
    )
    expected = y0[1].sum() - solution.final[1].sum()
    torch.testing.assert_close(solution.final_quadratures[0], expected, rtol=0, atol=1e-7)


def test_one_time_returns_the_starts(draw):
    solution = Solver()(lambda t, y: (-y, (y,)), draw(2), [0.0], quadratures=[zero(2)])
    assert solution.quadratures[0].shape == (1, 2)
    assert torch.equal(solution.final_quadratures[0], torch.zeros(2).double())


@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_nan_in_a_quadrature_rejects_whatever_its_weight(weight, draw):
    def f(t, y):
        return -y, (torch.tensor(nan if len(calls.times) == 3 else 1.0).double(),)

    calls = Recorded(f)
    solution = Solver(first_step=0.1)(calls, draw(2), [0.0, 1.0], quadratures=[zero(weight=weight)])
    assert solution.stats.forward.rejected == 1
    assert solution.final_quadratures[0].item() == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_lasting_nan_in_a_quadrature_raises(weight, draw):
    with pytest.raises(SolverError, match="f returned NaN or inf"):
        Solver()(
            lambda t, y: (-y, (y.sum() * nan,)),
            draw(2),
            [0.0, 1.0],
            quadratures=[zero(weight=weight)],
        )


Y = torch.ones(2, dtype=torch.float64)


@pytest.mark.parametrize(
    "returned, message",
    [
        (Y, r"with quadratures, f must return \(dy, rates of the 1 quadratures\)"),
        ((Y,), r"with quadratures, f must return \(dy, rates of the 1 quadratures\)"),
        ((Y, (Y,)), r"f returned \(2,\) as the rate of quadrature 0, which has shape \(\)"),
        ((Y, ()), "f returned 1 rates for 2 entries"),
        ((Y, Y.sum()), "quadrature"),
    ],
)
def test_unfit_rates_are_refused(returned, message):
    with pytest.raises(ValueError, match=message):
        Solver()(lambda t, y: returned, Y, [0.0, 1.0], quadratures=[zero()])


@pytest.mark.parametrize(
    "given, message",
    [
        ([0.0], r"quadratures\[0\] is 0.0, must be a Quadrature whose start is a tensor"),
        ([torch.zeros(())], r"quadratures\[0\] is tensor\(0.\), must be a Quadrature"),
        ([Quadrature(0.0)], r"quadratures\[0\] is 'Quadrature of a float', must be"),
        (zero(), "quadratures is a Quadrature, must be a list of Quadrature"),
        (torch.zeros(2), "quadratures is a Tensor, must be a list of Quadrature"),
        ([zero(weight=-1.0)], "the weight of quadrature 0 is -1.0, must be finite and not neg"),
        ([zero(weight=nan)], "the weight of quadrature 0 is nan, must be finite"),
    ],
)
def test_what_is_no_quadrature_is_refused(given, message):
    with pytest.raises(ValueError, match=message):
        Solver()(lambda t, y: (y, (y.sum(),)), Y, [0.0, 1.0], quadratures=given)


@pytest.mark.parametrize("weight", [-1.0, nan, float("inf"), "much"])
def test_unfit_weights_are_refused(weight):
    with pytest.raises(ValueError, match=r"weights\[1\] is .*, must be"):
        Solver()(lambda t, y: y, (Y, Y), [0.0, 1.0], weights=[1.0, weight])


def test_quadrature_of_another_dtype_is_refused():
    with pytest.raises(ValueError, match="quadrature 0 is torch.float32 .* state torch.float64"):
        Solver()(lambda t, y: (-y, (y,)), Y, [0.0, 1.0], quadratures=[Quadrature(torch.zeros(2))])
