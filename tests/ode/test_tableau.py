"""Tableaus: what the checks catch, and agreement with coefficients typed by others."""

from __future__ import annotations

from dataclasses import replace

import pytest
from support.ode.problems import NAMES

from node_runner.ode import methods
from node_runner.ode.tableau import Tableau, check_order, density, rooted_trees, vertices

SLIP = 1e-9  # far above the check's 1e-12, far below what the eye sees in a printed coefficient


def nudged(row, i, by=SLIP):
    return tuple(value + by * (j == i) for j, value in enumerate(row))


def nudged_rows(rows, i, j, by=SLIP):
    return tuple(nudged(row, j, by) if n == i else row for n, row in enumerate(rows))


def order_of_embedded(tableau):
    return tableau.error_order or tableau.order - 1


WITH_ESTIMATE = [n for n in NAMES if methods.get(n).adaptive]
WITH_INTERPOLANT = [n for n in NAMES if methods.get(n).tableau.interpolant is not None]
WITH_EXTRA = [n for n in NAMES if methods.get(n).tableau.extra]


def test_number_of_rooted_trees():
    assert [len(rooted_trees(n)) for n in range(1, 9)] == [1, 1, 2, 4, 9, 20, 48, 115]


def test_trees_of_n_have_n_vertices():
    assert all(vertices(tree) == n for n in range(1, 9) for tree in rooted_trees(n))


def test_density_of_the_trees_of_order_four():
    """gamma of the tall, the mixed and the bushy trees (Hairer, Norsett, Wanner, table II.2.1)."""
    assert sorted(density(tree) for tree in rooted_trees(4)) == [4, 8, 12, 24]


@pytest.mark.parametrize("name", NAMES)
def test_every_method_constructs(name):
    assert isinstance(methods.get(name).tableau, Tableau)


@pytest.mark.parametrize("name", NAMES)
def test_slip_in_c_is_caught(name):
    tableau = methods.get(name).tableau
    for i in range(tableau.stages):
        with pytest.raises(ValueError, match=f"sum of row {i} of a"):
            replace(tableau, c=nudged(tableau.c, i))


@pytest.mark.parametrize("name", NAMES)
def test_slip_in_a_is_caught(name):
    tableau = methods.get(name).tableau
    for i, row in enumerate(tableau.a):
        for j in range(len(row)):
            with pytest.raises(ValueError, match=f"sum of row {i} of a"):
                replace(tableau, a=nudged_rows(tableau.a, i, j))


@pytest.mark.parametrize("name", NAMES)
def test_slip_in_b_is_caught(name):
    tableau = methods.get(name).tableau
    for i in range(tableau.stages):
        with pytest.raises(ValueError, match=r"order condition of b for the tree \(\)"):
            replace(tableau, b=nudged(tableau.b, i))


@pytest.mark.parametrize("name", WITH_ESTIMATE)
def test_slip_in_b_error_is_caught(name):
    tableau = methods.get(name).tableau
    for i in range(tableau.stages):
        with pytest.raises(ValueError, match="sum of b_error"):
            replace(tableau, b_error=nudged(tableau.b_error, i))


@pytest.mark.parametrize("name", WITH_INTERPOLANT)
def test_slip_in_the_interpolant_is_caught(name):
    tableau = methods.get(name).tableau
    for i, row in enumerate(tableau.interpolant):
        for j in range(len(row)):
            with pytest.raises(ValueError, match="interpolant at 1"):
                replace(tableau, interpolant=nudged_rows(tableau.interpolant, i, j))


@pytest.mark.parametrize("name", [n for n in NAMES if methods.get(n).order >= 3])
def test_two_slips_in_a_row_of_a_that_cancel_are_caught_by_a_tree(name):
    """Rows of weight 0 in b are exempt: a tableau of the same order may differ there."""
    tableau = methods.get(name).tableau
    tried = 0
    for i, row in enumerate(tableau.a):
        for j in range(1, len(row)):
            if tableau.b[i] and tableau.c[j] != tableau.c[0]:
                moved = nudged_rows(nudged_rows(tableau.a, i, 0), i, j, -SLIP)
                with pytest.raises(ValueError, match="order condition of b for the tree"):
                    replace(tableau, a=moved)
                tried += 1
    assert tried


