"""What a Solver refuses when it is built, by the name of the argument."""

from __future__ import annotations

from math import nan

import pytest
import torch
from support.ode.problems import ADAPTIVE, FIXED, NAMES, make_solver

from node_runner.ode import Adjoint, Direct, Replay, Solver


@pytest.mark.parametrize("gradient", [None, Direct(), Replay(), Adjoint()])
@pytest.mark.parametrize("name", NAMES)
def test_every_method_goes_with_every_strategy(name, gradient):
    solver = make_solver(name, gradient=gradient)
    assert solver.method == name
    assert isinstance(solver.gradient, Direct) if gradient is None else solver.gradient is gradient


REFUSED = [("rtol", v) for v in (-1e-3, nan, [1e-3, -1e-3])]
# A quadrature starts at 0, where nothing but atol is allowed.
REFUSED += [("atol", v) for v in (0.0, -1e-3, nan, [1e-3, 0.0])]
REFUSED += [("first_step", 0.0), ("first_step", -1.0), ("max_steps", 0)]


@pytest.mark.parametrize("option, value", REFUSED)
def test_a_value_out_of_range_is_refused(option, value):
    with pytest.raises(ValueError, match=f"^{option} is"):
        Solver(**{option: value})


def test_an_absolute_tolerance_suffices(draw):
    final = Solver(rtol=0.0, atol=1e-6)(lambda t, y: -y, draw(3), [0.0, 1.0]).final
    assert torch.isfinite(final).all()


@pytest.mark.parametrize("name", ADAPTIVE)
def test_step_size_with_an_adaptive_method_is_refused(name):
    with pytest.raises(ValueError, match=f"^step_size is 0.1, but {name}"):
        Solver(name, step_size=0.1)


@pytest.mark.parametrize("options", [{}, *({"step_size": v} for v in (0.0, -0.1, nan))])
@pytest.mark.parametrize("name", FIXED)
def test_a_fixed_method_needs_a_step_size(name, options):
    with pytest.raises(ValueError, match="^step_size is"):
        Solver(name, **options)
    with pytest.raises(ValueError, match=f"^first_step is 0.1, but {name}"):
        Solver(name, step_size=0.1, first_step=0.1)
