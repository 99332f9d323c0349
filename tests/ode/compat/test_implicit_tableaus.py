"""Tableaus of implicit methods: what the checks catch."""

from __future__ import annotations

from dataclasses import replace

import pytest
from grid_cases import IMPLICIT

from node_runner.ode.compat.steppers.implicit import get
from node_runner.ode.steppers.implicit_tableau import ImplicitTableau

SLIP = 1e-9


def nudged(row, *changes):
    return tuple(value + dict(changes).get(i, 0.0) for i, value in enumerate(row))


@pytest.mark.parametrize("name", IMPLICIT)
def test_slips_in_the_coefficients_are_caught(name):
    tableau = get(name)
    for i in range(len(tableau.b)):
        with pytest.raises(ValueError, match=f"sum of row {i} of a"):
            replace(tableau, c=nudged(tableau.c, (i, SLIP)))
        with pytest.raises(ValueError, match=r"order condition of b for the tree \(\)"):
            replace(tableau, b=nudged(tableau.b, (i, SLIP)))


@pytest.mark.parametrize("name", IMPLICIT)
def test_order_is_neither_overstated_nor_understated(name):
    with pytest.raises(ValueError, match="order condition of b for the tree"):
        replace(get(name), order=get(name).order + 1)


def test_node_that_torchdiffeq_repeats_in_gl4_is_caught():
    c = get("gl4").c
    with pytest.raises(ValueError, match="sum of row 1 of a"):
        replace(get("gl4"), c=(c[0], c[0]))


@pytest.mark.parametrize(
    "c, a", [((0.0,), ((0.0, 0.0), (0.0, 0.0))), ((0.0, 1.0), ((0.0,), (1.0, 0.0)))]
)
def test_shapes_that_do_not_fit_are_refused(c, a):
    with pytest.raises(ValueError, match="a tableau of 2 weights needs 2 nodes and 2 rows of 2"):
        ImplicitTableau(order=1, c=c, a=a, b=(0.5, 0.5))


def test_stages_are_solved_together_only_where_they_depend_on_each_other():
    assert get("trbdf2").blocks == ((0, 1), (1, 2), (2, 3))
    assert get("sdirk2").blocks == ((0, 1), (1, 2))
    assert get("gl6").blocks == ((0, 3),)
    lower = ImplicitTableau(
        order=1, c=(1.0, 0.5, 1.0), a=((1.0, 0, 0), (0, 0.25, 0.25), (0, 0.5, 0.5)), b=(1.0, 0, 0)
    )
    assert lower.blocks == ((0, 1), (1, 3))
