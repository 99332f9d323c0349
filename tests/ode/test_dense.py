"""A solution as a function of time: what the solver returns there, and its gradients."""

from __future__ import annotations

import doctest

import pytest
import torch
from support.ode.gradient_cases import STRATEGIES, TIMES, largest_difference, make_case
from support.ode.problems import NAMES, Net, Recorded, logistic, logistic_exact, make_solver

from node_runner.ode import Adjoint, Direct, Replay, Solver, SolverError, dense, methods

strategies = pytest.mark.parametrize("gradient", STRATEGIES.values(), ids=STRATEGIES)
Y0 = torch.tensor([1.0, 0.5, 0.8], dtype=torch.float64)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("ends", [(0.0, 2.0), (2.0, 0.0)], ids=["forward", "backward"])
def test_it_is_what_the_solver_returns_at_those_times(name, ends):
    """To the last bit, in any order and however often a time is asked for."""
    solver, ts = make_solver(name, 1e-5), torch.linspace(*ends, 23, dtype=torch.float64)
    with torch.no_grad():
        expected = solver(logistic, Y0, ts)
        dense = solver.dense(logistic, Y0, *ends)
        order = torch.tensor([22, 3, 3, 0, 11, 22])
        assert torch.equal(dense(ts), expected.ys)
        assert torch.equal(dense(ts[order]), expected.ys[order])
        assert torch.equal(dense(ts[5]), expected.ys[5])
        assert torch.equal(dense(ts[order].tolist()), expected.ys[order])
    counts, kept = expected.stats.forward, dense.stats.forward
    assert kept.accepted == counts.accepted
    extra = counts.accepted * len(solver.scheme.tableau.extra)  # of all steps, with outputs or not
    assert counts.nfe <= kept.nfe <= counts.nfe + 1 + extra


@pytest.mark.parametrize("name", NAMES)
def test_it_asks_f_no_more_once_it_is_there(name):
    f = Recorded(logistic)
    dense = make_solver(name).dense(f, Y0, 0.0, 1.0)
    calls = len(f.times)
    dense(torch.linspace(0, 1, 9))
    assert len(f.times) == calls == dense.stats.forward.nfe
    assert min(f.times) >= 0 and max(f.times) <= 1