@pytest.mark.parametrize("name", [n for n in NAMES if methods.get(n).order >= 2])
def test_two_slips_in_b_that_cancel_are_caught_by_a_tree(name):
    tableau = methods.get(name).tableau
    for i in range(1, tableau.stages):
        with pytest.raises(ValueError, match="order condition of b for the tree"):
            replace(tableau, b=nudged(nudged(tableau.b, 0), i, -SLIP))


@pytest.mark.parametrize("name", WITH_INTERPOLANT)
def test_two_slips_in_the_interpolant_that_cancel_at_the_end_are_caught(name):
    tableau = methods.get(name).tableau
    for i in range(tableau.stages):
        bent = nudged_rows(nudged_rows(tableau.interpolant, i, 0), i, 1, -SLIP)
        with pytest.raises(ValueError, match="order condition of interpolant at 0.25"):
            replace(tableau, interpolant=bent)


@pytest.mark.parametrize("name", NAMES)
def test_order_is_not_understated(name):
    tableau = methods.get(name).tableau
    with pytest.raises(ValueError, match="order condition of b for the tree"):
        replace(tableau, order=tableau.order + 1, error_order=order_of_embedded(tableau))


@pytest.mark.parametrize("name", WITH_ESTIMATE)
def test_order_of_the_embedded_solution_is_not_understated(name):
    tableau = methods.get(name).tableau
    with pytest.raises(ValueError, match="order condition of b - b_error"):
        replace(tableau, error_order=order_of_embedded(tableau) + 1)


@pytest.mark.parametrize("name", WITH_INTERPOLANT)
def test_order_of_the_interpolant_is_not_understated(name):
    tableau = methods.get(name).tableau
    with pytest.raises(ValueError, match="order condition of interpolant"):
        replace(tableau, interpolant_order=tableau.interpolant_order + 1)


@pytest.mark.parametrize("name", NAMES)
def test_interpolant_joins_both_ends_of_the_step(name):
    """The weights at 0 vanish; those at 1 are b. Each is a few products of numbers of size 1, or of
    up to 400 at order 7.
    """
    tableau = methods.get(name).tableau
    ends = [*tableau.b, *[0.0] * (tableau.rates - tableau.stages)]
    assert tableau.interpolation_weights(0.0) == pytest.approx([0.0] * tableau.rates, abs=1e-15)
    assert tableau.interpolation_weights(1.0) == pytest.approx(ends, abs=1e-13)


@pytest.mark.parametrize("name", NAMES)
def test_interpolant_has_the_slope_of_f_at_both_ends(name):
    """To the rounding of printed digits: the solution is continuously differentiable."""
    tableau = methods.get(name).tableau
    rows = tableau.interpolation_coefficients()
    first = [row[0] for row in rows]
    last = [sum(n * c for n, c in enumerate(row, 1)) for row in rows]
    assert first == pytest.approx([float(i == 0) for i in range(tableau.rates)], abs=1e-12)
    assert last == pytest.approx([float(i == tableau.end) for i in range(tableau.rates)], abs=1e-12)


@pytest.mark.parametrize("name", WITH_INTERPOLANT)
def test_interpolant_meets_the_order_conditions_everywhere(name):
    """Defects are polynomials in theta of its degree, which vanish at one place more."""
    tableau = methods.get(name).tableau
    places = len(tableau.interpolant[0]) + 1
    for theta in (i / (places - 1) for i in range(places)):
        weights, order = tableau.interpolation_weights(theta), tableau.interpolant_order
        check_order("interpolant", tableau.rows, weights, order, theta)


