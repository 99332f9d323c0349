"""Laws of every method of the folder, of whatever kind, through ``Solver``."""

from __future__ import annotations

from functools import cache
from math import exp, log

import pytest
import torch
from support.ode.gradient_cases import gradients, make_case
from support.ode.problems import ALL, Net, logistic, logistic_exact, slope

from node_runner.ode import Adjoint, Direct, Quadrature, Replay, Solver, SolverError, methods

STARTS = torch.tensor([[0.2, 0.9], [1.4, 0.5]], dtype=torch.float64)  # rows that do not see others
ADAPTIVE = [name for name in ALL if methods.get(name).adaptive]
FIXED = [name for name in ALL if not methods.get(name).adaptive]


def exactly(t):
    return logistic_exact(torch.tensor(t, dtype=torch.float64), STARTS)


def tolerance(name):
    """At which a solve takes some tens of steps."""
    return 1e-4 if methods.get(name).order <= 3 else 1e-7


def solver_of(name, tol=None, step_size=0.02, **options):
    if methods.get(name).adaptive:
        tol = tolerance(name) if tol is None else tol
        return Solver(name, tol, tol, **options)
    return Solver(name, step_size=step_size, **options)


@pytest.mark.parametrize("name", FIXED)
def test_the_error_falls_with_the_step_as_the_order_says(name):
    """At the end and inside steps, which divide the interval or do not."""
    order = methods.get(name).order
    sizes = [0.2, 0.1] if order > 4 else [0.08, 0.04]
    if not methods.get(name).one_step:
        sizes = [0.04, 0.02] if order > 4 else [0.02, 0.01]
    errors = []
    for size in sizes:
        ts = [1.61 * i / 70 for i in range(71)]
        ys = Solver(name, step_size=size)(logistic, STARTS, ts).ys
        errors.append((ys - torch.stack([exactly(t) for t in ts])).abs().max().item())
    assert slope(sizes, errors) > order - 0.35, errors


@pytest.mark.parametrize("ts", [(0.0, 0.3, 0.35, 1.7), (1.7, 0.2)], ids=["forwards", "backwards"])
@pytest.mark.parametrize("name", ADAPTIVE)
def test_the_error_is_near_the_tolerance_and_falls_with_it(name, ts):
    errors = []
    for tol in (1e2 * tolerance(name), tolerance(name)):
        y0 = exactly(ts[0])
        ys = solver_of(name, tol)(logistic, y0, ts).ys
        exact = torch.stack([exactly(t) for t in ts])
        errors.append((ys - exact).abs().max().item())
        assert errors[-1] < (2000 if name == "fehlberg2" else 60) * tol
    assert errors[1] < errors[0] / 3


@pytest.mark.parametrize("name", ALL)
def test_the_solution_between_steps_is_as_good_as_at_them(name):
    """Where f is never called outside the interval, but for a node beyond the step."""
    times = torch.linspace(0.0, 1.6, 33, dtype=torch.float64)
    seen = []

    def f(t, y):
        seen.append(t.item())
        return logistic(t, y)

    dense = solver_of(name).dense(f, STARTS, 0.0, 1.6)
    exact = torch.stack([exactly(t) for t in times.tolist()])
    between = (dense(times) - exact).abs().max().item()
    ends = dense(dense.ts) - torch.stack([exactly(t) for t in dense.ts])
    assert between < 5 * ends.abs().max().item() + 60 * tolerance(name)
    tableau = getattr(methods.get(name), "tableau", None)
    reach = 1.0 if tableau is None else max(1.0, *tableau.c)
    assert 0.0 <= min(seen) and max(seen) <= 1.6 * reach
    step = (dense(0.7 + 1e-6) - dense(0.7 - 1e-6)) / 2e-6
    slope = logistic(torch.tensor(0.7), dense(0.7))
    torch.testing.assert_close(step, slope, rtol=0, atol=max(1e-3, 1e3 * tolerance(name)))


