"""Trajectories: the true curves are those of their systems; a file's are as they stand in it."""

from __future__ import annotations

import gzip
import math
import os

import pytest
import torch
from scipy.integrate import solve_ivp

from node_runner.data.csv import Csv
from node_runner.data.systems import SYSTEMS
from node_runner.data.trajectory import Simulated

CPU = torch.device("cpu")
TIMES = 30


def path(name):
    """The true curve at 30 times, in float64."""
    system = SYSTEMS[name]
    times = [1.5 * system.until * (i + 1) / TIMES for i in range(TIMES)]
    states = torch.tensor(system.solve(system.start, times), dtype=torch.float64)
    return torch.tensor(times, dtype=torch.float64), states


@pytest.mark.parametrize("name", SYSTEMS)
def test_a_curve_is_that_of_a_tight_solve(name):
    system, (times, states) = SYSTEMS[name], path(name)
    tight = {"method": "DOP853", "rtol": 1e-12, "atol": 1e-12}
    span = (0, float(times[-1]))
    found = solve_ivp(lambda t, x: system.rates(*x), span, system.start, t_eval=times, **tight)
    size = max(map(abs, system.start))
    assert (states - torch.from_numpy(found.y.T)).abs().max() < 1e-9 * size


@pytest.mark.parametrize("name", SYSTEMS)
def test_f_of_tensors_is_f_of_numbers(name, draw):
    system = SYSTEMS[name]
    x = draw(4, 3, len(system.start))
    f = system.f(x)
    assert f.shape == x.shape
    assert f[2, 1].tolist() == pytest.approx(list(system.rates(*x[2, 1].tolist())))


def test_a_cup_cools_exponentially():
    times, states = path("newton_cooling")
    torch.testing.assert_close(states[:, 0], 20 + 70 * (-0.1 * times).exp(), rtol=1e-9, atol=0)


def test_nobody_enters_or_leaves_an_epidemic():
    _, states = path("sir")
    assert (states.sum(1) - 1).abs().max() < 1e-12
    assert states.min() >= 0


def test_what_lotka_and_volterra_found_is_conserved():
    _, states = path("lotka_volterra")
    x, y = states.T
    conserved = x - 3 * x.log() + y - 1.5 * y.log()
    assert (conserved - 2).abs().max() < 1e-8  # from (1, 1)


def test_the_spiral_turns_inwards():
    _, states = path("spiral")
    radius = (states**4).sum(1)  # what falls at every time: d/dt (x^4 + y^4) = -0.4 (x^6 + y^6)
    assert (radius.diff() < 0).all()


def test_one_seed_has_one_data_set():
    def all_of(seed):
        data = Simulated(seed, CPU, trajectories=3, missing=0.3, observations=20)
        (validation,), (test,) = data.batches("validation"), data.batches("test")
        return [*data.train_batch(0).observed, *validation.target, *test.target]

    one, same, other = all_of(1), all_of(1), all_of(2)
    assert all(torch.equal(a, b) for a, b in zip(one, same, strict=True))
    assert not torch.equal(one[0], other[0])


def test_what_is_observed_and_asked_for_lies_where_it_should():
    data = Simulated(0, CPU, "sir", observations=40, trajectories=5, end=50.0)
    assert (data.shape, data.states, data.sizes["test"]) == ((3,), ("S", "I", "R"), 5)
    observed = data.train_batch(3).observed
    assert observed.times.shape == (5, 40)
    assert (observed.times[:, 0] == 0).all()
    assert (observed.times.diff(dim=1) > 0).all()
    assert observed.times.max() < 40
    (test,) = data.batches("test")
    assert test.target.times.max() == 40 < test.beyond.times.min()
    assert test.beyond.times.max() == 50
    assert (test.target.values.sum(2) - 1).abs().max() < 1e-5
    assert len(test.target.values[:, 0, 0].unique()) == 5  # starts of their own
    assert test.target.values[0, 0].tolist() == pytest.approx([0.99, 0.01, 0])


def test_noise_is_in_units_of_each_state():
    data = Simulated(0, CPU, "lotka_volterra", observations=4000, noise=0.1)
    exact = Simulated(0, CPU, "lotka_volterra", observations=4000, noise=0.0)
    noisy, curve = (d.train_batch(0).observed.values for d in (data, exact))
    (test,) = data.batches("test")
    sd = (noisy - curve).std(dim=(0, 1)) / test.target.values.std(dim=(0, 1))
    torch.testing.assert_close(sd, torch.full_like(sd, 0.1), rtol=0.05, atol=0)


def test_values_are_missing_at_random_and_times_without_any_are_dropped():
    data = Simulated(0, CPU, "sir", observations=300, missing=0.5, trajectories=2)
    observed = data.train_batch(0).observed
    assert observed.times.shape[1] < 300
    assert observed.present[:, : int(observed.lengths.min())].all()
    assert (observed.values[~observed.mask] == 0).all()
    share = observed.mask.sum() / (2 * 300 * 3)
    assert share.item() == pytest.approx(0.5, abs=0.05)


