"""PhysioNet 2012: what lies in the archives comes out at its time and feature, with its label."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from physionet_cases import ALL, CPU, built, placed, record, records, splits
from real_data import ROOT, needs_physionet

from node_runner.data.physionet import PhysioNet
from node_runner.data.physionet_files import load
from node_runner.data.scaling import Scaling

FEATURE = {name: i for i, name in enumerate(ALL)}
NUMBERS = range(132_500, 132_520)
AS_IT_IS = Scaling(np.zeros(41), np.ones(41))


def unscaled(root, *rows, monkeypatch, **options):
    """The first record of a set, on the scale of the file, when its rows are these."""
    for scale in ("by_range", "released_scaling"):
        monkeypatch.setattr(f"node_runner.data.physionet.{scale}", lambda *_: AS_IT_IS)
    texts = records(NUMBERS) | {1: record(1, *rows)}
    data = built(placed(root, texts, dict.fromkeys(NUMBERS, 0) | {1: 1}), **options)
    (one,) = (one for one in flat(data) if one.label == 1)
    return one


class One:
    """A series by itself with its label."""

    def __init__(self, batch, i):
        n = int(batch.observed.lengths[i])
        self.times, self.values, self.mask = (part[i, :n].numpy() for part in batch.observed)
        self.label = int(batch.labels[i])

    def seen(self):
        """(time, feature, value) of each observation."""
        return [(self.times[t] * 48, ALL[d], self.values[t, d]) for t, d in np.argwhere(self.mask)]


def flat(data):
    for batch in splits(data).values():
        yield from (One(batch, i) for i in range(len(batch.labels)))


def expect(seen, *expected):
    assert len(seen) == len(expected)
    for one, (time, name, value) in zip(seen, expected, strict=True):
        assert one[1] == name
        assert one[0] == pytest.approx(time, abs=0.009)  # half the quantisation, and rounding
        assert one[2] == pytest.approx(value, rel=1e-6)


def test_every_value_lands_at_its_time_and_feature(tmp_path, monkeypatch):
    rows = [f"{i:02}:{i + 7:02},{name},{100 + i}.5" for i, name in enumerate(ALL)]
    one = unscaled(tmp_path, *rows, monkeypatch=monkeypatch)
    expect(one.seen(), *((i + (i + 7) / 60, name, 100.5 + i) for i, name in enumerate(ALL)))
    assert not one.values[~one.mask].any()


def test_times_are_in_units_of_48_hours(tmp_path, monkeypatch):
    rows = ("00:00,Age,60", "12:00,HR,80", "24:00,HR,81", "48:00,HR,82")
    one = unscaled(tmp_path, *rows, monkeypatch=monkeypatch)
    assert one.times.tolist() == [0, 0.25, 0.5, 1]


def test_values_of_one_feature_at_one_time_are_averaged(tmp_path, monkeypatch):
    rows = ("00:24,Urine,900", "00:24,HR,70", "00:24,Urine,420", "00:25,Urine,1")
    seen = unscaled(tmp_path, *rows, monkeypatch=monkeypatch).seen()
    expect(seen, (0.4, "HR", 70), (0.4, "Urine", 660), (25 / 60, "Urine", 1))


def test_a_coarser_quantisation_averages_more(tmp_path, monkeypatch):
    rows = ("00:10,HR,70", "00:20,HR,80", "00:40,HR,90")
    one = unscaled(tmp_path, *rows, monkeypatch=monkeypatch, quantisation=1.0)
    assert one.times.tolist() == pytest.approx([0, 1 / 48])
    assert one.values[:, FEATURE["HR"]].tolist() == [75, 90]


@pytest.mark.parametrize("name", ["Height", "Weight", "Gender"])
def test_a_fixed_value_of_minus_1_is_observed_only_as_released(name, tmp_path, monkeypatch):
    rows = ("00:00,Age,60", f"00:00,{name},-1", "01:00,K,-1")
    known = [(0, "Age", 60), (0, name, -1), (1, "K", -1)]
    seen = unscaled(tmp_path / "a", *rows, monkeypatch=monkeypatch).seen()
    expect(seen, known[0], known[2])
    seen = unscaled(tmp_path / "b", *rows, monkeypatch=monkeypatch, released=True).seen()
    expect(seen, *known)


def test_values_are_scaled_by_the_training_records_or_as_released(tmp_path):
    for released in (False, True):
        data = built(placed(tmp_path, records(NUMBERS)), released=released)
        found = {name: batch.observed.values for name, batch in splits(data).items()}
        assert found["train"].amin() == 0
        whole = torch.cat([part.flatten(0, 1) for part in found.values()])
        if released:
            assert (whole.amin(0) == 0).all() and (whole.amax(0) != 1).all()
        else:
            assert (found["train"].amin((0, 1)) == 0).all()
            assert (found["train"].amax((0, 1)) == 1).all()
            assert whole.amin() < 0 and whole.amax() > 1


def by_number(data):
    """Each record's label and split by its unscaled age."""
    found = {}
    for split, batch in splits(data).items():
        for i in range(len(batch.labels)):
            one = One(batch, i)
            found[round(float(one.values[0, FEATURE["Age"]]))] = (split, one.label)
    return found


@pytest.fixture
def ages(monkeypatch):
    """Files of records that tell their number as their age, left unscaled."""
    monkeypatch.setattr("node_runner.data.physionet.by_range", lambda *_: AS_IT_IS)

    def texts(numbers=range(1, 21)):
        return {n: record(n, f"00:00,Age,{n}", "30:00,K,3") for n in numbers}

    return texts


