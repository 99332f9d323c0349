"""The loop: where f is asked, what it costs, that tolerances are met and rejections survived."""

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
    bend_exact,
    evaluations,
    logistic,
    logistic_exact,
    make_solver,
    slope,
)

from node_runner.ode import Solver, methods

Y0 = torch.tensor([1.0, 0.5, 0.8], dtype=torch.float64)
SPANS = [(0.1, 0.9), (0.9, 0.1), (-0.3, 1.7), (1 / 3, -2 / 3)]


@pytest.mark.parametrize("name", ADAPTIVE)
def test_error_falls_with_the_tolerance(name):
    """A tolerance 100 times smaller pays at least 5 times: what is controlled is the error a step.
    Taken at two times, so that none passes through zero, but not so many as to choose the steps.
    """
    ts = torch.tensor([0.0, 2.5, 5.0], dtype=torch.float64)
    exact = logistic_exact(ts[:, None], Y0)
    coarse, middle, fine = (
        (make_solver(name, tol)(logistic, Y0, ts).ys - exact).norm() for tol in (1e-3, 1e-5, 1e-7)
    )
    assert middle < coarse / 5
    assert fine < middle / 5


@pytest.mark.parametrize("name", ADAPTIVE)
def test_error_at_the_end_is_of_the_size_of_the_tolerance(name):
    """A contracting problem: what is lost a step is not amplified. fehlberg2 estimates its error by
    dt/512 (k_3 - k_1), known to be a hundred times too low on smooth problems.
    """
    error = (make_solver(name, 1e-6)(bend, Y0, [0.0, 2.0]).final - bend_exact(2.0, Y0)).abs().max()
    assert error < (200 if name == "fehlberg2" else 20) * 1e-6


@pytest.mark.parametrize("name", NAMES)
def test_forward_then_backward_returns(name):
    """Both ways miss by the global error of a solve, some tolerances or steps^order."""
    tol, order = 1e-6, methods.get(name).order
    solver = make_solver(name, tol, step_size=0.01)
    there = solver(logistic, Y0, [0.0, 1.5]).final
    back = solver(logistic, there, [1.5, 0.0]).final
    allowed = 1e-3 if name == "fehlberg2" else 100 * tol if name in ADAPTIVE else 2 * 0.01**order
    assert (back - Y0).abs().max() < allowed
    assert (there - Y0).abs().max() > 0.01


@pytest.mark.parametrize("span", SPANS)
@pytest.mark.parametrize("name", NAMES)
def test_f_is_never_asked_outside_the_interval(name, span):
    """Steps of 0.3 divide none of the intervals; the outputs lie inside steps."""
    t0, t1 = span
    f = Recorded(logistic)
    ts = [t0 + (t1 - t0) * i / 7 for i in range(7)] + [t1]
    make_solver(name, 1e-4, step_size=0.3)(f, Y0, ts)
    assert min(span) <= min(f.times) and max(f.times) <= max(span)
    assert f.times[0] == t0


@pytest.mark.parametrize("span", SPANS)
@pytest.mark.parametrize("name", NAMES)
def test_steps_are_contiguous_and_the_last_lands_on_the_end(name, span):
    steps = accepted_steps(make_solver(name, 1e-4, step_size=0.3), logistic, Y0, span)
    assert steps[0][0] == span[0] and steps[-1][1] == span[1]
    assert all(a[1] == b[0] for a, b in zip(steps, steps[1:], strict=False))
    assert all((t1 - t0) * (span[1] - span[0]) > 0 for t0, t1 in steps)


@pytest.mark.parametrize("ts", [[0.0, 2.0], [2.0, 0.0], [0.0, 0.11, 0.12, 1.3, 2.0]])
@pytest.mark.parametrize("name", NAMES)
def test_nfe_is_the_number_of_calls(name, ts):
    f = Recorded(logistic)
    assert make_solver(name, 1e-5)(f, Y0, ts).stats.forward.nfe == len(f.times)


@pytest.mark.parametrize("first_step", [None, 3.0])
@pytest.mark.parametrize("name", ADAPTIVE)
def test_nfe_follows_from_the_attempts(name, first_step):
    """dopri5: 2 + 6 attempts. A first step that is given saves the probe; 3.0 is rejected."""
    solver = make_solver(name, 1e-4, first_step=first_step)
    counts = solver(lambda t, y: -9 * (y - torch.sin(9 * t)), Y0, [0.0, 3.0]).stats.forward
    given = first_step is not None
    assert counts.nfe == evaluations(name, counts.accepted, counts.rejected) - given
    assert counts.rejected > 0 or not given


