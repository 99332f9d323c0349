"""Fixed grids: where the steps are, order, interpolation, the gradient of the discrete solve."""

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
    mixing,
    solve,
    stepper,
    times,
)
from ode_problems import Recorded, logistic, logistic_exact, slope

from node_runner.ode.compat import grid, steppers
from node_runner.ode.compat.mesh import uniform_grid


def step_counts(order):
    return (32, 64, 128) if order <= 4 else (24, 40, 64) if order == 5 else (16, 24, 32)


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


def weights_of(y0, w, t):
    return y0.requires_grad_(), w.requires_grad_(), t.requires_grad_()


@pytest.mark.parametrize("options", [{}, {"step_size": 0.06}], ids=["own", "uniform"])
@pytest.mark.parametrize("name", NAMES)
def test_gradient_is_that_of_the_discrete_solve(name, options, draw):
    """In y0, parameters and times; on the second grid the outputs are interpolated."""

    def run(y0, w, t):
        return solve(lambda t, y: mixing(t, y, w), y0, t, name, **options)

    t = times(0.0, 0.05, 0.13, 0.2, 0.25) if not options else times(0.0, 0.1, 0.29)
    assert torch.autograd.gradcheck(run, weights_of(draw(2), draw(2, 2), t))


@pytest.mark.parametrize("name", ["euler", "rk4", "implicit_adams", "radauIIA3", "trapezoid"])
@pytest.mark.parametrize("perturb", [False, True])
def test_gradient_of_the_cubic_interpolant_backwards(name, perturb, draw):
    def run(y0, w, t):
        options = {"step_size": 0.11, "interp": "cubic", "perturb": perturb}
        return solve(lambda t, y: mixing(t, y, w), y0, t, name, **options)

    assert torch.autograd.gradcheck(run, weights_of(draw(2), draw(2, 2), times(0.3, 0.2, -0.2)))


@pytest.mark.parametrize("name", ["rk4", "explicit_adams", "implicit_adams"])
def test_gradients_of_gradients(name, draw):
    def run(y0, w, t):
        return solve(lambda t, y: mixing(t, y, w), y0, t, name)

    inputs = weights_of(draw(2), draw(2, 2), times(0.0, 0.1, 0.25, 0.3, 0.4))
    assert torch.autograd.gradgradcheck(run, inputs)


@pytest.mark.parametrize("name", NAMES)
def test_tracking_the_times_does_not_change_the_solution(name, draw):
    y0, w = draw(2, 2), draw(2, 2)
    results = [
        solve(lambda t, y: mixing(t, y, w), y0, times(0, 0.3, 1, grad=grad), name, step_size=0.07)
        for grad in (False, True)
    ]
    torch.testing.assert_close(*(r.detach() for r in results), rtol=1e-13, atol=1e-14)


def test_output_that_meets_a_grid_point_has_the_slope_of_the_step_before():
    """There the polygon has a kink; torchdiffeq gives such an output no gradient in its time."""
    t = times(0.0, 0.5, 1.0, grad=True)
    ys = solve(logistic, STARTS[:1], t, "rk4", step_size=0.25)
    (gradient,) = torch.autograd.grad(ys[1], t)
    before = solve(logistic, STARTS[:1], times(0, 0.25, 0.5), "rk4")
    assert gradient[1].item() == pytest.approx(((before[2] - before[1]) / 0.25).item(), rel=1e-12)


def test_ends_of_a_grid_without_graph_are_those_of_t(draw):
    def run(t):
        def constructor(f, y0, t):
            return torch.tensor([t[0].item(), 0.3, 0.35, t[-1].item()], dtype=t.dtype)

        return solve(logistic, STARTS[:2], t, "heun3", grid_constructor=constructor)

    assert torch.autograd.gradcheck(run, times(0.1, 0.32, 0.6, grad=True))


def test_grid_that_depends_on_t_is_differentiated(draw):
    def run(t):
        def constructor(f, y0, t):
            return torch.cat([t[:1], t[:1] + (t[-1] - t[0]) * times(0.3, 0.7), t[-1:]])

        return solve(logistic, STARTS[:2], t, "rk4", grid_constructor=constructor)

    assert torch.autograd.gradcheck(run, times(0.1, 0.32, 0.6, grad=True))


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


@pytest.mark.parametrize(
    "t, step_size, expected",
    [
        (times(0.0, 0.3), 0.1, [0.0, 0.1, 0.2, 0.3]),
        (times(0.0, 0.9), 0.3, [0.0, 0.3, 0.6, 0.9]),
        (times(1.0, 0.0), 0.4, [1.0, 0.6, 0.2, 0.0]),
        (times(0.0, 0.1), 5.0, [0.0, 0.1]),
        (torch.tensor([0.0, 0.8]), 0.2, [0.0, 0.2, 0.4, 0.6, 0.8]),
        (torch.tensor([1000.0, 1000.7]), 0.1, [1000 + i / 10 for i in range(8)]),
    ],
)
def test_uniform_grid_makes_no_step_of_rounding(t, step_size, expected):
    found = uniform_grid(t, step_size)
    assert found.tolist() == pytest.approx(expected, rel=2 * torch.finfo(t.dtype).eps)
    assert found[0] == t[0] and found[-1] == t[-1]