@pytest.mark.parametrize("gradients", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_it_is_exact_where_steps_end(name, gradients):
    with torch.set_grad_enabled(gradients):
        solver, y0 = make_solver(name), Y0.clone().requires_grad_()
        dense = solver.dense(logistic, y0, 0.0, 1.5)
        ends = [step.y1 for step in dense.recording.steps]
        assert torch.equal(dense(dense.ts), torch.stack([y0, *ends]))
        assert torch.equal(dense(1.5), solver(logistic, y0, [0.0, 1.5]).final)
        assert dense(dense.ts).requires_grad == gradients


def loss_of(case, gradient, dense):
    """Gradients of a fixed functional of the state at TIMES, by a solve or by dense output."""
    y0 = [y.clone().requires_grad_() for y in case.y0]
    ts = torch.tensor(case.ts, dtype=torch.float64, requires_grad=True)
    start = y0[0] if case.single else tuple(y0)
    solver = Solver("dopri5", 1e-8, 1e-8, gradient=gradient)
    if dense:
        ys = solver.dense(case.f, start, ts[0], ts.detach()[-1])(ts[1:])
    else:
        ys = solver(case.f, start, ts).ys
        ys = ys[1:] if case.single else tuple(y[1:] for y in ys)
    generator = torch.Generator().manual_seed(5)
    outputs = [ys] if case.single else list(ys)
    loss = sum((o * torch.randn(o.shape, generator=generator).to(o)).sum() for o in outputs)
    inputs = {str(i): y for i, y in enumerate(y0)} | dict(case.f.named_parameters()) | {"ts": ts}
    return dict(zip(inputs, torch.autograd.grad(loss, list(inputs.values())), strict=True))


@strategies
@pytest.mark.parametrize("kind", ["tensor", "reverse", "tuple"])
def test_gradients_are_those_of_a_solve_to_the_same_times(kind, gradient):
    """In the start, the parameters and every time."""
    case = make_case(kind)
    assert len(TIMES) == len(case.ts)
    expected, found = (loss_of(case, gradient, dense) for dense in (False, True))
    assert largest_difference(found, expected) < (1e-5 if isinstance(gradient, Adjoint) else 1e-6)
    assert all(value.abs().max() > 0 for value in found.values())


@pytest.mark.parametrize("name", ["euler", "rk4", "bosh3", "dopri5", "tsit5", "dopri8", "gauss6"])
def test_time_is_differentiated_through_the_weights(name, draw):
    """Twice under Direct, by differences of the interpolant."""
    net, y0 = Net(3), draw(3).requires_grad_()
    ts = torch.tensor([0.31, 0.12, 0.77, 0.78], dtype=torch.float64, requires_grad=True)
    dense = make_solver(name, 1e-6, step_size=0.25).dense(net, y0, 0.0, 1.0)
    assert torch.autograd.gradcheck(dense, ts, atol=1e-7)
    assert torch.autograd.gradgradcheck(dense, ts, atol=1e-6)


@pytest.mark.parametrize("name", ["dopri8", "gauss6"])
def test_gradients_between_steps_are_those_of_differences(name, draw):
    """In the start and a parameter, by every strategy, where one step holds several outputs."""
    y0, w = draw(3).requires_grad_(), draw(3).requires_grad_()
    ts = [0.0, 0.11, 0.2, 0.5]
    options = {} if methods.get(name).adaptive else {"jacobian": "full"}
    for gradient in (Direct(), Replay(), Adjoint()):
        solver = make_solver(name, 1e-11, step_size=0.25, gradient=gradient, **options)

        def outputs(y0, w, solver=solver):
            field = lambda t, y: torch.tanh(w * y.flip(0) + t)  # noqa: E731
            return solver(field, y0, ts, params=(w,)).ys[1:]

        assert torch.autograd.gradcheck(
            outputs, (y0, w), eps=1e-4, atol=1e-6, rtol=1e-6, fast_mode=True
        )


def test_it_may_be_differentiated_again_and_again(draw):
    """Each evaluation has a gradient of its own."""
    net, y0 = Net(3), draw(3).requires_grad_()
    for gradient in (Direct(), Replay(), Adjoint()):
        dense = Solver(rtol=1e-8, atol=1e-8, gradient=gradient).dense(net, y0, 0.0, 1.0)
        found = [torch.autograd.grad(dense(t).sum(), y0, retain_graph=True)[0] for t in (0.3, 0.9)]
        both = torch.autograd.grad(dense([0.9, 0.3]).sum(), y0)[0]
        torch.testing.assert_close(both, found[0] + found[1], rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("gradient", [Replay(), Adjoint()], ids=["replay", "adjoint"])
def test_second_derivatives_in_time_are_refused_by_name_not_wrong(gradient, draw):
    net, y0 = Net(3), draw(3).requires_grad_()
    t = torch.tensor(0.4, dtype=torch.float64, requires_grad=True)
    y = Solver(gradient=gradient).dense(net, y0, 0.0, 1.0)(t)
    (slope,) = torch.autograd.grad(y.sum(), t, create_graph=True)
    with pytest.raises(NotImplementedError, match=r"second derivatives .* time t .* detach it"):
        slope.backward()


@pytest.mark.parametrize("gradient", [Replay(), Adjoint()], ids=["replay", "adjoint"])
def test_unknown_leaves_are_refused(gradient):
    w = torch.ones(3, dtype=torch.float64, requires_grad=True)
    with pytest.raises(ValueError, match="params="):
        Solver(gradient=gradient).dense(lambda t, y: w * y, Y0, 0.0, 1.0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(), (3,), (2, 3)])
def test_shapes_and_dtypes(shape, dtype):
    y0 = (torch.ones(shape, dtype=dtype), torch.zeros(2, dtype=dtype))
    dense = Solver().dense(lambda t, y: (-y[0], y[1]), y0, 0.0, 0.1)
    for t, lead in ((0.05, ()), ([0.05], (1,)), (torch.tensor([0.1, 0.0]), (2,)), ([], (0,))):
        a, b = dense(t)
        assert a.shape == (*lead, *shape) and b.shape == (*lead, 2) and a.dtype == b.dtype == dtype


@pytest.mark.parametrize("t", [-0.01, 1.01, [0.5, 2.0], torch.tensor([0.5, float("nan")])])
@pytest.mark.parametrize("ends", [(0.0, 1.0), (1.0, 0.0)])
def test_times_outside_are_refused_in_one_line(ends, t):
    dense = Solver().dense(logistic, Y0, *ends)
    with pytest.raises(ValueError, match=r"^t=.* is outside the solution's \[0, 1\]$"):
        dense(t)


def test_times_in_a_table_are_refused():
    with pytest.raises(ValueError, match=r"t must be one time or one-dimensional.*\(2, 1\)"):
        Solver().dense(logistic, Y0, 0.0, 1.0)(torch.zeros(2, 1))


def test_steps_from_output_to_output_are_refused():
    with pytest.raises(ValueError, match="step_size is inf.*give a finite step_size"):
        Solver("rk4", step_size=float("inf")).dense(logistic, Y0, 0.0, 1.0)


@pytest.mark.parametrize("ends", [(0.0, 0.0), (float("nan"), 1.0), (0.0, float("inf"))])
def test_an_interval_that_is_none_is_refused(ends):
    with pytest.raises(ValueError, match="two different ends"):
        Solver().dense(logistic, Y0, *ends)


@pytest.mark.parametrize("options", [{"method": "dopri5"}, {"method": "rk4", "step_size": 0.1}])
def test_a_solve_that_fails_says_so(options):
    with pytest.raises(SolverError, match="NaN or inf at stage"):
        Solver(**options).dense(lambda t, y: y * float("nan"), Y0, 0.0, 1.0)


def test_dense_output_of_the_exact_solution(draw):
    ts = torch.rand(50, dtype=torch.float64) * 3
    dense = Solver("tsit5", 1e-9, 1e-9).dense(logistic, Y0, 0.0, 3.0)
    torch.testing.assert_close(dense(ts), logistic_exact(ts[:, None], Y0), rtol=0, atol=1e-7)


def test_the_example_of_the_docstring_runs():
    assert doctest.testmod(dense).failed == 0 and doctest.testmod(dense).attempted == 4