def with_extra(tableau, stage, c=None, row=None):
    """The tableau with another node or row of one extra stage."""
    extra = list(tableau.extra)
    old = extra[stage]
    extra[stage] = (old[0] if c is None else c, old[1] if row is None else row)
    return replace(tableau, extra=tuple(extra))


@pytest.mark.parametrize("name", WITH_EXTRA)
def test_slip_in_an_extra_stage_is_caught(name):
    tableau = methods.get(name).tableau
    for stage, (c, row) in enumerate(tableau.extra):
        what = f"sum of row {tableau.end + 1 + stage} of a"
        with pytest.raises(ValueError, match=what):
            with_extra(tableau, stage, c=c + SLIP)
        for j in range(len(row)):
            with pytest.raises(ValueError, match=what):
                with_extra(tableau, stage, row=nudged(row, j))


@pytest.mark.parametrize("name", WITH_EXTRA)
def test_two_slips_in_an_extra_stage_that_cancel_are_caught_by_a_tree(name):
    tableau = methods.get(name).tableau
    nodes = [*tableau.c, 1.0, *(c for c, _ in tableau.extra)]
    for stage, (_, row) in enumerate(tableau.extra):
        for j in (j for j in range(1, len(row)) if nodes[j]):
            bent = nudged(nudged(row, 0, 1e-7), j, -1e-7)  # weights of 0.1, conditions of order 3
            with pytest.raises(ValueError, match="order condition of interpolant"):
                with_extra(tableau, stage, row=bent)


@pytest.mark.parametrize("name", WITH_EXTRA)
def test_extra_stages_that_do_not_fit_are_refused(name):
    tableau = methods.get(name).tableau
    last = len(tableau.extra) - 1
    with pytest.raises(ValueError, match="needs an interpolant of"):
        replace(tableau, interpolant=None)
    with pytest.raises(ValueError, match="needs an interpolant of"):
        replace(tableau, extra=tableau.extra[:-1])
    with pytest.raises(ValueError, match="weights and a node in"):
        with_extra(tableau, last, c=1.01)
    with pytest.raises(ValueError, match="weights and a node in"):
        with_extra(tableau, last, row=tableau.extra[last][1][:-1])


def test_shapes_that_do_not_fit_are_refused():
    for c, a in (((0.0,), ((), (1.0,))), ((0.0, 1.0), ((1.0,), ())), ((0.0, 1.0), ((),))):
        with pytest.raises(ValueError, match="a tableau of 2 weights needs 2 nodes"):
            Tableau(order=1, c=c, a=a, b=(0.5, 0.5))


def scipy_class(name):
    return getattr(pytest.importorskip("scipy.integrate"), name)


@pytest.mark.parametrize("ours, theirs", [("dopri5", "RK45"), ("bosh3", "RK23")])
def test_coefficients_agree_with_scipy(ours, theirs):
    """scipy leaves the last stage of an FSAL method out of A, B, C and signs its E otherwise."""
    tableau, other = methods.get(ours).tableau, scipy_class(theirs)
    for row, theirs_row in zip(tableau.a[:-1], other.A, strict=True):
        assert row == pytest.approx(list(theirs_row[: len(row)]), abs=1e-15)
        assert not theirs_row[len(row) :].any()
    assert tableau.c[:-1] == pytest.approx(list(other.C), abs=1e-15)
    assert tableau.b == pytest.approx([*other.B, 0.0], abs=1e-15)
    assert tableau.b_error == pytest.approx(list(-other.E), abs=1e-15)


@pytest.mark.parametrize("ours, theirs", [("dopri5", "RK45"), ("bosh3", "RK23")])
@pytest.mark.parametrize("theta", [0.1, 0.5, 0.7, 1.0])
def test_interpolants_agree_with_scipy(ours, theirs, theta):
    other = scipy_class(theirs)
    expected = other.P @ [theta ** (n + 1) for n in range(other.P.shape[1])]
    tableau = methods.get(ours).tableau
    assert tableau.interpolation_weights(theta) == pytest.approx(expected, abs=1e-13)