def test_a_trajectory_observed_once_is_refused():
    with pytest.raises(ValueError, match="trajectory 0 is observed 1 times"):
        Simulated(0, CPU, missing=0.9, observations=6)


GOOD = "year,x,y\n1990,1,2\n1991.5,,3\n1993,2,NaN\n1994,nan,NA\n1995,4,1\n" + "".join(
    f"{1996 + i},{i},{-i}\n" for i in range(6)
)


def written(folder, text, name="own.csv"):
    file = folder / name
    file.write_text(text, encoding="utf-8")
    return file


def test_a_table_is_one_trajectory_with_its_gaps(tmp_path):
    data = Csv(0, CPU, str(written(tmp_path, GOOD)))
    assert (data.name, data.part, data.states) == ("csv", "own.csv", ("x", "y"))
    assert (data.shape, data.origin, data.sizes["test"]) == ((2,), 1990.0, 1)
    observed, (test,) = data.train_batch(0).observed, data.batches("test")
    # Ten rows have a value: the last two are the future, the fifth is for validation.
    assert observed.times.tolist() == [[0, 1.5, 3, 5, 7, 8, 9]]
    assert observed.mask[0, :3].tolist() == [[True, True], [False, True], [True, False]]
    assert observed.values[0, :3].tolist() == [[1, 2], [0, 3], [2, 0]]
    assert test.target.times.tolist() == [[6]]
    assert test.target.values.tolist() == [[[0, 0]]]
    assert test.beyond.times.tolist() == [[10, 11]]
    (validation,) = data.batches("validation")
    assert torch.equal(validation.target.times, test.target.times)


def test_all_may_be_observed(tmp_path):
    (test,) = Csv(0, CPU, str(written(tmp_path, GOOD)), held_out=0.0).batches("test")
    assert test.beyond is None


def test_a_clock_that_began_long_ago_keeps_its_seconds(tmp_path):
    text = "t,x\n" + "".join(f"{1.7e9 + 0.5 * i:.1f},{i}\n" for i in range(10))
    times = Csv(0, CPU, str(written(tmp_path, text))).train_batch(0).observed.times
    assert times[0, :4].tolist() == [0, 0.5, 1, 1.5]


def test_a_spreadsheets_habits_are_forgiven(tmp_path):
    text = '\ufeff"t" , "x, in m"\r\n' + "".join(f'"{i}", {i * i}\r\n\r\n' for i in range(8))
    file = tmp_path / "own.csv.gz"
    file.write_bytes(gzip.compress(text.encode()))
    data = Csv(0, CPU, str(file))
    assert data.states == ("x, in m",)
    assert data.train_batch(0).observed.values[0, :3, 0].tolist() == [0, 1, 4]


ROWS = "".join(f"{i},{i},1\n" for i in range(3, 12))
BAD = [
    ("t,x,y\n0,1,2\n2,1,2\n1,1,2\n" + ROWS, "line 4, column t: 1 does not come after 2, the time"),
    ("t,x,y\n0,1,2\n1,1,2\n1,1,2\n" + ROWS, "line 4, column t: 1 does not come after 1, the time"),
    ("t,x,y\n", "holds no rows below its header"),
    ("", "is empty; it must have a header such as t,x1,x2, and rows below it"),
    ("0,1,2\n1,1,2\n" + ROWS, "line 1: the header is missing, such as t,x1,x2"),
    ("t\n0\n1\n", "line 1: one column, 't'; there must be a time and at least one state"),
    ("t|x\n0|1\n", r"line 1: one column, 't\|x'; .* with commas, semicolons or tabs between them"),
    ("t,x\n0,1_000\n" + ROWS, "line 2, column x: '1_000' must be a finite number"),
    ("t,x\n0,\uff11\uff12\n" + ROWS, "line 2, column x: '\uff11\uff12' must be a finite number"),
    ("t,x\n0,0x10\n" + ROWS, "line 2, column x: '0x10' must be a finite number"),
    ("t,x\n1_0,1\n" + ROWS, "line 2, column t: '1_0' must be a finite number"),
    ("t;x\n0;1,5\n" + ROWS, "line 2, column x: '1,5' must be .*, with a point for the comma"),
    ("t,x\n0,1e39\n" + ROWS, r"line 2, column x: 1e39 is beyond float32 \(3.4e\+38\); give the"),
    ("t,x\n0,1\n1,1e400\n" + ROWS, "line 3, column x: '1e400' must be a finite number"),
    ("t,x\n0,1\n1e300,1\n2e300,2\n", "line 3, column t: 1e.300 is too far from the first time"),
    ("t,x\n0,1\n1e-300,1\n2e-300,2\n", "line 4, column t: 2e-300 is too near the first time, 0"),
    (
        "t,x\n" + "".join(f"{i},{i}e-300\n" for i in range(9)),
        "column x: its values differ by 8e-300, less than float32 holds",
    ),
    ("t,x,\n0,1,2\n", "line 1: column 3 has no name; name each column"),
    ("t,x,x\n0,1,2\n", "line 1: column 3 has the name of an earlier one, x; name each column"),
    ("t,x,y\n0,1,2\n1,one,2\n" + ROWS, "line 3, column x: 'one' must be a finite number, or be em"),
    ("t,x,y\n0,1,2\n1,2,inf\n" + ROWS, "line 3, column y: 'inf' must be a finite number, or be"),
    ("t,x,y\n0,1,2\n,1,2\n" + ROWS, "line 3, column t: '' must be a finite number"),
    ("t,x,y\n0,1,2\n1,2\n" + ROWS, r"line 3: 2 cells, must be 3 \(t, x, y\)"),
    ("t,x,y\n0,1,\n1,2,\n2,,nan\n3,,\n4,1,NA\n5,1,\n", "column y: no value in any row; leave"),
    ("t,x\n0,\n1,\n", "column x: no value in any row; leave the column out"),
    ("t,x,y\n" + "".join(f"{i},1,{'1' if i > 8 else ''}\n" for i in range(11)), "column y: no val"),
    ("t,x\n0,1\n1,2\n2,3\n", "has 3 rows with a value: with held_out=0.2 and validate_e"),
]