@pytest.mark.parametrize("name", ALL)
def test_an_event_is_found(name):
    hit = solver_of(name).event(
        lambda t, y: -y, torch.ones(2, dtype=torch.float64), 0.0, lambda t, y: y[0] - 0.5, t_end=9.0
    )
    assert hit.found
    solved = solver_of(name)(lambda t, y: -y, torch.ones(2, dtype=torch.float64), [0.0, hit.t])
    allowed = 4 * abs(solved.final[0].item() - exp(-hit.t.item())) + 1e-3
    assert hit.t.item() == pytest.approx(log(2), abs=allowed)


@pytest.mark.parametrize("gradient", [Direct(), Adjoint()], ids=["direct", "adjoint"])
@pytest.mark.parametrize("name", ALL)
def test_the_time_of_an_event_and_the_state_between_steps_have_gradients(name, gradient):
    """y = y0 e^-t falls to 1/2 at log(2 y0), with the slope 1 / y0; and y(t) / y0 is dy / dy0."""
    y0 = torch.tensor([1.5, 1.0], dtype=torch.float64, requires_grad=True)
    solver = solver_of(name, step_size=size_of_step(name), gradient=gradient)
    hit = solver.event(lambda t, y: -y, y0, 0.0, lambda t, y: y[0] - 0.5, t_end=9.0)
    state = solver.dense(lambda t, y: -y, y0, 0.0, 1.0)(0.618)
    allowed = {1: 0.1, 2: 0.02}.get(methods.get(name).order, 5e-3)
    (by_time,) = torch.autograd.grad(hit.t, y0)
    (by_state,) = torch.autograd.grad(state.sum(), y0)
    assert by_time.tolist() == pytest.approx([1 / 1.5, 0.0], abs=allowed)
    assert by_state.tolist() == pytest.approx([exp(-0.618)] * 2, abs=allowed)


def size_of_step(name):
    if not methods.get(name).one_step:
        return 0.05
    return {1: 0.02, 2: 0.05, 3: 0.05}.get(methods.get(name).order, 0.1)


def strategies(name):
    kept = [Replay(), Replay(2)] if methods.get(name).one_step else []
    return [Direct(), *kept, Adjoint()]


@cache
def reference(kind):
    """Gradients of dopri8 at 1e-11."""
    return gradients(Solver("dopri8", 1e-11, 1e-11), make_case(kind), times=False)[0]


@pytest.mark.parametrize("name", ALL)
def test_gradients_are_those_of_the_flow(name, kind="tuple, quadratures"):
    """By every strategy, with several outputs; Direct and Replay agree far better."""
    options = {"jacobian": "full"} if methods.get(name).implicit else {}
    case, exact, found = make_case(kind), reference(kind), []
    for gradient in strategies(name):
        solver = solver_of(name, step_size=size_of_step(name), gradient=gradient, **options)
        found.append(gradients(solver, case, times=False)[0])
    size = max(g.abs().max().item() for g in exact.values())
    order = methods.get(name).order
    allowed = size * {1: 0.1, 2: 2e-2, 3: 2e-2}.get(order, 1e-4)
    for each in found:
        assert max((each[k] - exact[k]).abs().max().item() for k in exact) < allowed
    if methods.get(name).one_step:
        tight = 1e-9 if not methods.get(name).implicit else 30 * tolerance(name)
        assert max((found[0][k] - found[1][k]).abs().max().item() for k in exact) < tight * size


@pytest.mark.parametrize("name", [n for n in ALL if not methods.get(n).one_step])
def test_a_method_that_remembers_steps_is_not_replayed(name):
    with pytest.raises(ValueError, match="gradient=replay takes each step again by itself"):
        solver_of(name, gradient=Replay())


@pytest.mark.parametrize("name", ALL)
def test_float32_entries_of_zero_weight_and_rest(name):
    """A state at rest stays there; a quadrature rides along."""
    y0 = torch.ones(3, 2)
    beside = [Quadrature(torch.zeros(()), weight=0.0)]
    found = solver_of(name, 1e-3)(
        lambda t, y: (torch.zeros_like(y), (torch.ones(()),)), y0, [0.0, 1.0], quadratures=beside
    )
    assert torch.equal(found.final, y0) and found.final.dtype == torch.float32
    assert found.quadratures[0][-1].item() == pytest.approx(1.0, abs=1e-4)