@pytest.mark.parametrize("name", ADAPTIVE)
def test_estimated_first_step_scales_with_the_tolerance(name):
    """As tol^(1/k), k the exponent of dt in the error estimate: rates over their tolerance, which
    the estimate is made of, go as 1 / tol.
    """
    tols = (1e-3, 1e-5, 1e-7)
    firsts = []
    for tol in tols:
        (t0, t1), *_ = accepted_steps(make_solver(name, tol), lambda t, y: -2 * y, Y0, [0.0, 1.0])
        firsts.append(t1 - t0)
    k = methods.get(name).exponent
    assert slope(tols, firsts) == pytest.approx(1 / k, rel=0.01)


def test_nfe_of_dopri5_is_two_and_six_an_attempt():
    counts = Solver("dopri5")(bend, Y0, [0.0, 2.0]).stats.forward
    assert counts.nfe == 2 + 6 * (counts.accepted + counts.rejected)


@pytest.mark.parametrize("name", FIXED)
def test_nfe_of_fixed_steps_is_stages_times_steps(name):
    counts = Solver(name, step_size=0.1)(bend, Y0, [0.0, 1.0]).stats.forward
    assert asdict(counts) == {
        "nfe": 10 * methods.get(name).tableau.stages,
        "accepted": 10,
        "rejected": 0,
    }


@pytest.mark.parametrize("name", ADAPTIVE)
def test_nan_in_a_trial_is_a_rejected_step(name):
    """y = exp(-50 t) stays positive; only the stages of overlong trials go below -0.5. At the end
    some tolerances of 1e-4 are left.
    """

    def f(t, y):
        return torch.where(y < -0.5, torch.nan, -50 * y)

    y0 = torch.ones(2, dtype=torch.float64)
    solution = make_solver(name, 1e-4, first_step=1.0)(f, y0, [0.0, 0.5, 1.0])
    assert solution.stats.forward.rejected > 0
    assert torch.isfinite(solution.ys).all()
    assert solution.final.abs().max() < 0.05


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", NAMES)
def test_state_and_time_keep_the_dtype_of_y0(name, dtype):
    seen = set()

    def f(t, y):
        seen.update((t.dtype, y.dtype))
        assert t.dim() == 0
        return logistic(t, y)

    solution = make_solver(name, 1e-3)(f, Y0.to(dtype), torch.tensor([0.0, 0.37, 1.0]))
    assert seen == {dtype}
    assert solution.ys.dtype == solution.final.dtype == dtype


@pytest.mark.parametrize("name", NAMES)
def test_single_precision_agrees_with_double(name):
    """Tolerance 1e-3 leaves rounding, 1e-7 a step, far below what the solver itself allows."""
    solver = make_solver(name, 1e-3)
    double = solver(logistic, Y0, [0.0, 1.0]).final
    single = solver(logistic, Y0.float(), [0.0, 1.0]).final
    torch.testing.assert_close(single.double(), double, rtol=0, atol=1e-5)


@pytest.mark.parametrize("graph", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_two_solves_are_equal_to_the_bit(name, graph):
    with torch.set_grad_enabled(graph):
        a, b = (make_solver(name, 1e-5)(logistic, Y0, [0.0, 0.4, 1.0, 2.0]) for _ in "ab")
    assert torch.equal(a.ys, b.ys)
    assert a.stats == b.stats


@pytest.mark.parametrize("outputs", [2, 30])
@pytest.mark.parametrize("graph", [False, True])
@pytest.mark.parametrize("name", ADAPTIVE)
def test_adaptive_solve_reads_the_device_once_a_step(name, graph, outputs, reads):
    """Two more reads choose the first step."""
    ts = [2 * i / (outputs - 1) for i in range(outputs)]
    y0 = Y0.clone().requires_grad_(graph)
    counts = make_solver(name, 1e-5)(logistic, y0, ts).stats.forward
    assert 0 < len(reads) <= counts.accepted + counts.rejected + 2


@pytest.mark.parametrize("name", FIXED)
def test_fixed_solve_reads_the_device_once_in_all(name, reads):
    Solver(name, step_size=0.05)(logistic, Y0, [0.0, 0.33, 1.0])
    assert len(reads) == 1


@pytest.mark.parametrize("name", ADAPTIVE)
def test_constant_solution_is_exact_in_few_steps(name):
    """As a net whose last layer starts at zero: no creeping up from a tiny first step."""
    solution = make_solver(name, 1e-6)(lambda t, y: torch.zeros_like(y), Y0, [0.0, 1.0])
    assert torch.equal(solution.final, Y0)
    assert solution.stats.forward.accepted == 2


def test_what_wakes_up_late_is_not_missed():
    y0, solver = torch.zeros(3, dtype=torch.float64), make_solver("dopri5", 1e-6)
    late = solver(lambda t, y: (t - 0.4).clamp_min(0) ** 3 + 0 * y, y0, [0.0, 1.0]).final
    assert torch.allclose(late, torch.full_like(late, 0.6**4 / 4), rtol=0, atol=1e-5)
