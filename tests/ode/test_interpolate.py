"""Outputs between the ends of steps: their accuracy, and that they leave the steps alone."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from support.ode.problems import (
    ADAPTIVE,
    FIXED,
    NAMES,
    accepted_steps,
    bend,
    bend_exact,
    logistic,
    logistic_exact,
    make_solver,
    slope,
)

from node_runner.ode import Direct, Replay, Solver, methods

Y0 = torch.tensor([1.0, 0.5, 0.8], dtype=torch.float64)
BARE = "dopri8", "dopri5"  # adaptive ones of order 8 and 5, to be left without their interpolants
all_methods = pytest.mark.parametrize("name", NAMES)
graphs = pytest.mark.parametrize("graph", [False, True])


def waves(t, y):
    return y * torch.cos(t)


def waves_exact(t, y0):
    return y0 * torch.exp(torch.sin(t))


PROBLEMS = {"bend": (bend, bend_exact, 2.0), "waves": (waves, waves_exact, 5.0)}


@pytest.mark.parametrize("problem", PROBLEMS)
@pytest.mark.parametrize("name", ADAPTIVE)
def test_interior_outputs_are_within_twenty_tolerances(name, problem):
    """fehlberg2 misses at its own steps already: it estimates its error by dt/512 (k_3 - k_1)."""
    f, exact, end = PROBLEMS[problem]
    ts = torch.linspace(0, end, 52, dtype=torch.float64)
    exact, most = exact(ts[:, None], Y0), 200 if name == "fehlberg2" else 20
    for tol in (1e-3, 1e-5, 1e-7):
        errors = make_solver(name, tol)(f, Y0, ts).ys - exact
        assert (errors.abs() / (tol + tol * exact.abs())).max() < most


def bare(name):
    """The solver of a method whose tableau has lost its interpolant."""
    tableau = replace(methods.get(name).tableau, interpolant=None, extra=())
    return Solver(tableau, 1e-5, 1e-5)


def local_errors(solver, sizes):
    """RMS of the errors inside one step of each size, over places, starts and times."""
    errors = []
    for dt in sizes:
        found = []
        for t0 in (0.2, 0.9, 1.6, 2.2):
            ts = torch.tensor([t0 + theta * dt for theta in (0, 0.3, 0.5, 0.8, 1)]).double()
            y0 = waves_exact(ts[0], Y0)
            solver.rtol = solver.atol = 1.0
            solver.first_step = dt if solver.scheme.adaptive else None
            solver.step_size = None if solver.scheme.adaptive else dt
            ys = solver(waves, y0, ts).ys
            found.append(ys[1:-1] - waves_exact(ts[1:-1, None], Y0))
        errors.append(torch.stack(found).square().mean().sqrt().item())
    return errors


@pytest.mark.parametrize("bared", [False, True])
@all_methods
def test_interpolation_inside_one_step_is_of_its_order(name, bared):
    """Local error dt^(q + 1), q = 3 for the Hermite cubic. Without an interpolant of its own a
    method takes points that shorter steps reach: dt^(4 + 2 n) with n of them.
    """
    if bared and name not in BARE:
        return
    solver = bare(name) if bared else make_solver(name)
    tableau = solver.scheme.tableau
    q = 3 if tableau.interpolant is None else tableau.interpolant_order
    order = 4 + 2 * tableau.inner if bared else min(tableau.order, q) + 1
    assert not bared or order >= tableau.order
    sizes = (0.02, 0.04, 0.08) if order < 8 else (0.1, 0.15, 0.2)
    assert slope(sizes, local_errors(solver, sizes)) == pytest.approx(order, abs=0.25)


@pytest.mark.parametrize("name", BARE)
@pytest.mark.parametrize("gradient", [Direct(), Replay()], ids=["direct", "replay"])
def test_such_an_interpolant_is_differentiated_and_leaves_the_steps_alone(name, gradient):
    ts = torch.linspace(0, 2, 9, dtype=torch.float64)
    y0, found = Y0.clone().requires_grad_(), []
    for solver in (bare(name), make_solver(name, 1e-9)):
        solver.gradient = gradient
        ys = solver(logistic, y0, ts).ys
        found.append(torch.autograd.grad(ys.square().sum(), y0)[0])
        assert torch.equal(ys[-1], solver(logistic, y0, [0.0, 2.0]).final)
    torch.testing.assert_close(found[0], found[1], rtol=1e-4, atol=1e-4)


@graphs
@all_methods
def test_interior_outputs_leave_the_steps_alone(name, graph):
    """The same bits at the end. Methods without FSAL evaluate f at the end of a step in which
    outputs lie, and the next step starts with it: at most one more evaluation in all, besides the
    extra stages of each step.
    """
    ts = torch.linspace(0, 2, 40, dtype=torch.float64)
    solver, y0 = make_solver(name, 1e-5), Y0.clone().requires_grad_(graph)
    with_outputs, without = solver(logistic, y0, ts), solver(logistic, y0, [0.0, 2.0])
    a, b = with_outputs.stats.forward, without.stats.forward
    assert torch.equal(with_outputs.final, without.final)
    assert (a.accepted, a.rejected) == (b.accepted, b.rejected)
    tableau = methods.get(name).tableau
    extra = a.accepted * len(tableau.extra)
    assert b.nfe + extra <= a.nfe <= b.nfe + extra + (not tableau.fsal)


@graphs
@pytest.mark.parametrize("name", ADAPTIVE)
def test_only_steps_with_outputs_inside_are_completed(name, graph):
    """By the extra stages; f at the end is the next step's first stage. None where outputs are the
    ends of steps.
    """
    solver, y0 = make_solver(name, 1e-5), Y0.clone().requires_grad_(graph)
    steps = accepted_steps(solver, logistic, Y0, [0.0, 2.0])
    plain = solver(logistic, y0, [0.0, 2.0]).stats.forward.nfe
    (a, b), (c, end) = steps[1], steps[-1]
    fsal, extra = solver.scheme.tableau.fsal, len(solver.scheme.tableau.extra)
    for inside, more in (
        ([], 0),
        ([a, b], 0),
        ([a + 0.3 * (b - a), a + 0.6 * (b - a)], extra),
        ([a + 0.4 * (b - a), c + 0.4 * (end - c)], 2 * extra + (not fsal)),
    ):
        assert solver(logistic, y0, [0.0, *inside, 2.0]).stats.forward.nfe == plain + more


@all_methods
def test_the_solution_is_continuously_differentiable(name):
    """Each interpolant starts and ends with the state, and the slope f, at the ends of its step."""
    dense = make_solver(name, 1e-4, step_size=0.2).dense(logistic, Y0, 0.0, 1.0)
    for step in dense.recording.steps:
        for t, y in ((step.t0, step.y0), (step.t1, step.y1)):
            torch.testing.assert_close(step.at([t])[0], y, rtol=1e-13, atol=1e-13)
            rate = logistic(torch.tensor(t, dtype=torch.float64), y)
            torch.testing.assert_close(step.slope(t), rate, rtol=1e-11, atol=1e-11)


@all_methods
def test_decreasing_times_mirror_increasing_ones(name):
    """y(t) and z(s) = y(-s) solve mirrored problems: negation is exact, so their bits agree."""
    ts = torch.tensor([0.0, 0.3, 0.35, 1.1, 2.0], dtype=torch.float64)
    solver = make_solver(name, 1e-4)
    forward = solver(bend, Y0, ts).ys
    mirrored = solver(lambda t, y: -bend(-t, y), Y0, -ts).ys
    torch.testing.assert_close(mirrored, forward, rtol=1e-14, atol=1e-15)


@all_methods
def test_outputs_closer_than_a_step_are_all_there(name):
    """A cluster far inside one step, each output near the exact solution and none repeated."""
    ts = torch.tensor([0.0, 0.5, 0.5 + 1e-7, 0.5 + 2e-7, 0.51, 1.0], dtype=torch.float64)
    ys = make_solver(name, 1e-5)(logistic, Y0, ts).ys
    allowed = {1: 0.05}.get(methods.get(name).order, 2e-3)
    torch.testing.assert_close(ys, logistic_exact(ts[:, None], Y0), rtol=0, atol=allowed)
    rate = (ys[2:4] - ys[1:3])[:, 1] / 1e-7
    expected = logistic(ts[1], logistic_exact(ts[1], Y0))[1]
    torch.testing.assert_close(rate, expected.expand(2), rtol=0.2, atol=0)


@all_methods
def test_an_output_on_the_end_of_a_step_is_the_step(name):
    """Asking where the steps end changes nothing: the same solution is read off."""
    solver = make_solver(name, 1e-5, step_size=0.125)
    ends = [t1 for _, t1 in accepted_steps(solver, logistic, Y0, [0.0, 2.0])]
    solution = solver(logistic, Y0, [0.0, *ends])
    assert solution.stats.forward.accepted == len(ends)
    assert torch.equal(solution.final, solver(logistic, Y0, [0.0, 2.0]).final)


@all_methods
def test_one_time_returns_the_start_and_two_the_ends(name):
    one, two = (make_solver(name)(logistic, Y0, ts) for ts in ([0.7], [0.0, 1.0]))
    assert torch.equal(one.ys, Y0[None]) and torch.equal(one.final, Y0)
    assert one.stats.forward.nfe == 0
    assert torch.equal(two.ys, torch.stack([Y0, two.final]))


@pytest.mark.parametrize("name", FIXED)
def test_infinite_steps_go_from_output_to_output(name):
    ts = [0.0, 0.2, 0.9, 1.0]
    steps = accepted_steps(Solver(name, step_size=float("inf")), logistic, Y0, ts)
    assert steps == list(zip(ts, ts[1:], strict=False))
