"""The norm that measures a step's error."""

from __future__ import annotations

from math import inf, isnan, nan

import pytest
import torch

from node_runner.ode.state import Layout
from node_runner.ode.tolerance import Norm, worst


def rms(x):
    return x.square().mean().sqrt().item()


def test_allowed_error_is_relative_to_the_larger_end():
    layout = Layout(torch.zeros(3, dtype=torch.float64))
    y0, y1 = torch.tensor([[1.0, -4.0, 0.0], [-3.0, 2.0, 0.0]]).double()
    allowed = Norm(layout, 0.1, 0.01, [1.0]).allowed(y0, y1)
    torch.testing.assert_close(allowed, torch.tensor([0.31, 0.41, 0.01]).double())


def test_allowed_error_takes_each_entrys_tolerances(draw):
    layout = Layout((draw(2), draw(3, 1)))
    y = torch.ones(5, dtype=torch.float64)
    allowed = Norm(layout, [0.1, 0.2], [1.0, 3.0], [1.0, 1.0]).allowed(y, y)
    torch.testing.assert_close(allowed, torch.tensor([1.1, 1.1, 3.2, 3.2, 3.2]).double())


def test_ratio_of_one_entry_is_its_rms(draw):
    """Over all elements: the batch is one system."""
    error = draw(4, 5)
    assert Norm(Layout(error), 1, 1, [1.0]).ratios(error.view(-1)) == pytest.approx([rms(error)])


def test_ratio_of_several_entries_is_the_largest_weighted_rms(draw):
    a, b, c = draw(3), 3 * draw(2, 2), 10 * draw(5)
    layout, error = Layout((a, b, c)), torch.cat([a, b.view(-1), c])
    for weights in ([1.0, 1.0, 1.0], [1.0, 1.0, 0.0], [100.0, 1.0, 0.5]):
        expected = max(w * rms(x) for w, x in zip(weights, (a, b, c), strict=True))
        assert Norm(layout, 1, 1, weights).ratios(error) == pytest.approx([expected])


def test_several_vectors_are_measured_apart(draw):
    a, b = draw(5), draw(5)
    norm = Norm(Layout((a[:2], a[2:])), 1, 1, [1.0, 1.0])
    assert norm.ratios(a, b) == pytest.approx([*norm.ratios(a), *norm.ratios(b)])


@pytest.mark.parametrize("bad", [nan, inf])
@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_what_is_not_finite_shows_whatever_its_weight(bad, weight):
    layout = Layout((torch.zeros(2).double(), torch.zeros(2).double()))
    ratio = Norm(layout, 1, 1, [1.0, weight]).ratios(torch.tensor([9.0, 9.0, 0.0, bad]).double())[0]
    assert not ratio < inf


def test_further_ratios_join_where_they_are_asked_for(draw):
    error = draw(3)
    norm = Norm(Layout(error), 1, 1, [1.0], extra=lambda: torch.tensor([7.0, 9.0]).double())
    assert norm.ratios(error, extra=True) == [9.0]
    assert norm.ratios(error) == pytest.approx([rms(error)])


def test_worst_keeps_a_nan_wherever_it_stands():
    """Python's max keeps it in the first place only."""
    assert all(isnan(worst(values)) for values in ([nan, 1.0], [1.0, nan], [1.0, nan, 2.0]))
    assert worst([1.0, 3.0, 2.0]) == 3.0
