"""SciPy behind our interface."""

from __future__ import annotations

import sys

import pytest
import torch
from support.ode.problems import logistic, logistic_exact

from node_runner.ode import Adjoint, Solver, SolverError
from node_runner.ode.steppers import scipy

STARTS = torch.linspace(0.1, 0.9, 8, dtype=torch.float64)


@pytest.fixture(autouse=True)
def installed():
    pytest.importorskip("scipy.integrate")


def times(*values):
    return torch.tensor(values, dtype=torch.float64)


def solve(f, y0, t, rtol=1e-9, atol=1e-9, gradient=None, **options):
    method = scipy.SciPy(**options)
    return Solver(method, rtol, atol, step_size=1e300, gradient=gradient)(f, y0, t).ys


@pytest.mark.parametrize("solver", scipy.SOLVERS)
@pytest.mark.parametrize("sign", [1, -1])
def test_solution_is_that_of_analysis(solver, sign):
    t, y0 = sign * times(0.0, 0.3, 1.0), STARTS.view(2, 4)
    ys = solve(logistic, y0, t, solver=solver)
    assert ys.shape == (3, 2, 4) and ys.dtype == torch.float64 and torch.equal(ys[0], y0)
    torch.testing.assert_close(ys, logistic_exact(t[:, None, None], y0), rtol=1e-6, atol=1e-6)


def test_f_sees_the_state_as_it_was_given():
    seen = set()

    def f(t, y):
        seen.add((t.dtype, t.shape, y.dtype, y.shape))
        return -y

    ys = solve(f, torch.ones(2, 3), torch.tensor([0.0, 1.0]), rtol=1e-6)
    assert seen == {(torch.float32, (), torch.float32, (2, 3))} and ys.dtype == torch.float32
    torch.testing.assert_close(ys[-1], torch.full((2, 3), 0.367879), rtol=1e-5, atol=0)


@pytest.mark.parametrize("t", [(0.0, 1.0), (0.0, 0.5, 1.0)])
@pytest.mark.parametrize("of", ["start", "weight"])
def test_a_gradient_through_the_steps_is_refused_and_the_adjoint_is_there(of, t):
    start, weight = STARTS.clone(), torch.ones((), dtype=torch.float64)
    wanted = {"start": start, "weight": weight}[of].requires_grad_()

    def f(t, y):
        return -weight * y

    with pytest.raises(NotImplementedError, match="have no gradient: take it by the adjoint"):
        solve(f, start, times(*t))[-1].sum().backward()
    ys = solve(f, start, times(*t), gradient=Adjoint(strict=False))
    if of == "start":
        ys[-1].sum().backward()
        torch.testing.assert_close(
            wanted.grad, torch.full_like(STARTS, 0.36787944), rtol=1e-6, atol=0
        )


def test_tolerances_may_be_tensors():
    """A loose first entry loses digits that the others keep."""
    t, y0 = times(0.0, 4.0), STARTS[:3]
    exact = logistic_exact(t[-1], y0)
    tight = torch.full((3,), 1e-10, dtype=torch.float64)
    ys = solve(logistic, y0, t, rtol=[tight], atol=torch.tensor(1e-10), solver="RK45")
    torch.testing.assert_close(ys[-1], exact, rtol=1e-8, atol=1e-8)
    loose = solve(logistic, y0, t, rtol=1e-2, atol=1e-2, solver="RK45")
    assert (loose[-1] - exact).abs().max() > 1e-5


def test_largest_step_is_obeyed():
    calls = []
    solve(
        lambda t, y: calls.append(t.item()) or -y,
        STARTS,
        times(0.0, 1.0),
        solver="RK23",
        rtol=1e-1,
        atol=1e-1,
        max_step=0.01,
    )
    assert len(calls) >= 300


def test_smallest_step_is_handed_to_lsoda_and_not_to_those_that_would_warn(monkeypatch):
    """Handed on is all that can be tested: SciPy 1.17's LSODA takes the same steps with it."""
    seen, original = [], scipy.solve_ivp()
    recorder = lambda *args, **kwargs: seen.append(kwargs) or original(*args, **kwargs)  # noqa: E731
    monkeypatch.setattr(scipy, "solve_ivp", lambda: recorder)
    solve(logistic, STARTS, times(0.0, 1.0), min_step=1e-3)
    solve(logistic, STARTS, times(0.0, 1.0), solver="BDF")
    assert seen[0]["min_step"] == 1e-3 and "min_step" not in seen[1]


def test_one_time_is_the_start():
    assert torch.equal(solve(logistic, STARTS, times(1.0)), STARTS[None])


def test_unknown_solver_is_refused_with_the_list():
    with pytest.raises(ValueError, match="unknown solver 'RK46'; did you mean 'RK45'. choose from"):
        solve(logistic, STARTS, times(0.0, 1.0), solver="RK46")


def test_min_step_of_a_solver_without_one_is_refused():
    with pytest.raises(ValueError, match="min_step is 0.1, but SciPy's RK45 has no smallest step"):
        solve(logistic, STARTS, times(0.0, 1.0), solver="RK45", min_step=0.1)


def test_blow_up_is_said():
    """y' = y^2 from 1 is infinite at t = 1."""
    with pytest.raises(SolverError, match="scipy_solver RK45 stopped at .* SciPy says 'Required"):
        solve(lambda t, y: y * y, times(1.0), times(0.0, 0.5, 2.0), solver="RK45")


def test_without_scipy_an_import_error_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy.integrate", None)
    with pytest.raises(ImportError, match="scipy_solver needs SciPy: pip install scipy"):
        solve(logistic, STARTS, times(0.0, 1.0))


def test_a_gradient_that_f_has_later_is_not_lost():
    weight = torch.ones((), dtype=torch.float64, requires_grad=True)
    ys = solve(lambda t, y: weight * y if t > 0.5 else -y, STARTS, times(0.0, 1.0))
    with pytest.raises(NotImplementedError, match="have no gradient: take it by the adjoint"):
        ys[-1].sum().backward()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_gradient_of_an_event_by_the_adjoint(dtype):
    """y = y0 exp(-t) is 0.5 at log(2 y0)."""
    y0 = torch.ones(1, dtype=dtype, requires_grad=True)
    solver = Solver(scipy.SciPy(), 1e-6, 1e-6, step_size=1.0, gradient=Adjoint())
    hit = solver.event(lambda t, y: -y, y0, 0.0, lambda t, y: y[0] - 0.5, t_end=3.0)
    (found,) = torch.autograd.grad(hit.t, y0)
    assert found.item() == pytest.approx(1.0, abs=1e-4)
