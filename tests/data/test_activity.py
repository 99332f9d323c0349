"""Human activity: readings of tags become series with an activity at each time."""

from __future__ import annotations

import gzip

import numpy as np
import pytest
import torch
from real_data import ROOT, needs_activity
from support.errors import refused

from node_runner.data.activity import TAGS, Activity

CPU = torch.device("cpu")
SECOND = 10_000_000  # ticks
START = 633_790_226_051_280_329
RAW = "PersonActivity/PersonActivity/raw"


def row(sequence, tag, seconds, place=(1.0, 2.0, 3.0), label="walking"):
    """A line of the file; the tag by its number."""
    x, y, z = place
    ticks = START + round(seconds * SECOND)
    return f"{sequence},{TAGS[tag]},{ticks},27.05.2009 14:03:25:128,{x},{y},{z},{label}"


def walk(sequence, times, seed=0):
    """A reading of one tag at each time."""
    draw = np.random.default_rng(seed)
    labels = ("walking", "sitting", "lying")
    return [
        row(sequence, i % 4, time, draw.normal(size=3).round(6), labels[i // 3 % 3])
        for i, time in enumerate(times)
    ]


def walks(count=10, length=12):
    """Sequences that tell their number by how far their first feature is."""
    return [
        line
        for n in range(count)
        for line in (row(f"A{n:02}", 0, 0.1 * i, (n, i, 0)) for i in range(length))
    ]


def placed(root, lines):
    path = root / RAW / "ConfLongDemo_JSI.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")
    return root


def built(root, seed=0, **options):
    return Activity(seed, CPU, str(root), **{"window": 4, "stride": 2, "batch_size": 1} | options)


def one_sequence(tmp_path, lines, monkeypatch, window=1, **options):
    """Windows of a file of one sequence, all of them in training."""
    monkeypatch.setattr(
        "node_runner.data.activity.split",
        lambda groups, _: dict.fromkeys(("train", "validation", "test"), groups[0]),
    )
    data = built(placed(tmp_path, lines), window=window, **options)
    return data.batch("train", torch.arange(data.sizes["train"]))


def test_coordinates_of_a_tag_are_its_three_features(tmp_path, monkeypatch):
    lines = [row("A01", tag, tag, (10 * tag + 1, 10 * tag + 2, 10 * tag + 3)) for tag in range(4)]
    series = one_sequence(tmp_path, lines, monkeypatch, window=4).observed
    assert series.times.tolist() == [[0, 1, 2, 3]]
    expected = torch.zeros(4, 4, 3)
    for tag in range(4):
        expected[tag, tag] = 10 * tag + torch.arange(1, 4)
    assert torch.equal(series.values[0], expected.flatten(1))
    assert torch.equal(series.mask[0], expected.flatten(1) > 0)


def test_ticks_are_tenths_of_microseconds_since_the_first_reading(tmp_path, monkeypatch):
    times = [0, 0.02, 0.5, 1.25, 7.13]
    for step in (0.01, 0.1):
        batch = one_sequence(tmp_path, walk("A01", times), monkeypatch, window=4, step=step)
        rounded = sorted({round(time / step) * step for time in times})[:4]
        assert batch.observed.times[0].tolist() == pytest.approx(rounded, abs=1e-6)


def test_readings_of_a_tag_in_one_step_are_averaged_and_the_last_label_counts(
    tmp_path, monkeypatch
):
    lines = [
        row("A01", 1, 0.0, (1, 1, 1), "walking"),
        row("A01", 1, 0.101, (1, 2, 3), "falling"),
        row("A01", 2, 0.104, (7, 8, 9), "lying down"),
        row("A01", 1, 0.096, (3, 4, 8), "sitting"),  # before the other two, behind them in the file
    ]
    batch = one_sequence(tmp_path, lines, monkeypatch, window=2, step=0.01)
    assert batch.observed.mask.sum(2).tolist() == [[3, 6]]
    assert batch.observed.values[0, 1, 3:9].tolist() == [2, 3, 5.5, 7, 8, 9]
    assert batch.labels.tolist() == [[0, 2]]


def test_activities_are_merged_into_seven(tmp_path, monkeypatch):
    merged = ["walking", "falling", "lying", "lying down", "sitting", "sitting down"]
    merged += [f"standing up from {what}" for what in ("lying", "sitting")]
    merged += ["standing up from sitting on the ground", "on all fours", "sitting on the ground"]
    lines = [row("A01", 0, i, label=label) for i, label in enumerate(merged)]
    batch = one_sequence(tmp_path, lines, monkeypatch, window=11)
    assert batch.labels.tolist() == [[0, 1, 2, 2, 3, 3, 4, 4, 4, 5, 6]]


@pytest.mark.parametrize(("window", "stride", "starts"), [(4, 2, 5), (5, 5, 2), (12, 1, 1)])
def test_windows_begin_every_stride_and_count_from_their_start(
    window, stride, starts, tmp_path, monkeypatch
):
    times = np.random.default_rng(1).uniform(0.1, 2, 12).cumsum()
    times -= times[0]
    lines = walk("A01", times)
    whole = one_sequence(tmp_path, lines, monkeypatch, window=12)
    batch = one_sequence(tmp_path, lines, monkeypatch, window=window, stride=stride)
    assert len(batch.labels) == starts
    for i in range(starts):
        part = slice(i * stride, i * stride + window)
        assert torch.equal(batch.labels[i], whole.labels[0, part])
        assert torch.equal(batch.observed.values[i], whole.observed.values[0, part])
        moved = whole.observed.times[0, part] - whole.observed.times[0, part.start]
        torch.testing.assert_close(batch.observed.times[i], moved, rtol=0, atol=1e-5)
    assert batch.observed.present.all() and batch.target is batch.observed


def numbers(data):
    """Which sequences, and which times of them, each split has."""
    found = {}
    for split, size in data.sizes.items():
        values = data.batch(split, torch.arange(size)).observed.values
        found[split] = {(int(n), int(i)) for n, i in values[:, :, :2].flatten(0, 1).tolist()}
    return found


def test_no_time_is_on_two_sides_and_every_sequence_on_one(tmp_path):
    found = numbers(built(placed(tmp_path, walks())))
    sides = [{n for n, _ in some} for some in found.values()]
    assert [len(side) for side in sides] == [7, 1, 2]
    assert set().union(*sides) == set(range(10))
    order = np.random.RandomState(42).permutation(10).tolist()
    assert sides[2] == set(order[:2]) and sides[1] == set(order[2:3])


def test_as_released_windows_are_dealt_out_and_times_are_on_two_sides(tmp_path):
    root = placed(tmp_path, walks())
    data, apart = built(root, released=True), built(root)
    assert data.sizes == {"train": 35, "validation": 5, "test": 10}
    assert sum(apart.sizes.values()) == 50
    found = numbers(data)
    assert found["train"] & found["test"]
    assert set().union(*found.values()) == {(n, i) for n in range(10) for i in range(12)}
    assert data.part.endswith("10 sequences, split by windows")
    assert apart.part == "first 120 of 164860 rows, 10 sequences, split by sequences"


def test_the_split_is_the_same_for_every_seed_and_order_of_the_file(tmp_path):
    lines = walks()
    one, two = (built(placed(tmp_path, lines), seed) for seed in (0, 1))
    three = built(placed(tmp_path, lines[::-1]))
    assert numbers(one) == numbers(two) == numbers(three)
    step = [data.train_batch(0).observed.values for data in (one, two, three)]
    assert torch.equal(step[0], step[2]) and not torch.equal(step[0], step[1])


@pytest.mark.parametrize("count", [1, 2, 3])
def test_too_few_sequences_are_refused_and_those_too_short_are_passed_over(count, tmp_path):
    short = [row("B01", 0, 0.1 * i) for i in range(3)]
    root = placed(tmp_path, walks(count) + short)
    if count == 3:
        assert built(root).sizes == {"train": 5, "validation": 5, "test": 5}
        return
    message = f"^window=4, stride=2: {count} sequences are as long as a window, too few"
    with pytest.raises(ValueError, match=message):
        built(root)


BAD = {
    (1, "010-000-024-034"): ("column tag: '010-000-024-034'; known are 010-000-024-033, 010-",),
    (7, "running"): ("column activity: 'running'; known are walking, falling, lying, lying down",),
    (7, ""): ("column activity: ''",),
    (4, "left"): ("column x: 'left' is no finite number",),
    (5, "nan"): ("column y: 'nan' is no finite number",),
    (6, "inf"): ("column z: 'inf' is no finite number",),
    (6, ""): ("column z: ''",),
    (2, "12.5"): ("column timestamp: '12.5' is no integer",),
    (2, "-12"): ("column timestamp: '-12' is no integer",),
    (2, "²"): ("column timestamp: '²' is no integer",),
    (2, "9" * 40): ("is no integer below 10^18",),
    (3, "1,2"): ("9 cells, must be 8 (sequence, tag, timestamp, date, x, y, z, activity)",),
}


@pytest.mark.parametrize("bad", BAD, ids=[f"{column}-{cell}" for column, cell in BAD])
def test_a_bad_row_is_told_with_line_and_column(bad, tmp_path):
    lines, (column, cell) = walks(), bad
    cells = lines[30].split(",")
    cells[column] = cell
    lines[30] = ",".join(cells)
    refused(
        lambda: built(placed(tmp_path, lines)),
        f"{tmp_path}/{RAW}/ConfLongDemo_JSI.txt, line 31",
        *BAD[bad],
    )


def test_empty_damaged_and_absent_files_are_told(tmp_path):
    parts = ("lacks ConfLongDemo_JSI.txt", "dataset/196", "NODE_RUNNER_DATA", f"that holds {RAW}")
    refused(lambda: built(tmp_path), *parts, kind=FileNotFoundError)
    path = placed(tmp_path, []) / RAW / "ConfLongDemo_JSI.txt"
    refused(lambda: built(tmp_path), f"{path} holds no rows")
    packed = path.with_suffix(".txt.gz")
    path.unlink()
    whole = gzip.compress("\n".join(walks()).encode())
    packed.write_bytes(whole)
    assert built(tmp_path).sizes["train"] == 35
    for content in (b"no gzip", whole[:-9], whole[:200], whole[:99] + b"\0\0\0" + whole[102:]):
        packed.write_bytes(content)
        refused(lambda: built(tmp_path), str(packed))


@needs_activity
def test_a_tenth_of_the_real_file_gives_655_windows():
    data = Activity(0, CPU, str(ROOT))
    assert sum(data.sizes.values()) == 655
    for series, labels in data.splits.values():
        assert labels.shape == (len(series), 50) and series.values.shape == (labels.numel(), 12)
        assert series.mask.float().mean().item() == pytest.approx(0.25, abs=5e-3)
        assert 0 <= labels.min() and labels.max() <= 6
    assert data.part == "first 16486 of 164860 rows, 3 sequences, split by sequences"
