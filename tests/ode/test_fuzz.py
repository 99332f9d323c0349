"""Whatever the field, a solve ends: with a solution, or with an error that says where and what to
do.
"""

from __future__ import annotations

from math import inf, isfinite, nan

import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from support.ode.problems import FIXED, NAMES, make_solver

from node_runner.ode import Adjoint, Direct, Event, Replay, Solver, SolverError, methods

CAP = 120
few = settings(
    max_examples=30,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)


def stiff(size):
    return lambda t, y: -(10.0**size) * (y - torch.cos(t))


def blowing_up(size):
    return lambda t, y: size * y * y


def spoiled(when):
    return lambda t, y: torch.where(t > when, nan, -y)


def infinite(when):
    return lambda t, y: torch.where(t > when, inf, -y)


def jumping(when):
    return lambda t, y: torch.where(t > when, 1e3, -1.0) + 0 * y


def chattering(size):
    return lambda t, y: -size * torch.sign(y)


def rough(size):
    return lambda t, y: size * torch.sin(1e8 * t + y)


def rooted(size):
    return lambda t, y: -size * y.sqrt()


def resting(_):
    return lambda t, y: torch.zeros_like(y)


def huge(size):
    return lambda t, y: torch.full_like(y, 10.0 ** (100 * size))


MAKERS = (stiff, blowing_up, spoiled, infinite, jumping, chattering, rough, rooted, resting, huge)
fields = st.builds(lambda make, size: make(size), st.sampled_from(MAKERS), st.floats(0.0, 3.0))
ends = st.tuples(st.floats(-2, 2), st.floats(-4, 4)).filter(lambda e: abs(e[0] - e[1]) > 1e-3)
starts = st.lists(st.floats(-3, 3), min_size=1, max_size=3)
tolerances = st.sampled_from([1e-2, 1e-5, 1e-9])


def build(name, tol, **options):
    return make_solver(name, tol, step_size=0.05, max_steps=CAP, **options)


def check(error):
    """The error names where it stopped, with which step, and two remedies."""
    text = str(error)
    assert f"t={error.t:.6g}" in text and f"step {error.dt:.3g}" in text
    assert isfinite(error.t) and " Try " in text and ", or " in text.split(" Try ")[1]
    assert all(error.advice) and error.cause in text


@pytest.mark.parametrize("name", NAMES)
@few
@given(f=fields, start=starts, ends=ends, tol=tolerances)
def test_every_solve_ends(name, f, start, ends, tol):
    """Within its cap, at a finite state or with an error; evaluations are those of its steps."""
    calls, tableau = [], methods.get(name).tableau

    def counted(t, y):
        calls.append(1)
        return f(t, y)

    y0 = torch.tensor(start, dtype=torch.float64)
    try:
        solution = build(name, tol)(counted, y0, ends)
    except SolverError as error:
        check(error)
        assert sum(error.steps) <= CAP
    else:
        assert torch.isfinite(solution.final).all()
        counts = solution.stats.forward
        assert counts.accepted + counts.rejected <= CAP and counts.nfe == len(calls)
    # A fixed-step solve that fails runs once more to tell where.
    # One that failed is looked at, in some twenty more evaluations.
    assert len(calls) <= (CAP * tableau.stages + 2) * (2 if name in FIXED else 1) + 20


@pytest.mark.parametrize("gradient", [Direct(), Replay(2), Adjoint()], ids=["d", "r", "a"])
@few
@given(f=fields, start=starts, ends=ends, name=st.sampled_from(["dopri5", "bosh3", "rk4"]))
def test_every_gradient_ends(gradient, f, start, ends, name):
    """The way back has the same cap, and the same error."""
    y0 = torch.tensor(start, dtype=torch.float64, requires_grad=True)
    try:
        final = build(name, 1e-4, gradient=gradient)(f, y0, ends).final
        final.sum().backward()
    except SolverError as error:
        check(error)
    else:
        assert y0.grad.shape == y0.shape


