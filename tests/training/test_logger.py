"""Curves of a run that is resumed: each point once, in order, whatever happened before."""

import json
import math
import time

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from node_runner.training import Logger


def refuse(word):
    raise ValueError(f"{word} is not JSON")


def lines(folder):
    text = (folder / "metrics.jsonl").read_text()
    return [json.loads(line, parse_constant=refuse) for line in text.splitlines()]


def curve(folder, tag="a"):
    events = EventAccumulator(str(folder / "tb"), size_guidance={"scalars": 0}).Reload()
    return [(event.step, event.value) for event in events.Scalars(tag)]


def write(folder, values, *resumed):
    """A call that writes these values at steps 1, 2, ..., or from where it is resumed."""
    logger = Logger(folder, *resumed)
    first = resumed[0] + 1 if resumed else 1
    for step, value in enumerate(values, first):
        logger.scalars({"a": value}, step)
    logger.flush()
    points = logger.points
    logger.close()
    return points


def test_what_follows_the_checkpoint_is_dropped_even_at_its_step(tmp_path):
    assert write(tmp_path, [1.0, 2.0, 3.0]) == 3
    logger = Logger(tmp_path, 3, 3)
    logger.scalars({"test/a": 5.0}, 3)  # the test, after training
    logger.close()
    assert write(tmp_path, [4.0], 3, 3) == 4
    assert [(line["step"], line.get("a")) for line in lines(tmp_path)] == curve(tmp_path)
    assert curve(tmp_path) == [(1, 1.0), (2, 2.0), (3, 3.0), (4, 4.0)]
    assert "test/a" not in (tmp_path / "metrics.jsonl").read_text()


@pytest.mark.parametrize("hours", [-5, 5])
def test_the_clock_does_not_matter(hours, tmp_path, monkeypatch):
    real = time.time
    write(tmp_path, [1.0, 2.0, 3.0, 4.0])
    monkeypatch.setattr("time.time", lambda: real() + 3600 * hours)
    write(tmp_path, [30.0, 40.0], 2, 2)
    monkeypatch.setattr("time.time", real)
    write(tmp_path, [400.0], 3, 3)
    assert curve(tmp_path) == [(1, 1.0), (2, 2.0), (3, 30.0), (4, 400.0)]
    assert len(list((tmp_path / "tb").iterdir())) == 1


ALIEN = [b"\xff\xfe\x00", b"3", b"[]", b"null", b'{"time": 1}', b'{"step": "x"}', b"[" * 99999]
ALIEN += [b'{"step": 2, "a": [1]}', b'{"step": -1}', b"", b'{"step": 1, "ti']


@pytest.mark.parametrize("alien", ALIEN, ids=range(len(ALIEN)))
def test_a_line_that_is_not_a_point_is_left_out(alien, tmp_path):
    write(tmp_path, [1.0])
    with open(tmp_path / "metrics.jsonl", "ab") as file:
        file.write(alien + b"\n" + b'{"step": 2, "time": 3.0, "a": NaN}\n')
    write(tmp_path, [3.0], 2, 2)
    assert [line["step"] for line in lines(tmp_path)] == [1, 2, 3]
    assert [step for step, _ in curve(tmp_path)] == [1, 2, 3]
    assert math.isnan(curve(tmp_path)[1][1])  # as an earlier version wrote it


def test_numbers_that_are_not_finite_are_on_the_curves_and_the_lines_are_json(tmp_path):
    values = [math.nan, math.inf, -math.inf, 1.0]
    write(tmp_path, values)
    write(tmp_path, [], 4, 4)
    assert [line["a"] for line in lines(tmp_path)] == [None, None, None, 1.0]
    assert repr([value for _, value in curve(tmp_path)]) == repr(values)


def test_lost_points_are_said(tmp_path, caplog):
    write(tmp_path, [1.0, 2.0, 3.0])
    (tmp_path / "metrics.jsonl").unlink()
    write(tmp_path, [4.0], 3, 3)
    assert "has lost 3 of its 3 points" in caplog.text
    assert curve(tmp_path) == [(4, 4.0)]