@pytest.mark.parametrize("name", ADAPTIVE)
def test_a_solve_that_blows_up_ends_by_an_error_within_its_cap(name):
    solver = solver_of(name, 1e-5, max_steps=3000)
    with pytest.raises(SolverError) as caught:
        solver(lambda t, y: y * y, torch.ones(2, dtype=torch.float64), [0.0, 2.0])
    assert sum(caught.value.steps) <= 3000 and caught.value.cause
    assert caught.value.t == pytest.approx(1.0, abs=1e-2)


@pytest.mark.parametrize("name", ALL)
def test_nan_is_named(name):
    solver = solver_of(name, 1e-4, step_size=0.05)
    with pytest.raises(SolverError) as caught:
        solver(lambda t, y: torch.sqrt(0.5 - t) * y, torch.ones(2), [0.0, 1.0])
    assert "NaN" in str(caught.value) or "not finite" in str(caught.value)


@pytest.mark.parametrize("name", ALL)
def test_the_caller_may_change_what_is_returned(name):
    """And f may write again to what it has returned."""
    memory = torch.zeros(2, 2, dtype=torch.float64)

    def f(t, y):
        return memory.copy_(-y.detach())

    y0 = STARTS.clone()
    with torch.no_grad():
        found = solver_of(name)(f, y0, [0.0, 0.5, 1.0])
    before = found.ys.clone()
    y0.zero_()
    assert torch.equal(found.ys, before)
    torch.testing.assert_close(found.ys[0], STARTS)
    torch.testing.assert_close(
        found.final, STARTS * torch.exp(torch.tensor(-1.0)), rtol=0.02, atol=0
    )


def test_a_net_is_trained_by_each_kind():
    torch.manual_seed(0)
    goal = torch.randn(3, dtype=torch.float64)
    for name in ("dopri5", "adams"):
        net = Net(3)
        optimizer = torch.optim.Adam(net.parameters(), lr=0.05)
        losses = []
        for _ in range(15):
            end = solver_of(name, 1e-3)(net, torch.zeros(3, dtype=torch.float64), [0.0, 1.0]).final
            loss = (end - goal).square().sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        assert losses[-1] < losses[0] / 2


def stiff(t, y):
    """Decays to cos t at rate 1e4."""
    return -1e4 * (y - torch.cos(t))


@pytest.mark.parametrize("name", [n for n in ADAPTIVE if methods.get(n).implicit])
def test_a_stiff_problem_is_solved_where_explicit_methods_name_those_that_can(name):
    y0 = torch.zeros(3, 1, dtype=torch.float64)
    found = solver_of(name, 1e-5)(stiff, y0, [0.0, 2.0])
    assert (found.final - torch.cos(torch.tensor(2.0))).abs().max() < 1e-3
    assert found.stats.forward.accepted < 200
    with pytest.raises(SolverError, match="kvaerno5 or bdf"):
        Solver("dopri5", 1e-5, 1e-5, max_steps=300)(stiff, y0, [0.0, 2.0])


@pytest.mark.parametrize("name", [n for n in ALL if methods.get(n).implicit])
def test_rows_that_see_each_other_are_refused_unless_the_jacobian_is_full(name):
    def coupled(t, y):
        return -y + y.sum(0)

    y0 = torch.ones(4, 2, dtype=torch.float64)
    with pytest.raises(ValueError, match="jacobian is 'rows', but a row"):
        solver_of(name, 1e-4)(coupled, y0, [0.0, 0.2])
    full = solver_of(name, 1e-4, jacobian="full")(coupled, y0, [0.0, 0.2]).final
    exact = torch.exp(torch.tensor(0.6)).item()
    assert full[0, 0].item() == pytest.approx(exact, rel=0.1 if "euler" in name else 2e-3)


def test_options_of_another_kind_are_refused_by_name():
    with pytest.raises(ValueError, match="jacobian is 'full', but dopri5 solves no equat"):
        Solver("dopri5", jacobian="full")
    with pytest.raises(ValueError, match="jacobian is 'rwos', must be 'rows'"):
        Solver("bdf", jacobian="rwos")
    with pytest.raises(ValueError, match="engine is 'compiled', but bdf is not an expl"):
        Solver("bdf", engine="compiled")
