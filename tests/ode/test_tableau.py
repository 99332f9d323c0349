"""Tableaus: what the checks catch, and agreement with coefficients typed by others."""

from __future__ import annotations

from dataclasses import replace

import pytest
from support.ode.problems import ADAPTIVE, NAMES

from node_runner.ode import Tableau, methods
from node_runner.ode.tableau import check_order, density, rooted_trees, vertices

SLIP = 1e-9  # far above the check's 1e-12, far below what the eye sees in a printed coefficient
TABLEAUS = {name: methods.get(name).tableau for name in NAMES}
INTERPOLATED = [name for name, t in TABLEAUS.items() if t.interpolant is not None]
WITH_EXTRA = [name for name, t in TABLEAUS.items() if t.extra]


def nudged(row, i, by=SLIP):
    return tuple(value + by * (j == i) for j, value in enumerate(row))


def nudged_rows(rows, i, j, by=SLIP):
    return tuple(nudged(row, j, by) if n == i else row for n, row in enumerate(rows))


def two_nudged(row, i, by=SLIP):
    """Two slips that cancel in the sum of the row."""
    return nudged(nudged(row, 0, by), i, -by)


def order_of_embedded(tableau):
    return tableau.error_order or tableau.order - 1


def with_extra(tableau, stage, c=None, row=None):
    """The tableau with another node or row of one extra stage."""
    extra = list(tableau.extra)
    extra[stage] = (extra[stage][0] if c is None else c, extra[stage][1] if row is None else row)
    return {"extra": tuple(extra)}


def cells(rows):
    return [(i, j) for i, row in enumerate(rows or ()) for j in range(len(row))]


def stage_sums(t):
    return [(f"sum of row {t.end + 1 + n} of a", n, *stage) for n, stage in enumerate(t.extra)]


# The field and its message, for each slip of one coefficient, and of two that cancel.
SLIPS = {
    "c": lambda t: [({"c": nudged(t.c, i)}, f"sum of row {i} of a") for i in range(t.stages)],
    "a": lambda t: [({"a": nudged_rows(t.a, i, j)}, f"sum of row {i} of a") for i, j in cells(t.a)],
    "b": lambda t: [({"b": nudged(t.b, i)}, r"of b for the tree \(\)") for i in range(t.stages)],
    "b_error": lambda t: [
        ({"b_error": nudged(t.b_error, i)}, "sum of b_error") for i in range(len(t.b_error or ()))
    ],
    "interpolant": lambda t: [
        ({"interpolant": nudged_rows(t.interpolant, i, j)}, "interpolant at 1")
        for i, j in cells(t.interpolant)
    ],
    "extra node": lambda t: [
        (with_extra(t, n, c=c + SLIP), text) for text, n, c, _ in stage_sums(t)
    ],
    "extra row": lambda t: [
        (with_extra(t, n, row=nudged(row, j)), text)
        for text, n, _, row in stage_sums(t)
        for j in range(len(row))
    ],
    # Rows of weight 0 in b are exempt: a tableau of the same order may differ there.
    "two in a": lambda t: [
        ({"a": nudged_rows(nudged_rows(t.a, i, 0), i, j, -SLIP)}, "order condition of b for")
        for i, j in cells(t.a)
        if t.order >= 3 and j and t.b[i] and t.c[j] != t.c[0]
    ],
    "two in b": lambda t: [
        ({"b": two_nudged(t.b, i)}, "order condition of b for") for i in range(1, t.stages)
    ],
    "two in interpolant": lambda t: [
        (
            {"interpolant": nudged_rows(nudged_rows(t.interpolant, i, 0), i, 1, -SLIP)},
            "order condition of interpolant at 0.25",
        )
        for i in range(t.stages if t.interpolant else 0)
    ],
    # Weights of 0.1 and conditions of order 3 ask for larger slips.
    "two in extra row": lambda t: [
        (with_extra(t, n, row=two_nudged(row, j, 1e-7)), "order condition of interpolant")
        for n, (_, row) in enumerate(t.extra)
        for j in range(1, len(row))
        if [*t.c, 1.0, *(c for c, _ in t.extra)][j]
    ],
    "order": lambda t: [
        ({"order": t.order + 1, "error_order": order_of_embedded(t)}, "order condition of b for")
    ],
    "error_order": lambda t: (
        [({"error_order": order_of_embedded(t) + 1}, "order condition of b - b_error")] * t.adaptive
    ),
    "interpolant_order": lambda t: (
        [({"interpolant_order": t.interpolant_order + 1}, "order condition of interpolant")]
        * (t.interpolant is not None)
    ),
    "extra without interpolant": lambda t: (
        [({"interpolant": None}, "needs an interpolant of")] * bool(t.extra)
    ),
    "one extra too few": lambda t: (
        [({"extra": t.extra[:-1]}, "needs an interpolant of")] * bool(t.extra)
    ),
    "extra node outside": lambda t: [
        (with_extra(t, -1, c=1.01), "a node in") for _ in t.extra[-1:]
    ],
    "extra row too short": lambda t: [
        (with_extra(t, -1, row=row[:-1]), "a node in") for _, row in t.extra[-1:]
    ],
}