@pytest.mark.parametrize(("text", "message"), BAD, ids=[message for _, message in BAD])
def test_what_is_wrong_with_a_table_is_told_in_one_line(text, message, tmp_path):
    file = written(tmp_path, text)
    with pytest.raises(ValueError, match=message) as caught:
        Csv(0, CPU, str(file))
    assert str(caught.value).startswith(str(file))
    assert "\n" not in str(caught.value)


TABLE = "temps,\u03b8 en \u00b0C\n" + "".join(f"{i},{i * i}.5\n" for i in range(8))


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "; "])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_a_table_is_read_whatever_program_wrote_it(encoding, delimiter, tmp_path):
    """Encodings with a byte order mark, delimiters, and the ends of lines of three systems."""
    for end in ("\n", "\r\n", "\r"):
        text = TABLE.replace(",", delimiter).replace("\n", end)
        (tmp_path / "own.csv").write_bytes(text.encode(encoding))
        data = Csv(0, CPU, str(tmp_path / "own.csv"))
        assert data.states == ("\u03b8 en \u00b0C",)
        assert data.train_batch(0).observed.values[0, :3, 0].tolist() == [0.5, 1.5, 4.5]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "t,x in \u00b0C\n0,1\n".encode("latin-1"),
            "line 1: byte 0xb0 is not UTF-8; save the table",
        ),
        (b"t,x\n0,1\n1,\xff\n", "line 3: byte 0xff is not UTF-8; save the table as UTF-8"),
        (TABLE.encode("utf-16")[:-1], "line .*: byte 0x.* is not UTF-16; save"),
        (
            "t,x\n0,1\n".encode("utf-16-le"),
            "line 1: a NUL character, as in UTF-16 without its byte",
        ),
        (gzip.compress(b"t,x\n0,1\n"), "line 1: byte 0x8b is not UTF-8"),
    ],
    ids=["latin-1", "broken", "cut", "no mark", "packed"],
)
def test_what_is_no_text_is_refused_in_one_line(content, message, tmp_path):
    (tmp_path / "own.csv").write_bytes(content)
    with pytest.raises(ValueError, match=f"own.csv, {message}"):
        Csv(0, CPU, str(tmp_path / "own.csv"))


def test_numbers_near_the_ends_of_float32_are_taken(tmp_path):
    text = "t,x\n" + "".join(f"{i}e-37,{i}e37\n" for i in range(12)) + "1,1e-300\n"
    data = Csv(0, CPU, str(written(tmp_path, text)), held_out=0.0)
    assert data.train_batch(0).observed.times.dtype == torch.float64


def test_what_is_not_a_file_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.csv")
    for name in ("pipe.csv", "."):
        with pytest.raises(FileNotFoundError, match=": is not a file; set file to a CSV file"):
            Csv(0, CPU, str(tmp_path / name))


def test_a_damaged_table_is_named(tmp_path):
    file = tmp_path / "own.csv.gz"
    file.write_bytes(gzip.compress(GOOD.encode())[:-12])
    with pytest.raises(ValueError, match="own.csv.gz is damaged: it cannot be unpacked"):
        Csv(0, CPU, str(file))


def test_an_absent_table_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere\.csv: there is no such file; set file"):
        Csv(0, CPU, str(tmp_path / "nowhere.csv"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"validate_every": 9}, "are left to learn from .* and 0 for validation"),
        ({"held_out": 0.9}, "1 are left to learn from"),
    ],
    ids=str,
)
def test_a_part_that_cannot_be_is_refused(options, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        Csv(0, CPU, str(written(tmp_path, GOOD)), **options)


def test_the_range_of_a_system_ends_where_it_says():
    assert math.isclose(Simulated(0, CPU, "newton_cooling").splits["test"].beyond.times.max(), 45)
