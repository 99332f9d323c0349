"""Roots in brackets: found to the tolerance, never dearer than bisection and one more."""

from __future__ import annotations

from math import ceil, exp, log2

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node_runner.ode.bracket import Bracket, bracketed_root

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
    assert calls <= ceil(log2(1 / TOLERANCE)) + 1
    assert abs(bracket.root - root) <= TOLERANCE or g(bracket.root) == 0


def test_smooth_roots_are_found_in_a_few_evaluations():
    assert max(closed(lambda x, c=c: x * x - c, 0.0, 1.0)[1] for c in (0.1, 0.5, 0.9)) <= 10


def test_a_root_at_the_end_costs_nothing():
    bracket, calls = closed(lambda x: x - 1.0, 0.0, 1.0)
    assert bracket.root == 1.0 and calls == 0


FUNCTIONS = {
    "line": (lambda x: x - 0.3, 0.3),
    "flat": (lambda x: (x - 0.3) ** 9, 0.3),
    "steep": (lambda x: 1.0 if x > 0.3 else -1e-12, 0.3),
    "exponential": (lambda x: 2.0 ** (40 * (x - 0.3)) - 1, 0.3),
}


@pytest.mark.parametrize("ends", [(0.0, 1.0), (1.0, 0.0)])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_root_is_found_in_either_direction(name, ends):
    g, expected = FUNCTIONS[name]
    calls = []

    def counted(x):
        calls.append(x)
        return g(x)

    found = bracketed_root(counted, *ends, g(ends[0]), g(ends[1]), 1e-10)
    assert abs(found - expected) <= 1e-10
    assert len(calls) <= 35 and all(0 <= x <= 1 for x in calls)


def test_root_ends_where_floats_do():
    found = bracketed_root(lambda x: x - 0.3, 0.0, 1.0, -0.3, 0.7, 0.0)
    assert found == pytest.approx(0.3, abs=2e-16)