@pytest.mark.parametrize("slip", SLIPS)
@pytest.mark.parametrize("name", NAMES)
def test_every_slip_is_caught(name, slip):
    tableau = TABLEAUS[name]
    for field, message in SLIPS[slip](tableau):
        with pytest.raises(ValueError, match=message):
            replace(tableau, **field)


@pytest.mark.parametrize("slip", SLIPS)
def test_every_slip_is_tried_on_some_tableau(slip):
    assert any(SLIPS[slip](tableau) for tableau in TABLEAUS.values())


def test_rooted_trees():
    """Their number, their vertices, and gamma of the tall, the mixed and the bushy ones of order 4
    (Hairer, Norsett, Wanner, table II.2.1).
    """
    assert [len(rooted_trees(n)) for n in range(1, 9)] == [1, 1, 2, 4, 9, 20, 48, 115]
    assert all(vertices(tree) == n for n in range(1, 9) for tree in rooted_trees(n))
    assert sorted(density(tree) for tree in rooted_trees(4)) == [4, 8, 12, 24]


@pytest.mark.parametrize("name", NAMES)
def test_interpolant_joins_both_ends_of_the_step(name):
    """The weights at 0 vanish, those at 1 are b, and it has the slope of f at both: each is a few
    products of numbers of size 1, or of up to 400 at order 7.
    """
    tableau = TABLEAUS[name]
    n, rows = tableau.rates, tableau.interpolation_coefficients()
    ends = [*tableau.b, *[0.0] * (n - tableau.stages)]
    assert tableau.interpolation_weights(0.0) == pytest.approx([0.0] * n, abs=1e-15)
    assert tableau.interpolation_weights(1.0) == pytest.approx(ends, abs=1e-13)
    last = [sum(n * c for n, c in enumerate(row, 1)) for row in rows]
    for slopes, stage in (([row[0] for row in rows], 0), (last, tableau.end)):
        assert slopes == pytest.approx([float(i == stage) for i in range(n)], abs=1e-12)


@pytest.mark.parametrize("name", INTERPOLATED)
def test_interpolant_meets_the_order_conditions_everywhere(name):
    """Defects are polynomials in theta of its degree, which vanish at one place more."""
    tableau = TABLEAUS[name]
    places = len(tableau.interpolant[0]) + 1
    for theta in (i / (places - 1) for i in range(places)):
        weights, order = tableau.interpolation_weights(theta), tableau.interpolant_order
        check_order("interpolant", tableau.rows, weights, order, theta)


def test_shapes_that_do_not_fit_are_refused():
    for c, a in (((0.0,), ((), (1.0,))), ((0.0, 1.0), ((1.0,), ())), ((0.0, 1.0), ((),))):
        with pytest.raises(ValueError, match="a tableau of 2 weights needs 2 nodes"):
            Tableau(order=1, c=c, a=a, b=(0.5, 0.5))


@pytest.mark.parametrize("ours, theirs", [("dopri5", "RK45"), ("bosh3", "RK23")])
def test_coefficients_agree_with_scipy(ours, theirs):
    """scipy leaves the last stage of an FSAL method out of A, B, C and signs its E otherwise."""
    tableau, other = TABLEAUS[ours], getattr(pytest.importorskip("scipy.integrate"), theirs)
    assert ours in ADAPTIVE
    for row, theirs_row in zip(tableau.a[:-1], other.A, strict=True):
        assert row == pytest.approx(list(theirs_row[: len(row)]), abs=1e-15)
        assert not theirs_row[len(row) :].any()
    assert tableau.c[:-1] == pytest.approx(list(other.C), abs=1e-15)
    assert tableau.b == pytest.approx([*other.B, 0.0], abs=1e-15)
    assert tableau.b_error == pytest.approx(list(-other.E), abs=1e-15)
    for theta in (0.1, 0.5, 0.7, 1.0):
        expected = other.P @ [theta ** (n + 1) for n in range(other.P.shape[1])]
        assert tableau.interpolation_weights(theta) == pytest.approx(expected, abs=1e-13)
