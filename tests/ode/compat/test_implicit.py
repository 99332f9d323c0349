"""Implicit Runge-Kutta steps: tableaus, Newton's iteration, stability, and the gradient."""

from __future__ import annotations

from dataclasses import replace
from math import nan

import pytest
import torch
from grid_cases import IMPLICIT, STARTS, Counted, even, solve, times
from ode_problems import logistic

from node_runner.ode import SolverError
from node_runner.ode.compat import grid, steppers
from node_runner.ode.compat.steppers.implicit import get
from node_runner.ode.compat.steppers.newton import jacobian
from node_runner.ode.compat.steppers.tableau import ImplicitTableau

SLIP = 1e-9
L_STABLE = ["implicit_euler", "radauIIA3", "radauIIA5", "sdirk2", "trbdf2"]


def nudged(row, *changes):
    return tuple(value + dict(changes).get(i, 0.0) for i, value in enumerate(row))


@pytest.mark.parametrize("name", IMPLICIT)
def test_slips_in_the_coefficients_are_caught(name):
    tableau = get(name)
    for i in range(len(tableau.b)):
        with pytest.raises(ValueError, match=f"sum of row {i} of a"):
            replace(tableau, c=nudged(tableau.c, (i, SLIP)))
        with pytest.raises(ValueError, match=r"order condition of b for the tree \(\)"):
            replace(tableau, b=nudged(tableau.b, (i, SLIP)))


@pytest.mark.parametrize("name", IMPLICIT)
def test_order_is_neither_overstated_nor_understated(name):
    with pytest.raises(ValueError, match="order condition of b for the tree"):
        replace(get(name), order=get(name).order + 1)


def test_node_that_torchdiffeq_repeats_in_gl4_is_caught():
    c = get("gl4").c
    with pytest.raises(ValueError, match="sum of row 1 of a"):
        replace(get("gl4"), c=(c[0], c[0]))


@pytest.mark.parametrize(
    "c, a", [((0.0,), ((0.0, 0.0), (0.0, 0.0))), ((0.0, 1.0), ((0.0,), (1.0, 0.0)))]
)
def test_shapes_that_do_not_fit_are_refused(c, a):
    with pytest.raises(ValueError, match="a tableau of 2 weights needs 2 nodes and 2 rows of 2"):
        ImplicitTableau(order=1, c=c, a=a, b=(0.5, 0.5))


def test_stages_are_solved_together_only_where_they_depend_on_each_other():
    assert get("trbdf2").blocks == ((0, 1), (1, 2), (2, 3))
    assert get("sdirk2").blocks == ((0, 1), (1, 2))
    assert get("gl6").blocks == ((0, 3),)
    lower = ImplicitTableau(
        order=1, c=(1.0, 0.5, 1.0), a=((1.0, 0, 0), (0, 0.25, 0.25), (0, 0.5, 0.5)), b=(1.0, 0, 0)
    )
    assert lower.blocks == ((0, 1), (1, 3))


@pytest.mark.parametrize("slope", [1.0, 1e4])
@pytest.mark.parametrize("name", IMPLICIT)
def test_linear_fields_need_one_iteration_a_step(name, slope, draw):
    """Also stiff ones, and where the inhomogeneity depends on time."""
    a = draw(4, 4) * slope
    ys = solve(lambda t, y: y @ a + t, draw(2, 4), even(1.0, 3), name)
    method = steppers.get(name, max_iters=1)
    once = grid.solve(lambda t, y: y @ a + t, ys[0], even(1.0, 3), method)
    assert torch.equal(once, ys)


@pytest.mark.parametrize("name", IMPLICIT)
def test_a_nonlinear_field_needs_more(name):
    with pytest.raises(SolverError, match="not converged in max_iters=1"):
        grid.solve(logistic, STARTS, even(1.0, 3), steppers.get(name, max_iters=1))


@pytest.mark.parametrize("name", IMPLICIT)
def test_steps_solve_their_equations(name, draw):
    """For y' = A y a step multiplies by R(dt A), R(z) = 1 + z b (I - z a)^-1 1 (Hairer, Wanner,
    Solving ODEs II, eq. (IV.3.2)), here with matrices in the place of z.
    """
    tableau, matrix, dt = get(name), draw(3, 3), 0.7
    a, b = (torch.tensor(x, dtype=torch.float64) for x in (tableau.a, tableau.b))
    s, identity = len(b), torch.eye(3, dtype=torch.float64)
    system = torch.eye(3 * s, dtype=torch.float64) - dt * torch.kron(a, matrix)
    stages = torch.linalg.solve(system, torch.cat([matrix] * s)).view(s, 3, 3)
    expected = identity + dt * torch.einsum("i,ijk->jk", b, stages)
    y0 = draw(3)
    y1 = solve(lambda t, y: matrix @ y, y0, times(0.0, dt), name)[-1]
    torch.testing.assert_close(y1, expected @ y0, rtol=1e-12, atol=1e-13)