@few
@given(
    f=fields,
    start=starts,
    ends=ends,
    direction=st.sampled_from(["up", "down", "either"]),
    level=st.floats(-2, 2),
    endless=st.booleans(),
    name=st.sampled_from(["dopri5", "tsit5", "bosh3", "euler"]),
)
def test_every_search_for_an_event_ends(f, start, ends, direction, level, endless, name):
    y0 = torch.tensor(start, dtype=torch.float64)
    event = Event(lambda t, y: y.sum() - level, direction)
    t_end = inf * (ends[1] - ends[0]) if endless else ends[1]
    try:
        hit = build(name, 1e-4).event(f, y0, ends[0], event, t_end=t_end)
    except SolverError as error:
        check(error)
    else:
        low, high = sorted((ends[0], t_end))
        assert low <= hit.t.item() <= high
        assert hit.found or hit.t.item() == t_end


@pytest.mark.parametrize("t0", [1.0, -1e6])
def test_a_first_step_below_the_rounding_of_time(t0):
    """y' = 1e100: the step that would be cautious enough leaves t where it is."""
    final = Solver()(huge(1.0), torch.zeros(1, dtype=torch.float64), [t0, t0 + 1]).final
    assert final.item() == pytest.approx(1e100, rel=1e-4)


shapes = st.lists(st.integers(1, 3), max_size=2).map(tuple)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    layout=st.lists(shapes, min_size=1, max_size=3),
    single=st.booleans(),
    dtype=st.sampled_from([torch.float32, torch.float64]),
    ends=ends,
    places=st.lists(st.floats(0, 1), max_size=5),
    name=st.sampled_from(NAMES),
)
@example([()], True, torch.float32, (0.0, 0.1), [0.0, 1.0], "dopri5")
def test_dense_output_has_the_layout_of_the_state(layout, single, dtype, ends, places, name):
    """At every time in the interval, and equal to the solution where that is asked for the same."""
    entries = tuple(torch.full(shape, 0.5 + i, dtype=dtype) for i, shape in enumerate(layout))
    y0, (t0, t1) = (entries[0] if single else entries), ends

    def f(t, y):
        rate = tuple(-each * torch.cos(t) for each in (y if isinstance(y, tuple) else (y,)))
        return rate if isinstance(y, tuple) else rate[0]

    solver = make_solver(name, 1e-3, step_size=0.2)
    dense = solver.dense(f, y0, t0, t1)
    times = [min(max(t0 + p * (t1 - t0), min(ends)), max(ends)) for p in places]
    ordered = sorted({t0, t1, *times}, reverse=t1 < t0)
    expected = solver(f, y0, ordered).ys
    wanted = [ordered.index(t) for t in times]
    for found, index in (
        (dense(times), wanted),
        (dense(torch.tensor(times, dtype=torch.float64)), wanted),
        (dense(t1), -1),
    ):
        assert isinstance(found, tuple) != single
        pairs = [(found, expected)] if single else zip(found, expected, strict=True)
        for a, b in pairs:
            assert a.dtype == dtype
            torch.testing.assert_close(a, b[index], rtol=1e-6, atol=1e-6)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    phase=st.floats(0.1, 3.0),
    backwards=st.booleans(),
    direction=st.sampled_from(["up", "down", "either"]),
    dtype=st.sampled_from([torch.float32, torch.float64]),
    paired=st.booleans(),
)
def test_events_of_a_wave_are_where_it_is_zero(phase, backwards, direction, dtype, paired):
    """sin(phase + s) from s = 0, s the time gone by: down at pi - phase, up at 2 pi - phase."""
    sign = -1.0 if backwards else 1.0
    y0 = torch.tensor([phase]).to(dtype).sin(), torch.tensor([phase]).to(dtype).cos()

    def f(t, y):
        a, b = y if paired else y.unbind()
        rate = sign * b, -sign * a
        return rate if paired else torch.stack(rate)

    hit = Solver("tsit5", 1e-6, 1e-6).event(
        f,
        y0 if paired else torch.stack(y0),
        0.0,
        Event(lambda t, y: y[0], direction),
        t_end=sign * 9.0,
    )
    expected = sign * (torch.pi * (2 if direction == "up" else 1) - phase)
    assert hit.t.item() == pytest.approx(expected, abs=1e-4)
    assert isinstance(hit.state, tuple) == paired and hit.state[0].dtype == dtype
