"""The norm that measures a step's error."""

from __future__ import annotations

from math import inf, isnan, nan

import numpy as np
import pytest
import torch

from node_runner.ode import Adjoint, Solver, SolverError
from node_runner.ode.error_norm import ErrorNorm, worst
from node_runner.ode.state import Layout
from node_runner.ode.torchdiffeq import odeint, odeint_adjoint

Y = torch.tensor([1.0, 2.0], dtype=torch.float64)


def rms(x):
    return x.square().mean().sqrt().item()


def test_allowed_error_is_relative_to_the_larger_end():
    layout = Layout(torch.zeros(3, dtype=torch.float64))
    y0, y1 = torch.tensor([[1.0, -4.0, 0.0], [-3.0, 2.0, 0.0]]).double()
    allowed = ErrorNorm(layout, 0.1, 0.01, [1.0]).scale(y0, y1)
    torch.testing.assert_close(allowed, torch.tensor([0.31, 0.41, 0.01]).double())


def test_allowed_error_takes_each_entrys_tolerances(draw):
    layout = Layout((draw(2), draw(3, 1)))
    y = torch.ones(5, dtype=torch.float64)
    allowed = ErrorNorm(layout, [0.1, 0.2], [1.0, 3.0], [1.0, 1.0]).scale(y, y)
    torch.testing.assert_close(allowed, torch.tensor([1.1, 1.1, 3.2, 3.2, 3.2]).double())


def test_ratio_of_one_entry_is_its_rms(draw):
    """Over all elements: the batch is one system."""
    error = draw(4, 5)
    assert ErrorNorm(Layout(error), 1, 1, [1.0]).error_ratios(error.view(-1)) == pytest.approx(
        [rms(error)]
    )


def test_ratio_of_several_entries_is_the_largest_weighted_rms(draw):
    a, b, c = draw(3), 3 * draw(2, 2), 10 * draw(5)
    layout, error = Layout((a, b, c)), torch.cat([a, b.view(-1), c])
    for weights in ([1.0, 1.0, 1.0], [1.0, 1.0, 0.0], [100.0, 1.0, 0.5]):
        expected = max(w * rms(x) for w, x in zip(weights, (a, b, c), strict=True))
        assert ErrorNorm(layout, 1, 1, weights).error_ratios(error) == pytest.approx([expected])


def test_several_vectors_are_measured_apart(draw):
    a, b = draw(5), draw(5)
    norm = ErrorNorm(Layout((a[:2], a[2:])), 1, 1, [1.0, 1.0])
    assert norm.error_ratios(a, b) == pytest.approx([*norm.error_ratios(a), *norm.error_ratios(b)])


@pytest.mark.parametrize("bad", [nan, inf])
@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_what_is_not_finite_shows_whatever_its_weight(bad, weight):
    layout = Layout((torch.zeros(2).double(), torch.zeros(2).double()))
    ratio = ErrorNorm(layout, 1, 1, [1.0, weight]).error_ratios(
        torch.tensor([9.0, 9.0, 0.0, bad]).double()
    )[0]
    assert not ratio < inf


def test_further_ratios_join_where_they_are_asked_for(draw):
    error = draw(3)
    norm = ErrorNorm(Layout(error), 1, 1, [1.0], extra=lambda: torch.tensor([7.0, 9.0]).double())
    assert norm.error_ratios(error, extra=True) == [9.0]
    assert norm.error_ratios(error) == pytest.approx([rms(error)])


def test_worst_keeps_a_nan_wherever_it_stands():
    """Python's max keeps it in the first place only."""
    assert all(isnan(worst(values)) for values in ([nan, 1.0], [1.0, nan], [1.0, nan, 2.0]))
    assert worst([1.0, 3.0, 2.0]) == 3.0


@pytest.mark.parametrize(
    "form",
    [np.float32, np.float64, np.array, torch.tensor, lambda v: torch.tensor(v).double(), float],
)
def test_a_tolerance_may_be_a_number_of_any_library(form):
    def f(t, y):
        return -y

    tol = 2.0**-13  # the same in all of them
    expected = Solver("dopri5", tol, tol, first_step=tol)(f, Y, [0.0, 1.0]).final
    solver = Solver("dopri5", form(tol), form(tol), first_step=form(tol))
    assert torch.equal(solver(f, Y, [0.0, 1.0]).final, expected)
    t = torch.tensor([0.0, 1.0])
    for solve, more in ((odeint, {}), (odeint_adjoint, {"adjoint_rtol": form(tol)})):
        kwargs = {"adjoint_params": (), **more} if more else {}
        y0 = Y.clone().requires_grad_()
        ys = solve(f, y0, t, rtol=form(tol), atol=form(tol), **kwargs)
        torch.testing.assert_close(ys[-1], expected, rtol=1e-3, atol=0)
        ys[-1].sum().backward()
    assert Adjoint(rtol=form(tol)).rtol == tol


def test_a_tolerance_may_be_an_integer_or_an_array_with_one_for_each_entry():
    assert Solver(rtol=0, atol=1).rtol == 0.0
    for form in (np.array, torch.tensor, tuple):
        solver = Solver("dopri5", form([0.5, 0.25]), form([0.5, 0.125]))
        assert solver.rtol == [0.5, 0.25]
        assert solver(lambda t, y: (-y[0], -y[1]), (Y, Y), [0.0, 1.0]).final[0].shape == Y.shape


@pytest.mark.parametrize("value", ["small", None, [["x"]], 1j])
def test_what_is_no_tolerance_is_refused_by_name(value):
    with pytest.raises(ValueError, match="rtol is .*, must be a number or one for each"):
        Solver(rtol=value)


@pytest.mark.parametrize("dtype, tol", [(torch.float32, 1e-9), (torch.float64, 1e-17)])
def test_a_tolerance_below_the_rounding_of_the_state_is_warned_of(dtype, tol):
    solver = Solver("dopri5", tol, tol, first_step=1e-9)
    for solve in (
        lambda: solver(lambda t, y: -y, Y.to(dtype), [0.0, 1e-9]),
        lambda: solver.dense(lambda t, y: -y, Y.to(dtype), 0.0, 1e-9),
    ):
        with pytest.warns(UserWarning, match=f"below the rounding of a {dtype} state"):
            solve()


def test_a_solve_that_fails_below_the_rounding_of_its_state_says_so():
    with pytest.warns(UserWarning, match="rounding"), pytest.raises(SolverError) as caught:
        Solver("dopri5", 1e-12, 1e-12, max_steps=99)(
            lambda t, y: torch.cos(t) * y, Y.float(), [0.0, 9.0]
        )
    assert "below the rounding of the torch.float32 state" in caught.value.cause
    assert "float64" in caught.value.advice[0]


@pytest.mark.parametrize("dtype, tol", [(torch.float32, 1e-7), (torch.float64, 1e-15)])
def test_a_tolerance_at_the_rounding_is_not_warned_of(dtype, tol, recwarn):
    Solver("dopri5", tol, tol / 100, max_steps=10**6)(lambda t, y: -y, Y.to(dtype), [0.0, 1e-3])
    assert not recwarn.list


@pytest.mark.parametrize("rate", [1e7, 1e9])
def test_no_first_step_lands_where_the_estimate_is_zero(rate):
    """bosh3 on y' = -lambda y estimates no error at all of a step of 1 / lambda, whose error is
    0.03.
    """
    y = Solver("bosh3", 1e-4, 1e-4)(lambda t, y: -rate * y, Y, [0.0, 1.0 / rate])
    torch.testing.assert_close(y.final, Y * 0.36788, rtol=2e-3, atol=0)
