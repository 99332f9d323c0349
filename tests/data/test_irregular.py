"""From rows of measurements to series: averaging, scaling, packing."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from node_runner.data.irregular import (
    SparseSeries,
    average_duplicates,
    by_range,
    packed,
    released_scaling,
    scaled,
)

NAMES = ("a", "b", "c")


def rows(count, seed=0):
    """Times with many duplicates, in no order, features and values."""
    draw = np.random.default_rng(seed)
    times = draw.integers(0, 12, count) * 0.1 + draw.uniform(-0.04, 0.04, count)
    return np.maximum(times, 0), draw.integers(0, 3, count), draw.normal(size=count)


def by_loop(times, features, values, step):
    """The mean of each (tick, feature), row by row."""
    found = {}
    for time, feature, value in zip(times, features, values, strict=True):
        found.setdefault((round(time / step), int(feature)), []).append(value)
    return {key: sum(some) / len(some) for key, some in found.items()}


def series(*lengths, seed=0):
    """Random series, half of whose features are observed, all of them at first, one at least."""
    draw = np.random.default_rng(seed)
    found = []
    for n in lengths:
        mask = draw.random((n, 3)) < 0.5
        mask[np.arange(n), draw.integers(0, 3, n)] = mask[0] = True
        values = np.where(mask, draw.normal(size=(n, 3)) * [1, 10, 100] + [0, 5, -50], 0.0)
        found.append(SparseSeries(draw.random(n).cumsum(), values, mask))
    return found


def changed(one, by):
    return one._replace(values=np.where(one.mask, one.values * by, 0.0))


@pytest.mark.parametrize("count", [1, 7, 200])
def test_what_a_feature_has_more_than_once_at_a_time_is_averaged(count):
    times, features, values = rows(count)
    found, expected = (
        average_duplicates(times, features, values, 3, 0.1),
        by_loop(*rows(count), 0.1),
    )
    assert (np.diff(found.times) > 0).all()
    ticks = [round(time / 0.1) for time in found.times]
    assert sorted(set(ticks)) == ticks == sorted({tick for tick, _ in expected})
    assert found.mask.dtype == bool and found.mask.sum() == len(expected)
    for i, tick in enumerate(ticks):
        assert found.times[i] == tick * 0.1
        for feature in range(3):
            assert found.mask[i, feature] == ((tick, feature) in expected)
            assert found.values[i, feature] == pytest.approx(expected.get((tick, feature), 0.0))
    assert count < 200 or found.mask.sum() < count  # there were duplicates


def test_the_order_of_rows_does_not_matter():
    times, features, values = rows(200)
    order = np.random.default_rng(1).permutation(200)
    one = average_duplicates(times, features, values, 3, 0.1)
    two = average_duplicates(times[order], features[order], values[order], 3, 0.1)
    np.testing.assert_array_equal(one.times, two.times)
    np.testing.assert_array_equal(one.mask, two.mask)
    np.testing.assert_allclose(one.values, two.values, rtol=0, atol=1e-12)


def test_times_are_rounded_to_the_nearest_step():
    times = np.array([0.0, 0.24, 0.26, 0.74, 0.76, 1.0])
    found = average_duplicates(times, np.zeros(6, int), np.arange(6.0), 2, 0.5)
    assert found.times.tolist() == [0, 0.5, 1]
    assert found.values.tolist() == [[0.5, 0], [2.5, 0], [4.5, 0]]
    assert found.mask.tolist() == [[True, False]] * 3


def test_training_values_go_from_0_to_1():
    some = scaled(raw := series(5, 1, 8, 6), by_range(raw, 3, NAMES, "it"))
    for feature in range(3):
        seen = np.concatenate([s.values[:, feature][s.mask[:, feature]] for s in some[:3]])
        assert seen.min() == 0 and seen.max() == 1
    assert not any(s.values[~s.mask].any() for s in some)


def test_scaling_keeps_the_proportions_of_a_feature():
    before = series(9, 9)
    after = scaled(before, by_range(before, 2, NAMES, "it"))
    for feature in range(3):
        x, y = (np.concatenate([s.values[:, feature] for s in some]) for some in (before, after))
        seen = np.concatenate([s.mask[:, feature] for s in before])
        low, high = x[seen].min(), x[seen].max()
        np.testing.assert_allclose(y[seen], (x[seen] - low) / (high - low), rtol=1e-12)


def test_only_training_series_have_a_say_in_the_range():
    raw = series(5, 4, 8, 6)
    before = by_range(raw, 2, NAMES, "it")
    later = by_range([*raw[:2], changed(raw[2], 7), changed(raw[3], -9)], 2, NAMES, "it")
    np.testing.assert_array_equal(before.shift, later.shift)
    np.testing.assert_array_equal(before.scale, later.scale)
    first = by_range([changed(raw[0], 7), *raw[1:]], 2, NAMES, "it")
    assert not np.allclose(first.shift, before.shift)


def test_a_constant_feature_is_moved_to_0_and_not_stretched():
    some = series(4, 4)
    for i, s in enumerate(some):
        s.values[:, 1] = np.where(s.mask[:, 1], 5.0 + i, 0.0)
    one, two = scaled(some, by_range(some, 1, NAMES, "it"))
    assert not one.values[:, 1].any()
    np.testing.assert_array_equal(two.values[:, 1], two.mask[:, 1].astype(float))


def test_the_released_scaling_is_by_the_maximum_of_all():
    some = series(5, 1, 8, 6)
    values, mask = (np.concatenate([s[i] for s in some]) for i in (1, 2))
    scaling = released_scaling(some, 2, NAMES, "it")
    found = np.concatenate([s.values for s in scaled(some, scaling)])
    for feature in range(3):
        seen = values[mask[:, feature], feature]
        expected = (seen - seen.min()) / seen.max()
        np.testing.assert_allclose(found[mask[:, feature], feature], expected, rtol=1e-12)
    assert not found[~mask].any()


def test_the_released_scaling_takes_a_maximum_of_0_for_1():
    some = series(4, 4)
    for s in some:
        s.values[:, 2] = np.where(s.mask[:, 2], -np.arange(4.0), 0.0)
    found = scaled(some, released_scaling(some, 1, NAMES, "it"))[0]
    seen = found.mask[:, 2]
    np.testing.assert_array_equal(found.values[seen, 2], (3 - np.arange(4.0))[seen])


@pytest.mark.parametrize(("scale", "count"), [(by_range, 2), (released_scaling, 3)])
def test_a_feature_that_is_never_observed_is_named(scale, count):
    some = series(5, 4, 6)
    for s in some[:count]:
        s.mask[:, 1] = False
    message = f"^it: b is never observed in the {count} series that it would be scaled by$"
    with pytest.raises(ValueError, match=message):
        scale(some, 2, NAMES, "it")


def test_a_packed_batch_is_the_series_again():
    some = series(5, 1, 8, 6)
    data, chosen = packed(some), [3, 1, 0, 2]
    batch = data.batch(torch.tensor(chosen))
    assert len(data) == 4
    assert batch.times.dtype == batch.values.dtype == torch.float32
    assert batch.mask.dtype == torch.bool and batch.times.shape == (4, 8)
    for row, i in enumerate(chosen):
        n = len(some[i].times)
        assert batch.lengths[row] == n
        for one, two in zip((part[row, :n] for part in batch), some[i], strict=True):
            torch.testing.assert_close(one.double(), torch.from_numpy(two).double())