def stiff(t, y):
    return -1e6 * (y - torch.cos(t))


@pytest.mark.parametrize("name", IMPLICIT)
def test_stiff_problems_do_not_restrict_the_step(name):
    """dt times the slope of f is -1e5. From the slow solution cos t each method stays near it."""
    t = even(2.0, 20)
    ys = solve(stiff, torch.ones(1, dtype=torch.float64), t, name)[:, 0]
    assert (ys - torch.cos(t)).abs().max() < 3e-3


@pytest.mark.parametrize("name", IMPLICIT)
def test_deviations_do_not_grow_and_l_stable_methods_damp_them_at_once(name):
    t = even(2.0, 20)
    ys = solve(stiff, torch.full((1,), 2.0, dtype=torch.float64), t, name)[:, 0]
    deviations = (ys - torch.cos(t)).abs()
    assert deviations.max() <= 1.0
    if name in L_STABLE:
        assert deviations[1:].max() < 1e-4


def robertson(t, y):
    """Three reactions with rates 0.04, 1e4 and 3e7 (Hairer, Wanner, Solving ODEs II, IV.1)."""
    slow, mixed, fast = 0.04 * y[0], 1e4 * y[1] * y[2], 3e7 * y[1] ** 2
    return torch.stack([mixed - slow, slow - mixed - fast, fast])


ROBERTSON_AT_40 = (0.7158270687, 9.1855347e-6, 0.2841637457)


@pytest.mark.parametrize("name", [name for name in IMPLICIT if name != "trapezoid"])
def test_robertsons_problem_at_steps_far_beyond_its_fast_reaction(name):
    """The trapezoidal rule is left out: it rings, and needs steps that resolve the start."""
    with torch.no_grad():
        y = solve(robertson, times(1.0, 0.0, 0.0), times(0.0, 40.0), name, step_size=0.4)[-1]
    allowed = 3e-3 if name == "implicit_euler" else 1e-4
    assert y.tolist() == pytest.approx(ROBERTSON_AT_40, abs=allowed)
    if name in L_STABLE:  # the others still carry the start of the fast reaction
        assert y[1].item() == pytest.approx(ROBERTSON_AT_40[1], rel=1e-2)
    assert y.sum().item() == pytest.approx(1.0, abs=1e-12)


class RowByRow(torch.autograd.Function):
    """y^2, its backward pass not to be batched."""

    @staticmethod
    def forward(ctx, y):
        ctx.save_for_backward(y)
        return y * y

    @staticmethod
    def backward(ctx, gradient):
        (y,) = ctx.saved_tensors
        assert gradient.sum().item() == gradient.sum().item()  # .item() does not work under vmap
        return 2 * y * gradient


def in_place(t, y):
    z = y * 1
    z.mul_(y)
    return z


def with_item(t, y):
    return y * y if y.sum().item() > -1e9 else y


def own_gradient(t, y):
    """As Hamiltonian fields do: f is itself a gradient."""
    with torch.enable_grad():
        z = y if y.requires_grad else y.detach().requires_grad_()
        return torch.autograd.grad((z**3).sum() / 3, z, create_graph=True)[0]


SQUARES = [lambda t, y: y * y, in_place, with_item, lambda t, y: RowByRow.apply(y), own_gradient]


@pytest.mark.parametrize("f", SQUARES, ids=["plain", "in place", "item", "rows", "gradient"])
def test_any_field_that_autograd_can_differentiate_will_do(f, draw):
    y, t = draw(4), times(0.0)[0]
    assert torch.equal(jacobian(f, t, y), torch.diag(2 * y))
    plain = solve(SQUARES[0], y, times(0.0, 0.1), "radauIIA5")
    torch.testing.assert_close(solve(f, y, times(0.0, 0.1), "radauIIA5"), plain)
    with torch.no_grad():
        assert torch.equal(solve(f, y, times(0.0, 0.1), "radauIIA5"), plain)
    if f is not own_gradient:  # which could not be evaluated there
        with torch.inference_mode():
            assert torch.equal(solve(f, y, times(0.0, 0.1), "radauIIA5"), plain)


def test_field_without_y_has_jacobian_zero(draw):
    for f in (
        lambda t, y: t.expand(3),
        lambda t, y: torch.ones(3).double() * t,
        lambda t, y: 0 * y,
    ):
        assert torch.equal(jacobian(f, times(1.0)[0], draw(3)), torch.zeros(3, 3).double())


