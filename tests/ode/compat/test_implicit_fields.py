"""Jacobians of any field that can be evaluated, and the gradient of implicit steps."""

from __future__ import annotations

import pytest
import torch
from grid_cases import STARTS, Counted, even, solve, times
from ode_problems import logistic

from node_runner.ode.compat.steppers.newton import jacobian


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


HIDING = {
    "detached": lambda t, y: with_item(t, y.detach()),
    "detached, yet with a graph": lambda t, y: with_item(t, y.detach()) * WEIGHT,
    "without grad": torch.no_grad()(with_item),
}
WEIGHT = torch.ones((), dtype=torch.float64, requires_grad=True)


@pytest.mark.parametrize("f", HIDING.values(), ids=HIDING)
def test_field_that_hides_its_graph_is_differenced(f, draw):
    y = draw(4)
    torch.testing.assert_close(
        jacobian(f, times(0.0)[0], y), torch.diag(2 * y), rtol=1e-6, atol=1e-7
    )
    with torch.no_grad():
        expected = solve(with_item, y, times(0.0, 0.1), "radauIIA5")
        torch.testing.assert_close(solve(f, y, times(0.0, 0.1), "radauIIA5"), expected)


def test_differencing_costs_one_evaluation_where_y_does_not_matter(draw):
    f = Counted(lambda t, y: torch.ones(50, dtype=torch.float64) * t)
    assert not jacobian(f, times(1.0)[0], draw(50)).any() and f.calls == 2


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


def test_rounding_inside_f_does_not_keep_the_iteration_going():
    """f loses eight digits to cancellation; no residual gets below that, and none has to."""

    def f(t, y):
        return -y * y + ((1e8 + y) - 1e8 - y.detach())

    y = solve(f, STARTS, times(0.0, 0.5), "radauIIA5")[-1]
    exact = solve(lambda t, y: -y * y, STARTS, times(0.0, 0.5), "radauIIA5")[-1]
    torch.testing.assert_close(y, exact, rtol=1e-6, atol=0)
