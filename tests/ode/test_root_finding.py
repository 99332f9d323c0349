"""Roots in brackets: found to the tolerance, never dearer than bisection and one more."""

from __future__ import annotations

from math import ceil, exp, log2

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node_runner.ode.events.root_finding import Bracket

TOLERANCE = 1e-12


def closed(g, a, b):
    """The bracket, closed, and how often g was asked for."""
    bracket, calls = Bracket(a, b, g(a), g(b), TOLERANCE), 0
    while not bracket.closed:
        x = bracket.propose()
        assert bracket.a < x < bracket.b
        bracket.update(x, g(x))
        calls += 1
    return bracket, calls


SHAPES = {
    "line": lambda x: x,
    "cubic": lambda x: x**3,
    "steep": lambda x: exp(30 * x) - 1,
    "step": lambda x: 1.0 if x >= 0 else -1e-9,
    "flat": lambda x: x * abs(x) ** 8,
}


@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize("shape", SHAPES)
@given(root=st.floats(0.001, 0.999))
def test_the_root_is_found_at_the_cost_of_bisection_at_most(shape, sign, root):
    def g(x):
        return sign * SHAPES[shape](x - root)

    bracket, calls = closed(g, 0.0, 1.0)
    assert calls <= ceil(log2(1 / TOLERANCE)) + 2
    assert abs(bracket.root - root) <= TOLERANCE or g(bracket.root) == 0


def test_smooth_roots_are_found_in_a_few_evaluations():
    assert max(closed(lambda x, c=c: x * x - c, 0.0, 1.0)[1] for c in (0.1, 0.5, 0.9)) <= 10


def test_a_root_at_the_end_costs_one_look_before_it():
    bracket, calls = closed(lambda x: x - 1.0, 0.0, 1.0)
    assert bracket.root == 1.0 and calls == 1


@pytest.mark.parametrize("root", [0.001, 0.3, 0.5, 0.999])
def test_the_first_of_many_zeros_is_found(root):
    """Of a g that is one-sided."""
    bracket, calls = closed(lambda x: max(root - x, 0.0), 0.0, 1.0)
    assert 0 <= bracket.root - root <= TOLERANCE and calls <= ceil(log2(1 / TOLERANCE)) + 2
