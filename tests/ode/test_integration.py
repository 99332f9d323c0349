"""The loop: where f is called, what it costs, and that rejections are survived. That errors follow
the tolerance is in test_detest.py and test_every_method.py.
"""

from __future__ import annotations

from dataclasses import asdict

import pytest
import torch
from support.ode.problems import (
    ADAPTIVE,
    FIXED,
    NAMES,
    Recorded,
    accepted_steps,
    bend,
    evaluations,
    logistic,
    make_solver,
    slope,
)

from node_runner.ode import Solver, methods

Y0 = torch.tensor([1.0, 0.5, 0.8], dtype=torch.float64)
SPANS = [(0.1, 0.9), (0.9, 0.1), (-0.3, 1.7), (1 / 3, -2 / 3)]
all_methods = pytest.mark.parametrize("name", NAMES)
adaptive = pytest.mark.parametrize("name", ADAPTIVE)
graphs = pytest.mark.parametrize("graph", [False, True])


@pytest.mark.parametrize("span", SPANS)
@all_methods
def test_steps_are_contiguous_and_f_is_never_called_outside(name, span):
    """Steps of 0.3 divide none of the intervals; the outputs lie inside steps."""
    t0, t1 = span
    f, solver = Recorded(logistic), make_solver(name, 1e-4, step_size=0.3)
    counts = solver(f, Y0, [t0 + (t1 - t0) * i / 7 for i in range(7)] + [t1]).stats.forward
    assert min(span) <= min(f.times) and max(f.times) <= max(span) and f.times[0] == t0
    assert counts.nfe == len(f.times)
    steps = accepted_steps(solver, logistic, Y0, span)
    assert steps[0][0] == t0 and steps[-1][1] == t1 and counts.accepted == len(steps)
    assert all(a[1] == b[0] for a, b in zip(steps, steps[1:], strict=False))
    assert all((b - a) * (t1 - t0) > 0 for a, b in steps)


@pytest.mark.parametrize("first_step", [None, 3.0])
@adaptive
def test_nfe_follows_from_the_attempts(name, first_step):
    """dopri5: 2 + 6 attempts. A first step that is given saves the probe; 3.0 is rejected."""
    solver = make_solver(name, 1e-4, first_step=first_step)
    counts = solver(lambda t, y: -9 * (y - torch.sin(9 * t)), Y0, [0.0, 3.0]).stats.forward
    attempts = counts.accepted, counts.rejected
    assert counts.nfe == evaluations(name, *attempts) - (first_step is not None)
    assert counts.rejected > 0 or first_step is None
    assert name != "dopri5" or evaluations(name, *attempts) == 2 + 6 * sum(attempts)


@adaptive
def test_estimated_first_step_scales_with_the_tolerance(name):
    """As tol^(1/k), k the exponent of dt in the error estimate: rates over their tolerance, which
    the estimate is made of, go as 1 / tol.
    """
    tols, firsts = (1e-3, 1e-5, 1e-7), []
    for tol in tols:
        (t0, t1), *_ = accepted_steps(make_solver(name, tol), lambda t, y: -2 * y, Y0, [0.0, 1.0])
        firsts.append(t1 - t0)
    assert slope(tols, firsts) == pytest.approx(1 / methods.get(name).exponent, rel=0.01)


@pytest.mark.parametrize("name", FIXED)
def test_nfe_of_fixed_steps_is_stages_times_steps(name):
    counts = Solver(name, step_size=0.1)(bend, Y0, [0.0, 1.0]).stats.forward
    stages = methods.get(name).tableau.stages
    assert asdict(counts) == {"nfe": 10 * stages, "accepted": 10, "rejected": 0}


@adaptive
def test_nan_in_a_trial_is_a_rejected_step(name):
    """y = exp(-50 t) stays positive; only the stages of overlong trials go below -0.5. At the end
    some tolerances of 1e-4 are left.
    """
    f = lambda t, y: torch.where(y < -0.5, torch.nan, -50 * y)  # noqa: E731
    solution = make_solver(name, 1e-4, first_step=1.0)(f, Y0 / Y0, [0.0, 0.5, 1.0])
    assert solution.stats.forward.rejected > 0
    assert torch.isfinite(solution.ys).all() and solution.final.abs().max() < 0.05


@all_methods
def test_state_and_time_keep_the_dtype_of_y0(name):
    """Tolerance 1e-3 leaves rounding, 1e-7 a step, far below what the solver itself allows."""
    finals = []
    for dtype in (torch.float32, torch.float64):
        seen = set()

        def f(t, y, seen=seen):
            seen.add((t.dtype, t.dim(), y.dtype))
            return logistic(t, y)

        ts = torch.tensor([0.0, 0.37, 1.0])
        solution = make_solver(name, 1e-3)(f, Y0.to(dtype), ts)
        assert seen == {(dtype, 0, dtype)} and solution.ys.dtype == solution.final.dtype == dtype
        finals.append(solution.final.double())
    torch.testing.assert_close(*finals, rtol=0, atol=1e-5)


@graphs
@all_methods
def test_two_solves_are_equal_to_the_bit(name, graph):
    with torch.set_grad_enabled(graph):
        a, b = (make_solver(name, 1e-5)(logistic, Y0, [0.0, 0.4, 1.0, 2.0]) for _ in "ab")
    assert torch.equal(a.ys, b.ys) and a.stats == b.stats


@pytest.mark.parametrize("outputs", [2, 30])
@graphs
@all_methods
def test_a_solve_reads_the_device_once_a_step_or_in_all(name, graph, outputs, reads):
    """Adaptive ones a step; two more reads choose the first. Fixed steps once in all."""
    ts, y0 = [2 * i / (outputs - 1) for i in range(outputs)], Y0.clone().requires_grad_(graph)
    counts = make_solver(name, 1e-5)(logistic, y0, ts).stats.forward
    most = counts.accepted + counts.rejected + 2 if name in ADAPTIVE else 1
    assert 0 < len(reads) <= most


@adaptive
def test_constant_solution_is_exact_in_few_steps(name):
    """As a net whose last layer starts at zero: no creeping up from a tiny first step."""
    solution = make_solver(name, 1e-6)(lambda t, y: torch.zeros_like(y), Y0, [0.0, 1.0])
    assert torch.equal(solution.final, Y0) and solution.stats.forward.accepted == 2


def test_what_wakes_up_late_is_not_missed():
    y0, solver = torch.zeros(3, dtype=torch.float64), make_solver("dopri5", 1e-6)
    late = solver(lambda t, y: (t - 0.4).clamp_min(0) ** 3 + 0 * y, y0, [0.0, 1.0]).final
    assert torch.allclose(late, torch.full_like(late, 0.6**4 / 4), rtol=0, atol=1e-5)