@pytest.mark.parametrize("name", ["rk4", "implicit_adams", "radauIIA5"])
def test_f_sees_times_of_the_dtype_of_the_state(name):
    seen = set()

    def f(t, y):
        seen.add((t.dtype, t.shape, y.dtype))
        return -y

    ys = grid.solve(f, torch.ones(2), even(1.0, 6), steppers.get(name, rtol=1e-3))
    assert seen == {(torch.float32, (), torch.float32)} and ys.dtype == torch.float32
    torch.testing.assert_close(ys[-1], torch.full((2,), 0.36788), rtol=1e-4, atol=0)


def test_one_time_is_the_start():
    assert torch.equal(solve(logistic, STARTS, times(2.0), "rk4"), STARTS[None])


def turned(f, y0, t):
    return times(0.0, 0.6, 0.5, 1.0)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"interp": "quintic"}, "unknown interp 'quintic'; choose from linear, cubic"),
        (
            {"step_size": 0.1, "grid_constructor": turned},
            r"step_size and grid_constructor exclude each other.* \(step_size is 0.1\)",
        ),
        ({"step_size": 0.0}, "step_size is 0.0, must be positive"),
        ({"step_size": -0.1}, "step_size is -0.1, must be positive and finite, whichever way t"),
        ({"step_size": float("nan")}, "step_size is nan, must be positive"),
        ({"grid_constructor": turned}, r"without turning: grid\[1\]=0.6, grid\[2\]=0.5"),
        (
            {"grid_constructor": lambda f, y0, t: t[:1]},
            r"grid of 1 \(from 0 to 0\), must start at t\[0\]=0 and end at t\[-1\]=1 exactly",
        ),
        (
            {"grid_constructor": lambda f, y0, t: t[:0]},
            r"a grid of 0 \(no points\), must start at t\[0\]=0",
        ),
        ({"grid_constructor": lambda f, y0, t: t + 0.5}, r"\(from 0.5 to 1.5\), must start at t"),
        ({"grid_constructor": lambda f, y0, t: t[None]}, r"returned shape \(1, 2\), must be a ten"),
        ({"grid_constructor": lambda f, y0, t: [0, 1]}, "grid_constructor returned list, must be"),
    ],
)
def test_unfit_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        solve(logistic, STARTS, times(0.0, 1.0), "rk4", **options)


def test_unknown_method_suggests_the_nearest_and_lists_all():
    with pytest.raises(ValueError, match="unknown method 'gl5'; did you mean 'gl") as raised:
        steppers.get("gl5")
    assert all(name in str(raised.value) for name in NAMES)


@pytest.mark.parametrize(
    "name, option, has",
    [("rk4", "max_iters", "none but"), ("gl4", "max_order", "max_iters"), ("fixed_adams", "x", "")],
)
def test_unknown_option_of_a_method_is_refused(name, option, has):
    with pytest.raises(ValueError, match=f"unknown option '{option}' of {name}; it has {has}"):
        steppers.get(name, **{option: 3})


@pytest.mark.parametrize("name", NAMES)
def test_every_listed_option_is_taken(name):
    assert steppers.get(name, **{option: 7 for option in steppers.options_of(name)}).name == name


THEIRS = ["euler", "midpoint", "heun2", "heun3", "rk4", "explicit_adams", "implicit_adams"]
OPTIONS = [{}, {"perturb": True}, {"step_size": 0.13}, {"step_size": 0.13, "interp": "cubic"}]


@pytest.mark.parametrize("options", OPTIONS, ids=["own", "perturb", "linear", "cubic"])
@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("name", THEIRS)
def test_values_and_gradients_agree_with_torchdiffeq(name, sign, options, draw):
    """To rounding. Left out is where its are wrong, which has tests of its own: the times' gradient
    of Adams methods, and of outputs that meet a point of a uniform grid.
    """
    theirs = pytest.importorskip("torchdiffeq")
    adams = "adams" in name
    own = "step_size" not in options
    points = [0.1 * i for i in range(7)] if adams and own else [0.0, 0.29, 0.71, 1.3]
    y0, w, t = draw(3, 2), 0.3 * draw(2, 2), sign * times(*points)
    results, tolerances = [], {"rtol": 1e-3, "atol": 1e-4}

    def ours(f, y0, t):
        return grid.solve(f, y0, t, steppers.get(name, **tolerances), **options)

    def other(f, y0, t):
        return theirs.odeint(f, y0, t, method=name, options=options, **tolerances)

    for run in (ours, other):
        leaves = weights_of(y0.clone(), w.clone(), t.clone())
        ys = run(lambda t, y: mixing(t, y, leaves[1]), leaves[0], leaves[2])  # noqa: B023
        asked = leaves[:2] if adams else leaves
        results.append((ys.detach(), *torch.autograd.grad((ys * ys.detach().cos()).sum(), asked)))
    for found, expected in zip(*results, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-11)


def test_stepper_can_be_used_for_any_number_of_solves():
    method = stepper("implicit_adams")
    first = grid.solve(logistic, STARTS, even(1.0, 10), method)
    assert torch.equal(grid.solve(logistic, STARTS, even(1.0, 10), method), first)