def test_field_sees_plain_tensors_of_its_shape(draw):
    """Side effects in f keep working: what it stores are tensors as any other."""
    seen = []

    def f(t, y):
        seen.append(y)
        return -y

    solve(f, draw(2, 3), even(1.0, 2), "gl4")
    assert {y.shape for y in seen} == {(2, 3)}
    assert all(torch.isfinite(torch.stack([y.detach() for y in seen])).flatten().tolist())


def test_gradient_costs_no_graph_of_the_iterations(draw):
    """One evaluation a stage with graph forwards, one a stage backwards."""
    f = Counted(logistic)
    with torch.no_grad():
        solve(f, STARTS, times(0.0, 0.3), "gl6")
    alone, f.calls = f.calls, 0
    y0 = STARTS.clone().requires_grad_()
    ys = solve(f, y0, times(0.0, 0.3), "gl6")
    assert f.calls == alone + 3
    ys.sum().backward()
    assert f.calls == alone + 6


@pytest.mark.parametrize("name", ["gl4", "trapezoid"])
def test_gradients_of_gradients_are_refused(name, draw):
    y0 = draw(2).requires_grad_()
    y1 = solve(logistic, y0, times(0.0, 0.1), name)[-1]
    (gradient,) = torch.autograd.grad(y1.sum(), y0, create_graph=True)
    with pytest.raises(
        NotImplementedError, match="implicit Runge-Kutta step cannot be differentiat"
    ):
        torch.autograd.grad(gradient.sum(), y0)


@pytest.mark.parametrize("name", IMPLICIT)
def test_single_precision_converges(name):
    y0 = STARTS.float()
    with torch.no_grad():
        y = grid.solve(logistic, y0, torch.linspace(0, 1, 9), steppers.get(name))[-1]
    double = solve(logistic, STARTS, even(1.0, 8), name)[-1]
    torch.testing.assert_close(y.double(), double, rtol=5e-6, atol=0)


def test_rounding_inside_f_does_not_keep_the_iteration_going():
    """f loses eight digits to cancellation; no residual gets below that, and none has to."""

    def f(t, y):
        return -y * y + ((1e8 + y) - 1e8 - y.detach())

    y = solve(f, STARTS, times(0.0, 0.5), "radauIIA5")[-1]
    exact = solve(lambda t, y: -y * y, STARTS, times(0.0, 0.5), "radauIIA5")[-1]
    torch.testing.assert_close(y, exact, rtol=1e-6, atol=0)


def tangent(t, y):
    return torch.cat([-y[:, :1], y[:, 1:] ** 2 + 1], 1)


def test_no_solution_of_the_equations_is_said_with_place_and_remedy():
    """Implicit Euler on y' = y^2 + 1 from 1.1 with step 1 / 4: y = 1.1 + (y^2 + 1) / 4 has no real
    root.
    """
    y0 = torch.tensor([[0.0, 1.1]], dtype=torch.float64)
    with pytest.raises(SolverError) as raised:
        solve(tangent, y0, times(2.0, 2.25, 3.25), "implicit_euler")
    error = raised.value
    assert (error.method, error.t, error.dt, error.steps) == ("implicit_euler", 2.0, 0.25, (0, 0))
    assert error.component == "the state[0, 1]" and error.error_ratio > 1e6
    for part in ("not converged in max_iters=100 iterations", "residual is", "a smaller step_size"):
        assert part in str(error)


def test_singular_matrix_is_told_from_nan_of_f():
    """From 1 the first correction leads to y = 2, where 1 - dt df/dy = 1 - 4 / 4."""
    y0 = torch.tensor([[0.0, 1.0]], dtype=torch.float64)
    with pytest.raises(SolverError, match="matrix of Newton's iteration is singular"):
        solve(tangent, y0, times(0.0, 0.25), "implicit_euler")


@pytest.mark.parametrize("grad", [False, True])
def test_nan_from_f_is_said(grad):
    def f(t, y):
        return torch.where(t > 0.5, nan, -y)

    t = times(0.0, 0.4, 0.8, grad=grad)
    with pytest.raises(SolverError, match="stopped at t=0.4 with step 0.4: f returned NaN or inf"):
        solve(f, STARTS, t, "radauIIA3")


def test_field_that_hides_its_graph_is_told_from_one_that_is_too_hard():
    with pytest.raises(
        SolverError, match="the Jacobian of f in y is zero. .*no detach, no torch.n"
    ):
        solve(lambda t, y: -100 * y.detach(), STARTS, even(1.0, 2), "implicit_euler")


@pytest.mark.parametrize("value", [0, 2.5])
def test_max_iters_out_of_range_is_refused(value):
    with pytest.raises(ValueError, match=f"max_iters is {value}, must be a positive integer"):
        steppers.get("gl4", max_iters=value)
