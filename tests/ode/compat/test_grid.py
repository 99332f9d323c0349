"""Fixed grids: where the steps are, order, interpolation, and when f is called."""

from __future__ import annotations

import pytest
import torch
from grid_cases import (
    ADAMS,
    EXPLICIT,
    IMPLICIT,
    NAMES,
    ORDER,
    PROBLEMS,
    STARTS,
    Counted,
    even,
    solve,
    stepper,
    times,
)
from ode_problems import Recorded, logistic, logistic_exact, slope

from node_runner.ode.compat import grid, steppers
from node_runner.ode.compat.mesh import uniform_grid


def step_counts(order):
    return (32, 64, 128) if order == 1 else (24, 40, 64) if order <= 5 else (16, 24, 32)


@pytest.mark.parametrize("problem", PROBLEMS)
@pytest.mark.parametrize("name", NAMES)
def test_observed_order_is_the_claimed_one(name, problem):
    """RMS over 8 starts and 8 times, so that no error passes through zero. Adams methods go no
    further than to the order that their start allows.
    """
    (f, exact), options = PROBLEMS[problem], {"max_order": 5} if name in ADAMS else {}
    counts, errors = (64, 128, 256) if options else step_counts(ORDER[name]), []
    for n in counts:
        t = even(4.0, n)
        with torch.no_grad():
            ys = grid.solve(f, STARTS, t, stepper(name, **options))[:: n // 8]
        errors.append((ys - exact(t[:: n // 8, None], STARTS)).square().mean().sqrt().item())
    assert -slope(counts, errors) == pytest.approx(ORDER[name], abs=0.5)


@pytest.mark.parametrize("interp, order", [("linear", 2), ("cubic", 4)])
@pytest.mark.parametrize("sign", [1, -1])
def test_order_of_the_interpolant(interp, order, sign):
    """Outputs in the middle of the steps of a method of higher order than the interpolant's."""
    counts, errors = (16, 32, 64), []
    for n in counts:
        t = torch.cat([even(2.0, n)[:1], even(2.0, n)[1:] - 1 / n, times(2.0)]) * sign
        ys = solve(logistic, STARTS, t, "gl6", step_size=2 / n, interp=interp)
        errors.append((ys - logistic_exact(t[:, None], STARTS)).square().mean().sqrt().item())
    assert -slope(counts, errors) == pytest.approx(order, abs=0.3)


@pytest.mark.parametrize("interp", ["linear", "cubic"])
def test_outputs_on_the_grid_are_the_steps(interp):
    t = even(1.0, 8)
    fine = solve(logistic, STARTS, even(1.0, 8), "rk4")
    assert torch.equal(solve(logistic, STARTS, t, "rk4", step_size=1 / 8, interp=interp), fine)
    coarse = solve(logistic, STARTS, t[::4], "rk4", step_size=1 / 8, interp=interp)
    assert torch.equal(coarse, fine[::4])


@pytest.mark.parametrize("name", NAMES)
def test_backwards_in_time_is_forwards_of_the_mirrored_field(name):
    t = times(1.0, 0.75, 0.4, 0.2)
    back = solve(logistic, STARTS, t, name, step_size=0.1, interp="cubic")
    mirrored = solve(lambda t, y: -logistic(-t, y), STARTS, -t, name, step_size=0.1, interp="cubic")
    torch.testing.assert_close(back, mirrored, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", ["implicit_midpoint", "trapezoid", "gl4", "gl6"])
def test_symmetric_methods_retrace_their_steps(name):
    t = even(2.0, 10)
    there = solve(logistic, STARTS, t, name)
    back = solve(logistic, there[-1], t.flip(0), name)
    torch.testing.assert_close(back.flip(0), there, rtol=1e-12, atol=1e-13)


def test_grid_constructor_is_given_the_problem_and_obeyed():
    seen, calls = [], Recorded(logistic)

    def constructor(*problem):
        seen.append(problem)
        return times(0.0, 0.1, 0.4, 1.0)

    t = times(0.0, 1.0)
    ys = solve(calls, STARTS, t, "euler", grid_constructor=constructor)
    assert seen == [(calls, STARTS, t)] and calls.times == [0.0, 0.1, 0.4]
    assert torch.equal(ys[-1], solve(logistic, STARTS, times(0.0, 0.1, 0.4, 1.0), "euler")[-1])


def jump(t, y):
    """Slope 1 before t = 0.5 and 3 from there on."""
    return torch.where(t < 0.5, 1.0, 3.0).expand_as(y)


@pytest.mark.parametrize("name", EXPLICIT + IMPLICIT)
@pytest.mark.parametrize("ends", [(0.0, 1.0), (1.0, 0.0)])
def test_perturbed_ends_put_a_jump_between_two_steps(name, ends):
    """Then every method is exact: the field is constant over each step. At t = 0.5 exactly it is
    3, which methods with a node at the end of the first step see without.
    """
    y = solve(jump, times(0.0), times(ends[0], 0.5, ends[1]), name, perturb=True)
    change = 2.0 if ends[1] > ends[0] else -2.0
    assert y[-1].item() == pytest.approx(change, abs=1e-12)


def test_without_perturbation_the_jump_is_seen_from_the_wrong_side():
    y = solve(jump, times(0.0), times(0.0, 0.5, 1.0), "heun2")
    assert y[-1].item() == pytest.approx(2.5, abs=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_f_is_never_called_outside_a_step_and_not_at_its_ends_where_perturbed(name):
    calls = Recorded(logistic)
    with torch.no_grad():
        solve(calls, STARTS, times(0.0, 0.3, 1.0), name, perturb=True, step_size=0.15)
    assert min(calls.times) > 0.0 and max(calls.times) < 1.0
    assert not set(calls.times) & set(uniform_grid(times(0.0, 1.0), 0.15).tolist())


def test_on_step_sees_each_step_before_it_is_taken():
    seen = []
    t = times(1.0, 0.75, 0.0)
    ys = solve(
        lambda t, y: seen.append("f") or -y,
        STARTS,
        t,
        "euler",
        on_step=lambda *step: seen.append(step),
    )
    assert [step if step == "f" else (step[0].item(), step[2].item()) for step in seen] == [
        (1.0, -0.25),
        "f",
        (0.75, -0.75),
        "f",
    ]
    assert torch.equal(seen[0][1], STARTS) and torch.equal(seen[2][1], ys[1])


@pytest.mark.parametrize("name", EXPLICIT)
def test_evaluations(name):
    """The stages of each step; the cubic needs the rate at the end of a step with outputs inside,
    once.
    """
    stages = {"euler": 1, "midpoint": 2, "heun2": 2, "heun3": 3, "rk4": 4}[name]
    f = Counted(logistic)
    solve(f, STARTS, times(0.0, 0.9, 1.0), name, step_size=0.25)
    assert f.calls == 4 * stages
    f = Counted(logistic)
    solve(f, STARTS, times(0.0, 0.8, 0.9, 1.0), name, step_size=0.25, interp="cubic")
    assert f.calls == 4 * stages + 1


def test_reads_of_the_device_do_not_grow_with_the_steps(reads):
    solve(logistic, STARTS, times(0.0, 1.0), "rk4", step_size=0.1)
    few = len(reads)
    solve(logistic, STARTS, times(0.0, 1.0), "rk4", step_size=0.01)
    assert len(reads) == 2 * few


@pytest.mark.parametrize("name", ["rk4", "implicit_adams", "radauIIA5"])
def test_f_sees_times_of_the_dtype_of_the_state(name):
    seen = set()

    def f(t, y):
        seen.add((t.dtype, t.shape, y.dtype))
        return -y

    ys = grid.solve(f, torch.ones(2), even(1.0, 6), steppers.get(name, rtol=1e-3))
    assert seen == {(torch.float32, (), torch.float32)} and ys.dtype == torch.float32
    torch.testing.assert_close(ys[-1], torch.full((2,), 0.36788), rtol=1e-4, atol=0)


def test_stepper_can_be_used_for_any_number_of_solves():
    method = stepper("implicit_adams")
    first = grid.solve(logistic, STARTS, even(1.0, 10), method)
    assert torch.equal(grid.solve(logistic, STARTS, even(1.0, 10), method), first)
