"""Irregular series: padding, reversal, cutting, choosing."""

from __future__ import annotations

import pytest
import torch
from series_cases import alone, random_series

from node_runner.data.sampler import BatchSampler
from node_runner.data.series import Ragged, Series, draw_subset, full, take, window


def assert_well_formed(series):
    """What Series promises."""
    present, lengths = series.present, series.lengths
    steps = torch.arange(present.shape[1])
    assert torch.equal(present, steps < lengths[:, None])  # padding is behind the end
    assert (series.times[:, 0] >= 0).all()
    gaps = series.times.diff(dim=1)
    assert (gaps[present[:, 1:]] > 0).all()
    assert not gaps[~present[:, 1:]].any()
    assert not series.values[~series.mask].any()


def assert_equal(one, two):
    for a, b in zip(one, two, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-14)


def test_gaps_add_up_to_the_times():
    series = random_series()
    assert_well_formed(series)
    torch.testing.assert_close(series.gaps.cumsum(1), series.times, rtol=0, atol=1e-14)


def test_backward_twice_is_the_series_from_its_first_time_on():
    series = random_series()
    assert series.times[:, 0].min() > 0
    assert_equal(
        series.backward().backward(), series._replace(times=series.times - series.times[:, :1])
    )


def test_backward_mirrors_each_series_and_its_gaps_and_leaves_padding_behind_the_end():
    series = random_series()
    back = series.backward()
    assert_well_formed(back)
    assert torch.equal(back.lengths, series.lengths)
    for i in range(len(series.times)):
        one, two = alone(series, i), alone(back, i)
        assert two.times[0, 0] == 0
        assert torch.equal(two.values, one.values.flip(1))
        assert torch.equal(two.mask, one.mask.flip(1))
        torch.testing.assert_close(two.gaps[:, 1:], one.gaps[:, 1:].flip(1), rtol=0, atol=1e-14)


def ragged(lengths):
    """Series one after another, and each of them by itself."""
    whole = random_series(lengths)
    each = [alone(whole, i) for i in range(len(lengths))]
    flat = (torch.cat([part[0] for part in parts]) for parts in zip(*each, strict=True))
    starts = torch.tensor([0, *lengths]).cumsum(0)
    return Ragged(*flat, starts), each


def test_a_ragged_batch_holds_each_chosen_series():
    data, each = ragged((3, 1, 6, 4))
    assert len(data) == 4
    for chosen in ([0, 1, 2, 3], [3, 1], [1], [2, 2, 0]):
        batch = data.to(torch.device("cpu")).batch(torch.tensor(chosen))
        assert_well_formed(batch)
        assert batch.times.shape[1] == max(each[i].times.shape[1] for i in chosen)
        for row, i in enumerate(chosen):
            assert_equal(alone(batch, row), each[i])


def test_a_window_keeps_exactly_what_lies_in_its_range():
    series = random_series((6, 4, 9, 5))
    start, end = series.times[0, 1].item(), series.times[0, 4].item()  # the start in, the end out
    found = window(series, start, end)
    assert_well_formed(found)
    assert found.lengths[0] == 3
    for i in range(4):
        one, two = alone(series, i), alone(found, i)
        inside = (one.times[0] >= start) & (one.times[0] < end)
        assert 0 < inside.sum() < len(inside)
        assert_equal(two, [part[:, inside] for part in one])


def test_a_window_of_everything_changes_nothing():
    series = random_series()
    assert_equal(window(series, 0, float("inf")), series)


def test_an_empty_window_is_refused_in_one_line():
    series = random_series((6, 1, 6))
    start = series.times[1, 0].item() + 1e-3
    with pytest.raises(ValueError, match=r"^series 1 has no observation from [\d.]+ to 9$"):
        window(series, start, 9.0)


def test_full_series_are_observed_everywhere():
    times, values = torch.tensor([0.0, 0.5, 2.0]), torch.randn(4, 3, 2)
    for given in (times, times.expand(4, 3)):
        series = full(given, values)
        assert_well_formed(series)
        assert series.mask.all() and torch.equal(series.values, values)
        assert torch.equal(series.times, times.expand(4, 3))


def test_a_subset_is_those_observations_of_each_series():
    series, indices = random_series((4, 4, 4)), torch.tensor([[0, 2], [1, 3], [2, 3]])
    found = take(series, indices)
    for i, row in enumerate(indices):
        assert_equal(Series(*(part[i] for part in found)), [part[i, row] for part in series])


def test_a_drawn_subset_is_in_order_without_repeats_and_every_one_is_as_likely():
    """Of 5 indices, 3: 10 subsets, each drawn 2,000 times of 20,000 give or take 4 sd."""
    drawn = draw_subset(5, 3, 20_000, torch.Generator().manual_seed(2))
    assert drawn.shape == (20_000, 3)
    assert (drawn.diff(dim=1) > 0).all() and drawn.min() == 0 and drawn.max() == 4
    kinds, counts = drawn.unique(dim=0, return_counts=True)
    assert len(kinds) == 10
    assert (counts - 2000).abs().max() < 4 * (20_000 * 0.1 * 0.9) ** 0.5
    assert torch.equal(draw_subset(7, 7, 2, torch.Generator()), torch.arange(7).expand(2, 7))


def test_every_series_is_dealt_once_an_epoch_and_once_an_evaluation():
    sampler = BatchSampler(0, torch.device("cpu"), {"train": 12, "test": 7}, 4, 3)
    epoch = torch.cat([sampler.train_indices(step) for step in range(3, 6)])
    assert torch.equal(epoch.sort().values, torch.arange(12))
    assert [part.tolist() for part in sampler.eval_indices("test")] == [[0, 1, 2], [3, 4, 5], [6]]
    with pytest.raises(ValueError, match=r"evaluation_size is 0, must be at least 1"):
        BatchSampler(0, torch.device("cpu"), {"train": 12}, 4, 0)
