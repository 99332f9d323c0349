"""Options of fixed grids and of their methods, and what is refused."""

from __future__ import annotations

import pytest
import torch
from grid_cases import (
    NAMES,
    STARTS,
    solve,
    times,
)
from ode_problems import logistic

from node_runner.ode.compat import steppers
from node_runner.ode.compat.mesh import uniform_grid


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
