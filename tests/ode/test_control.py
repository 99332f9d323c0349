"""Step control in plain floats: no solver, no tensors."""

from __future__ import annotations

from math import inf, nan

import pytest

from node_runner.ode.control import FixedControl, PIControl

RATIOS = [0.0, 1e-12, 1e-3, 0.1, 0.5, 0.9, 1.0, 1.1, 2.0, 50.0, 1e6, 1e300]


def walk(control, start, end):
    """All step ends from start to end, each step accepted as it is proposed."""
    control.begin(start)
    times = [start]
    while times[-1] != end:
        times.append(control.propose(times[-1], end))
        assert len(times) < 10_000
    return times


@pytest.mark.parametrize("end", [1.0, -1.0])
@pytest.mark.parametrize("size, steps", [(0.1, 10), (0.3, 4), (0.25, 4), (1.0, 1), (7.0, 1)])
def test_fixed_grid_has_the_fewest_steps_and_ends_exactly(size, steps, end):
    """0.1 * 10 > 1 in floats added up, and 0.3 does not divide 1."""
    times = walk(FixedControl(size), 0.0, end)
    assert len(times) - 1 == steps
    assert times[-1] == end


@pytest.mark.parametrize("start, end", [(0.0, 1.0), (0.7, 1.7), (100.0, 99.0), (-0.5, 0.5)])
@pytest.mark.parametrize("n", [3, 7, 10, 49, 100, 1000])
def test_fixed_grid_of_one_nth_takes_n_steps_from_any_start(start, end, n):
    assert len(walk(FixedControl(1 / n), start, end)) - 1 == n


def test_fixed_grid_keeps_its_size_up_to_the_last_step():
    times = walk(FixedControl(0.3), 0.0, 1.0)
    assert times == pytest.approx([0, 0.3, 0.6, 0.9, 1.0], abs=1e-15)


def test_infinite_fixed_steps_go_from_stretch_to_stretch():
    assert walk(FixedControl(inf), 0.0, 0.4) == [0.0, 0.4]
    assert walk(FixedControl(inf), 0.4, -3.0) == [0.4, -3.0]


def test_fixed_grid_starts_anew_with_each_stretch():
    control = FixedControl(0.4)
    assert walk(control, 0.0, 1.0) == pytest.approx([0, 0.4, 0.8, 1.0])
    assert walk(control, 1.0, 2.0) == pytest.approx([1, 1.4, 1.8, 2.0])


@pytest.mark.parametrize("end", [1.0, -1.0])
def test_pi_clips_to_the_end(end):
    assert PIControl(dt=5.0, order=5).propose(0.0, end) == end
    assert PIControl(dt=1.0, order=5).propose(0.0, end) == end
    assert PIControl(dt=0.995, order=5).propose(0.0, end) == end  # stretched by a hundredth at most


@pytest.mark.parametrize("end", [1.0, -1.0])
@pytest.mark.parametrize("dt", [0.5, 0.6, 0.75, 0.9, 0.99])
def test_pi_halves_what_is_left_rather_than_leaving_a_sliver(dt, end):
    assert PIControl(dt=dt, order=5).propose(0.0, end) == pytest.approx(end / 2, abs=1e-15)


def test_pi_never_leaves_less_than_half_a_step():
    for dt in (0.1 + 0.0037 * i for i in range(200)):
        times = walk(PIControl(dt=dt, order=5), 0.0, 1.0)
        sizes = [b - a for a, b in zip(times, times[1:], strict=False)]
        assert min(sizes) > 0.49 * dt
        assert max(sizes) <= 1.0101 * dt


@pytest.mark.parametrize("order", [2, 3, 5, 8])
@pytest.mark.parametrize("last", [None, (0.5, 1e-4), (0.5, 1.0), (0.01, 0.3), (5.0, 0.3)])
@pytest.mark.parametrize("ratio", RATIOS)
def test_pi_accepts_up_to_one_and_keeps_its_factor_in_bounds(ratio, last, order):
    control = PIControl(dt=0.5, order=order, last=last)
    assert control.judge(0.5, ratio) == (ratio <= 1)
    assert 0.2 * 0.5 <= control.dt <= 10 * 0.5


@pytest.mark.parametrize("ratio", [r for r in RATIOS if r > 1])
def test_pi_shrinks_after_each_rejection(ratio):
    control = PIControl(dt=0.5, order=5)
    control.judge(0.5, ratio)
    assert control.dt < 0.5


def test_pi_proposes_more_for_a_smaller_error():
    proposals = []
    for ratio in (0.9, 0.1, 0.01, 1e-4, 1e-6):
        control = PIControl(dt=0.5, order=5)
        control.judge(0.5, ratio)
        proposals.append(control.dt)
    assert proposals == sorted(proposals)
    assert proposals[0] < proposals[-1]


@pytest.mark.parametrize("ratio", [nan, inf])
def test_pi_takes_what_is_not_finite_for_a_rejection_by_the_least_factor(ratio):
    control = PIControl(dt=0.5, order=5)
    assert not control.judge(0.5, ratio)
    assert control.dt == pytest.approx(0.1)


@pytest.mark.parametrize("bad", [2.0, nan])
def test_pi_does_not_grow_right_after_a_rejection(bad):
    control = PIControl(dt=0.5, order=5)
    control.judge(0.5, bad)
    size = control.dt
    assert control.judge(size, 1e-9)
    assert control.dt <= size
    assert control.judge(size, 1e-9)
    assert control.dt > size


def test_pi_keeps_the_proposal_that_a_clipped_step_interrupted():
    control = PIControl(dt=0.5, order=5)
    assert control.propose(0.95, 1.0) == 1.0
    control.judge(0.05, 0.9)
    assert control.dt >= 0.5


def test_pi_equals_its_formula():
    """Hairer, Norsett, Wanner, eq. (IV.2.43c) with beta = 0.2 / k and alpha = 1 / k - 0.75 beta."""
    control = PIControl(dt=0.5, order=5, last=(0.5, 0.3))
    control.judge(0.5, 0.6)
    assert control.dt == pytest.approx(0.5 * 0.93 * 0.6 ** -(0.2 - 0.03) * 0.3**0.04, rel=1e-12)


@pytest.mark.parametrize("order", [2, 5, 8])
def test_pi_follows_the_integral_rule_while_only_the_step_grows(order):
    """A smooth problem, e = c dt^k: the first step has no memory, and the growth of the step is
    taken out of that of the error.
    """
    control = PIControl(dt=0.01, order=order)
    for _ in range(4):
        size = control.dt
        ratio = 0.9 * (size / 1.0) ** order
        control.judge(size, ratio)
        # One step would do with the integral rule: what is left of beta is a mild (c)^(1.75 beta).
        ideal = 0.93 * ratio ** (-1 / order)
        assert min(10, ideal) * 0.25 <= control.dt / size <= min(10, ideal) * 1.0001
