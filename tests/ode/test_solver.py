"""What a Solver refuses when it is built, by name."""

from __future__ import annotations

from math import nan

import pytest
import torch
from support.ode.problems import ADAPTIVE, FIXED, NAMES, make_solver

from node_runner.ode import Adjoint, Direct, Replay, Solver


@pytest.mark.parametrize("name", NAMES)
def test_defaults_build(name):
    solver = make_solver(name)
    assert solver.method == name
    assert isinstance(solver.gradient, Direct)


@pytest.mark.parametrize("gradient", [Direct(), Replay(), Adjoint()])
@pytest.mark.parametrize("name", NAMES)
def test_every_method_goes_with_every_strategy(name, gradient):
    assert make_solver(name, gradient=gradient).gradient is gradient


@pytest.mark.parametrize("value", [-1e-3, nan, [1e-3, -1e-3]])
def test_relative_tolerance_below_zero_is_refused(value):
    with pytest.raises(ValueError, match="rtol is .*, must not be negative"):
        Solver(rtol=value)


@pytest.mark.parametrize("value", [0.0, -1e-3, nan, [1e-3, 0.0]])
def test_absolute_tolerance_must_be_positive(value):
    """A quadrature starts at 0, where nothing else is allowed."""
    with pytest.raises(ValueError, match="atol is .*, must be positive"):
        Solver(atol=value)


def test_an_absolute_tolerance_suffices(draw):
    final = Solver(rtol=0.0, atol=1e-6)(lambda t, y: -y, draw(3), [0.0, 1.0]).final
    assert torch.isfinite(final).all()


def test_a_number_of_any_library_is_a_tolerance():
    assert Solver(rtol=torch.tensor(1e-3), atol=torch.tensor(1e-4).numpy()).rtol == pytest.approx(
        1e-3
    )


@pytest.mark.parametrize("name", ADAPTIVE)
def test_step_size_with_an_adaptive_method_is_refused(name):
    with pytest.raises(ValueError, match=f"step_size is 0.1, but {name} chooses its own"):
        Solver(name, step_size=0.1)


@pytest.mark.parametrize("name", FIXED)
def test_missing_step_size_is_refused(name):
    with pytest.raises(ValueError, match=f"step_size is missing: {name} takes fixed steps"):
        Solver(name)


@pytest.mark.parametrize("value", [0.0, -0.1, nan])
@pytest.mark.parametrize("name", FIXED)
def test_step_size_that_is_not_positive_is_refused(name, value):
    with pytest.raises(ValueError, match=f"step_size is {value!r}, must be positive"):
        Solver(name, step_size=value)


@pytest.mark.parametrize("name", FIXED)
def test_first_step_with_a_fixed_method_is_refused(name):
    with pytest.raises(ValueError, match=f"first_step is 0.1, but {name} takes fixed steps"):
        Solver(name, step_size=0.1, first_step=0.1)


@pytest.mark.parametrize(
    "option, value", [("first_step", 0.0), ("first_step", -1.0), ("max_steps", 0)]
)
def test_value_that_is_not_positive_is_refused(option, value):
    with pytest.raises(ValueError, match=f"{option} is {value!r}, must be positive"):
        Solver(**{option: value})