def test_labels_go_with_their_records_whatever_the_order_of_the_outcomes(ages, tmp_path):
    deaths = {n: int(n % 3 == 0) for n in reversed(range(0, 30))}
    data = built(placed(tmp_path, ages(), deaths))
    assert {n: label for n, (_, label) in by_number(data).items()} == {
        n: n % 3 == 0 for n in range(1, 21)
    }


def test_the_order_of_files_in_the_archive_does_not_matter(ages, tmp_path):
    texts = ages()
    one = built(placed(tmp_path / "a", texts))
    two = built(placed(tmp_path / "b", dict(reversed(texts.items()))))
    assert by_number(one) == by_number(two)
    for parts in zip(splits(one).values(), splits(two).values(), strict=True):
        for a, b in zip(*(batch.observed for batch in parts), strict=True):
            assert torch.equal(a, b)


def test_the_split_is_the_same_for_every_seed_and_the_order_of_training_is_not(ages, tmp_path):
    root = placed(tmp_path, ages())
    one, two = built(root, seed=0), built(root, seed=1)
    assert by_number(one) == by_number(two)
    assert one.sizes == {"train": 14, "validation": 2, "test": 4}
    order = np.random.RandomState(42).permutation(20) + 1
    expected = ["test"] * 4 + ["validation"] * 2 + ["train"] * 14
    assert {n: split for n, (split, _) in by_number(one).items()} == dict(
        zip(order.tolist(), expected, strict=True)
    )
    assert not torch.equal(one.train_batch(0).observed.values, two.train_batch(0).observed.values)


def test_both_sets_are_one_and_either_name_of_an_archive_will_do(ages, tmp_path):
    placed(tmp_path, ages(range(1, 11)), dict.fromkeys(range(1, 11), 0))
    placed(tmp_path, ages(range(11, 21)), dict.fromkeys(range(11, 21), 1), letter="b")
    folder = tmp_path / "physionet" / "PhysioNet" / "raw"
    (folder / "set-b.tar.gz").rename(folder / "set-b.tar.gz?download")
    both, a = built(tmp_path, sets="ab"), built(tmp_path)
    assert {n: label for n, (_, label) in by_number(both).items()} == {
        n: n > 10 for n in range(1, 21)
    }
    assert sorted(by_number(a)) == list(range(1, 11))
    assert (both.part, a.part) == (
        "sets ab, 20 records, by training range",
        "set a, 10 records, by training range",
    )


def test_interpolation_asks_for_what_is_observed(tmp_path):
    for batch in splits(built(placed(tmp_path, records(NUMBERS)))).values():
        assert batch.beyond is None
        for one, two in zip(batch.observed, batch.target, strict=True):
            assert torch.equal(one, two)


def test_extrapolation_shows_the_first_24_hours_and_asks_for_the_rest(tmp_path):
    times = ("00:00", "03:00", "23:59", "24:00", "24:01", "48:00")
    texts = records(NUMBERS, times=times)
    halves = splits(built(placed(tmp_path / "a", texts), task="extrapolation"))
    for split, whole in splits(built(placed(tmp_path / "b", texts))).items():
        found, n = halves[split], len(whole.labels)
        assert found.observed.times.shape == found.target.times.shape == (n, 3)
        for one, two, all_of_it in zip(found.observed, found.target, whole.observed, strict=True):
            assert torch.equal(torch.cat((one, two), 1), all_of_it)
        assert (found.observed.times < 0.5).all() and (found.target.times >= 0.5).all()


@pytest.mark.parametrize("quantisation", [0.016, 24 / 47])  # 47 of the latter are a hair below 24
def test_extrapolation_leaves_out_records_that_lack_a_half(quantisation, ages, tmp_path):
    late, early = record(30, "24:00,Age,30", "40:00,K,3"), record(40, "00:00,Age,40", "23:00,K,3")
    edge = record(50, "00:00,Age,50", "24:00,K,3")
    deaths = {n: int(n % 2 or n == 50) for n in range(60)}
    root = placed(tmp_path, {30: late, 40: early, 50: edge} | ages(), deaths)
    options = {"quantisation": quantisation, "task": "extrapolation"}
    found = by_number(built(root, **options))
    assert sorted(found) == [*range(1, 21), 50]
    assert all(label == deaths[n] for n, (_, label) in found.items())


def test_a_set_on_the_edge_of_too_small(ages, tmp_path):
    built(placed(tmp_path / "a", ages(range(10))))
    message = "holds 9 records for task=interpolation, must be at least 10$"
    with pytest.raises(ValueError, match=message):
        built(placed(tmp_path / "b", ages(range(9))))


@needs_physionet
def test_the_real_sets_are_of_the_known_size():
    data = PhysioNet(0, CPU, str(ROOT))
    assert data.sizes == {"train": 5600, "validation": 800, "test": 1600}
    assert len(data.records) == 8000 and data.labels.sum() == 554 + 568
    deaths = load(ROOT, "ab")[1]  # set a comes first: the papers' labels
    assert (deaths[:4000].sum(), len(deaths)) == (554, 8000)
    assert data.records.values.shape == (598_332, 41) and data.records.mask.sum() == 3_500_305
    assert data.shape == (41,) and data.steps_per_epoch == 112
    assert (data.records.times >= 0).all() and (data.records.times <= 1).all()
    train = data.records.starts[5600]
    seen = data.records.values[:train]
    assert seen.min() == 0 and seen.max() == 1
    assert (data.records.times[data.records.starts[:-1]] == 0).all()
    assert data.records.mask.any(1).all()
