"""The gradient of a solve on a fixed grid is that of the discrete solve, in the times too."""

from __future__ import annotations

import pytest
import torch
from grid_cases import (
    NAMES,
    STARTS,
    mixing,
    solve,
    times,
)
from ode_problems import logistic

from node_runner.ode.compat import grid, steppers


def weights_of(y0, w, t):
    return y0.requires_grad_(), w.requires_grad_(), t.requires_grad_()


@pytest.mark.parametrize("options", [{}, {"step_size": 0.06}], ids=["own", "uniform"])
@pytest.mark.parametrize("name", NAMES)
def test_gradient_is_that_of_the_discrete_solve(name, options, draw):
    """In y0, parameters and times; on the second grid the outputs are interpolated."""

    def run(y0, w, t):
        return solve(lambda t, y: mixing(t, y, w), y0, t, name, **options)

    t = times(0.0, 0.05, 0.13, 0.2, 0.25) if not options else times(0.0, 0.1, 0.29)
    assert torch.autograd.gradcheck(run, weights_of(draw(2), draw(2, 2), t))


@pytest.mark.parametrize("name", ["euler", "rk4", "implicit_adams", "radauIIA3", "trapezoid"])
@pytest.mark.parametrize("perturb", [False, True])
def test_gradient_of_the_cubic_interpolant_backwards(name, perturb, draw):
    def run(y0, w, t):
        options = {"step_size": 0.11, "interp": "cubic", "perturb": perturb}
        return solve(lambda t, y: mixing(t, y, w), y0, t, name, **options)

    assert torch.autograd.gradcheck(run, weights_of(draw(2), draw(2, 2), times(0.3, 0.2, -0.2)))


@pytest.mark.parametrize("name", ["rk4", "explicit_adams", "implicit_adams"])
def test_gradients_of_gradients(name, draw):
    def run(y0, w, t):
        return solve(lambda t, y: mixing(t, y, w), y0, t, name)

    inputs = weights_of(draw(2), draw(2, 2), times(0.0, 0.1, 0.25, 0.3, 0.4))
    assert torch.autograd.gradgradcheck(run, inputs)


@pytest.mark.parametrize("name", NAMES)
def test_tracking_the_times_does_not_change_the_solution(name, draw):
    y0, w = draw(2, 2), draw(2, 2)
    results = [
        solve(lambda t, y: mixing(t, y, w), y0, times(0, 0.3, 1, grad=grad), name, step_size=0.07)
        for grad in (False, True)
    ]
    torch.testing.assert_close(*(r.detach() for r in results), rtol=1e-13, atol=1e-14)


def test_output_that_meets_a_grid_point_has_the_slope_of_the_step_before():
    """There the polygon has a kink; torchdiffeq gives such an output no gradient in its time."""
    t = times(0.0, 0.5, 1.0, grad=True)
    ys = solve(logistic, STARTS[:1], t, "rk4", step_size=0.25)
    (gradient,) = torch.autograd.grad(ys[1], t)
    before = solve(logistic, STARTS[:1], times(0, 0.25, 0.5), "rk4")
    assert gradient[1].item() == pytest.approx(((before[2] - before[1]) / 0.25).item(), rel=1e-12)


def test_ends_of_a_grid_without_graph_are_those_of_t(draw):
    def run(t):
        def constructor(f, y0, t):
            return torch.tensor([t[0].item(), 0.3, 0.35, t[-1].item()], dtype=t.dtype)

        return solve(logistic, STARTS[:2], t, "heun3", grid_constructor=constructor)

    assert torch.autograd.gradcheck(run, times(0.1, 0.32, 0.6, grad=True))


def test_grid_that_depends_on_t_is_differentiated(draw):
    def run(t):
        def constructor(f, y0, t):
            return torch.cat([t[:1], t[:1] + (t[-1] - t[0]) * times(0.3, 0.7), t[-1:]])

        return solve(logistic, STARTS[:2], t, "rk4", grid_constructor=constructor)

    assert torch.autograd.gradcheck(run, times(0.1, 0.32, 0.6, grad=True))


THEIRS = ["euler", "midpoint", "heun2", "heun3", "rk4", "explicit_adams", "implicit_adams"]
OPTIONS = [{}, {"perturb": True}, {"step_size": 0.13}, {"step_size": 0.13, "interp": "cubic"}]


@pytest.mark.parametrize("options", OPTIONS, ids=["own", "perturb", "linear", "cubic"])
@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("name", THEIRS)
def test_values_and_gradients_agree_with_torchdiffeq(name, sign, options, draw):
    """To rounding. Left out is where its are wrong, which has tests of its own: the times' gradient
    of Adams methods, and of outputs that meet a point of a uniform grid.
    """
    theirs = pytest.importorskip("torchdiffeq")
    adams = "adams" in name
    own = "step_size" not in options
    points = [0.1 * i for i in range(7)] if adams and own else [0.0, 0.29, 0.71, 1.3]
    y0, w, t = draw(3, 2), 0.3 * draw(2, 2), sign * times(*points)
    results, tolerances = [], {"rtol": 1e-3, "atol": 1e-4}

    def ours(f, y0, t):
        return grid.solve(f, y0, t, steppers.get(name, **tolerances), **options)

    def other(f, y0, t):
        return theirs.odeint(f, y0, t, method=name, options=options, **tolerances)

    for run in (ours, other):
        leaves = weights_of(y0.clone(), w.clone(), t.clone())
        ys = run(lambda t, y: mixing(t, y, leaves[1]), leaves[0], leaves[2])  # noqa: B023
        asked = leaves[:2] if adams else leaves
        results.append((ys.detach(), *torch.autograd.grad((ys * ys.detach().cos()).sum(), asked)))
    for found, expected in zip(*results, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-11)
