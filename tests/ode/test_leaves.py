"""No gradient is dropped silently: tensors that f uses and no strategy knows of are refused."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from node_runner.ode import Adjoint, Direct, Replay, Solver

without_graph = pytest.mark.parametrize(
    "gradient", [Replay(), Adjoint()], ids=["replay", "adjoint"]
)
Y0 = torch.tensor([1.0, -0.5], dtype=torch.float64)


def leaf(*values):
    return torch.tensor(values, dtype=torch.float64, requires_grad=True)


def backward(gradient, f, params=(), ts=(0.0, 1.0)):
    y0 = Y0.clone().requires_grad_()
    Solver(rtol=1e-6, atol=1e-6, gradient=gradient)(f, y0, ts, params=params).final.sum().backward()
    return y0.grad


def in_a_product(w):
    return lambda t, y: torch.tanh(w) * y


def alone(w):
    return lambda t, y: w


def as_a_sum(w):
    return lambda t, y: y + w


def behind_a_view(w):
    return lambda t, y: y * w.view(2, 1)[:, 0]


@pytest.mark.parametrize("use", [in_a_product, alone, as_a_sum, behind_a_view])
@without_graph
def test_unknown_leaf_is_refused_by_name_of_the_argument(gradient, use):
    with pytest.raises(ValueError, match=r"shape \(2,\) that requires a gradient .* params="):
        backward(gradient, use(leaf(0.3, 0.4)))


@pytest.mark.parametrize("use", [in_a_product, alone, as_a_sum, behind_a_view])
@without_graph
def test_leaf_named_in_params_is_known(gradient, use):
    w = leaf(0.3, 0.4)
    backward(Direct(), use(w))
    expected, w.grad = w.grad, None
    backward(gradient, use(w), params=(w,))
    torch.testing.assert_close(w.grad, expected, rtol=1e-4, atol=1e-5)


def test_direct_finds_leaves_itself():
    """y' = w y: d(y1 + y2)/dw_i = y_i(0) exp(w_i)."""
    w = leaf(0.3, 0.4)
    backward(Direct(), lambda t, y: w * y)
    torch.testing.assert_close(w.grad, Y0 * w.detach().exp(), rtol=1e-5, atol=0)


@without_graph
def test_leaf_behind_a_layer_that_is_not_named_is_refused(gradient):
    layer = nn.Linear(2, 2).double()
    with pytest.raises(ValueError, match="params="):
        backward(gradient, lambda t, y: layer(y))
    backward(gradient, lambda t, y: layer(y), params=tuple(layer.parameters()))


@without_graph
def test_the_other_half_of_a_split_is_found(gradient):
    """Both halves are outputs of one node of the graph; only one of them is named."""
    whole = leaf(0.1, 0.2, 0.3, 0.4)

    def run(strategy, named):
        whole.grad = None
        a, b = (2 * whole).chunk(2)
        backward(strategy, lambda t, y: a * y + b * y.square(), params=(a,) if named else ())
        return whole.grad

    torch.testing.assert_close(run(gradient, True), run(Direct(), False), rtol=1e-4, atol=1e-5)


@without_graph
def test_start_that_f_uses_again_may_be_named(gradient):
    """y' = y0 - y rests at y0: dy/dy0 = 1, part of it through the state, part through f."""
    y0 = Y0.clone().requires_grad_()
    solver = Solver(rtol=1e-8, atol=1e-8, gradient=gradient)
    solver(lambda t, y: y0 - y, y0, [0.0, 1.0], params=(y0,)).final.sum().backward()
    torch.testing.assert_close(y0.grad, torch.ones(2).double(), rtol=0, atol=1e-6)


@without_graph
def test_both_halves_of_a_split_may_be_named(gradient):
    whole = leaf(0.1, 0.2, 0.3, 0.4)

    def run(strategy):
        whole.grad = None
        a, b = (2 * whole).chunk(2)
        backward(strategy, lambda t, y: a * y + b * y.square(), params=(a, b))
        return whole.grad

    torch.testing.assert_close(run(gradient), run(Direct()), rtol=1e-4, atol=1e-5)


@without_graph
def test_unknown_leaf_is_refused_where_the_start_needs_no_gradient(gradient):
    """The solve is then no part of the loss's graph, so that only the forward pass can tell."""
    w, other = leaf(0.3, 0.4), leaf(1.0)
    solver = Solver(gradient=gradient)
    with pytest.raises(ValueError, match="params="):
        final = solver(in_a_product(w), Y0, [0.0, 1.0]).final
        (final.sum() + other.sum()).backward()


@pytest.mark.parametrize("early", [True, False], ids=["early", "late"])
@without_graph
def test_leaf_used_for_part_of_the_time_is_refused(gradient, early):
    w = leaf(0.3, 0.4)
    with pytest.raises(ValueError, match="params="):
        backward(gradient, lambda t, y: y * w if (t < 0.5) == early else -y)


@without_graph
def test_leaf_that_requires_no_gradient_is_no_concern(gradient):
    assert backward(gradient, in_a_product(leaf(0.3, 0.4).detach())).abs().min() > 0


def twice(w):
    return 2 * w


def through_a_layer(w):
    return nn.functional.linear(w, torch.eye(2).double()).tanh()


@pytest.mark.parametrize("made", [twice, through_a_layer])
@without_graph
def test_a_tensor_and_what_it_is_made_of_are_not_both_named(gradient, made):
    """Direct counts each way once; of the others one name is enough, and two are refused."""
    w = leaf(0.3, 0.4)
    first = made(w)

    def f(t, y):
        return first * y + w

    with pytest.raises(ValueError, match=r"shape \(2,\) and another that it is computed from"):
        backward(gradient, f, params=(w, first))
    backward(Direct(), f)
    expected, w.grad = w.grad, None
    backward(gradient, lambda t, y: made(w) * y + w, params=(w,))
    torch.testing.assert_close(w.grad, expected, rtol=1e-4, atol=1e-5)


@without_graph
def test_tensors_made_of_the_same_may_both_be_named(gradient):
    w = leaf(0.1, 0.2, 0.3, 0.4)
    f = lambda halves: lambda t, y: halves[0] * y + halves[1]  # noqa: E731
    backward(Direct(), f((2 * w).chunk(2)))
    expected, w.grad = w.grad, None
    halves = (2 * w).chunk(2)
    backward(gradient, f(halves), params=halves)
    torch.testing.assert_close(w.grad, expected, rtol=1e-4, atol=1e-5)
