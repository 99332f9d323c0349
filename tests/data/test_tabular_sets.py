"""The preprocessing of each set of rows, done again by hand on small files."""

import gzip
import hashlib
import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from tabular_cases import CPU, SPLITS, agree, as_text, cut, placed, rows

from node_runner.data import hepmass, miniboone, protein
from node_runner.data.bsds300 import Bsds300
from node_runner.data.gas import Gas
from node_runner.data.hepmass import Hepmass
from node_runner.data.miniboone import Miniboone
from node_runner.data.power import Power
from node_runner.data.protein import Protein


def test_power_is_mafs_array_shuffled_with_noise(tmp_path):
    x = rows(60, 8)
    placed(tmp_path / "POWER", data=x)
    rng = np.random.RandomState(42)
    rng.shuffle(x)
    x = np.delete(np.delete(x, 3, axis=1), 1, axis=1)
    voltage, active, meters = 0.01 * rng.rand(60, 1), 0.001 * rng.rand(60, 1), rng.rand(60, 3)
    x = x + np.hstack((active, voltage, meters, np.zeros((60, 1))))
    train, val, test = cut(x)
    by = np.vstack((train, val))
    data = Power(0, CPU, str(tmp_path), batch_size=5)
    agree(data, [(x - by.mean(0)) / by.std(0) for x in (train, val, test)])
    assert data.part == "60 of 2049280 rows"


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("household_power_consumption.txt", "60 of 2049280 rows"),
        ("household_power_consumption.txt.gz", "60 of 2049280 rows"),
        ("household_power_consumption_first60.txt", "first 60 of 2049280 rows"),
        ("household_power_consumption_summer.txt.gz", "60 of 2049280 rows"),
    ],
)
def test_power_from_text_is_power_from_the_array(tmp_path, name, part):
    """Rows with missing values are dropped; the time is in minutes; the date is not used."""
    x = np.abs(rows(60, 8)).round(3)
    x[:, 7] = np.arange(60) * 20
    placed(tmp_path / "array" / "power", data=x)
    lines = ["Date;Time;a;b;c;d;e;f;g", "28/4/2007;00:21:00;?;?;?;?;?;?;"]
    for row in x:
        clock = f"{int(row[7]) // 60:02}:{int(row[7]) % 60:02}:00"
        lines.append(f"1/1/2007;{clock};" + ";".join(map(str, row[:7])) + " ")
        lines.append("1/1/2007;00:00:00;1;2;3;4;;6;7")
    content = "".join(f"{line}\r\n" for line in lines).encode()
    path = tmp_path / "text" / "power" / name
    path.parent.mkdir(parents=True)
    path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    one, two = (Power(0, CPU, str(tmp_path / kind), 5) for kind in ("array", "text"))
    agree(two, [one.splits[split].numpy() for split in SPLITS])
    assert two.part == part


@pytest.mark.parametrize("name", ["ethylene_CO.txt", "ethylene_CO.txt.gz"])
def test_gas_keeps_the_last_of_columns_that_correlate(tmp_path, name):
    x = rows(200, 19)
    x[:, 4] = x[:, 9] + 1e-3 * x[:, 4]  # sensors 2, 7 and 12 are nearly one
    x[:, 14] = x[:, 9] + 1e-3 * x[:, 14]
    x[:, 10] = -x[:, 9]  # an opposite one stays
    as_text(tmp_path / "gas" / name, x, "  ", ["Time (seconds), CO, Ethylene, sensors (16)"])
    quarter = x[np.random.RandomState(42).permutation(200)[:50], 3:]
    quarter = np.delete(quarter, [1, 6], axis=1)
    mean, sd = quarter.mean(0), quarter.std(0, ddof=1)
    data = Gas(0, CPU, str(tmp_path), batch_size=5)
    agree(data, [(x - mean) / sd for x in cut(quarter)])
    assert "50 of 200 rows" in data.part


@pytest.mark.parametrize("ending", ["", ".gz"])
@pytest.mark.parametrize("bad", [True, False])
def test_hepmass_is_class_one_without_features_of_repeated_smallest_value(tmp_path, ending, bad):
    """Whether the test file has a further column or not."""
    train, test = (rows(n, 28, n) for n in (80, 40))
    for x in (train, test):
        x[:, 0] = np.arange(len(x)) % 2
    train[1::14, 5] = -9  # six times in class 1: dropped
    train[1::16, 6] = -9  # five times: stays
    train[:12, 7] = 9  # the largest value: stays
    names = ["# label," + ",".join(f"f{i}" for i in range(27))]
    folder = tmp_path / "hepmass"
    as_text(folder / f"1000_train.csv{ending}", train, ",", names)
    wider = np.hstack((test, test[:, :1])) if bad else test
    as_text(folder / f"1000_test.csv{ending}", wider, ",", names)
    train, test = (np.delete(x[x[:, 0] == 1], [0, 5], axis=1) for x in (train, test))
    mean, sd = train.mean(0), train.std(0, ddof=1)
    parts = train[:-4], train[-4:], test
    data = Hepmass(0, CPU, str(tmp_path), batch_size=5)
    agree(data, [(x - mean) / sd for x in parts])
    assert data.part == "60 of 525123 rows"


def test_hepmass_reads_no_more_than_the_archive_holds(tmp_path, monkeypatch):
    monkeypatch.setattr(hepmass, "MAX_ROWS", {"train": 30, "test": 10})
    x = rows(60, 28)
    x[:, 0] = 1
    for split in ("train", "test"):
        as_text(tmp_path / "hepmass" / f"1000_{split}.csv", x, ",", ["label"])
    assert Hepmass(0, CPU, str(tmp_path), 5).sizes == {"train": 27, "validation": 3, "test": 10}


def test_miniboone_from_the_archive_and_from_uci_is_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr(miniboone, "TABLE", replace(miniboone.TABLE, max_rows=64))
    x = rows(100, 50)
    x[3, 0] = x[5, 0] = x[6, 0] = x[9, 0] = -999
    for j in range(40, 47):
        x[10:16, j] = -50.0  # six times
    as_text(tmp_path / "uci" / "miniboone" / "MiniBooNE_PID.txt", x, "  ", [" 64 36"])
    x = np.delete(x[:64][x[:64, 0] >= -100], np.arange(40, 47), axis=1)
    placed(tmp_path / "maf" / "miniboone", data=x)
    train, val, test = cut(x)
    by = np.vstack((train, val))
    for source in ("uci", "maf"):
        data = Miniboone(0, CPU, str(tmp_path / source), batch_size=5)
        agree(data, [(x - by.mean(0)) / by.std(0) for x in (train, val, test)])
        assert data.part == "60 of 36488 rows"


def test_miniboone_split_already_is_used_as_it_is(tmp_path):
    splits = rows(50, 43), rows(8, 43, 1), rows(9, 43, 2)
    placed(tmp_path / "miniboone", **dict(zip(("train", "val", "test"), splits, strict=True)))
    agree(Miniboone(0, CPU, str(tmp_path), batch_size=5), splits)


def test_miniboone_without_a_train_split_is_split_again(tmp_path):
    val, test = rows(30, 43, 1), rows(35, 43, 2)
    placed(tmp_path / "miniboone", val=val, test=test)
    data = Miniboone(5, CPU, str(tmp_path), batch_size=5)
    x = np.vstack((val, test))[np.random.RandomState(42).permutation(65)]
    agree(data, (x[:53], x[53:59], x[59:]))
    assert data.part.startswith("val + test (65 of 36488 rows), split again; not comparable")


def test_protein_is_distinct_rows_with_noise_as_wide_as_their_rounding(tmp_path, monkeypatch):
    x = rows(60, 10).round(3)
    x[20:25] = x[3]
    folder = tmp_path / "uci" / "protein"
    as_text(folder / "data.csv", x, ",", [])
    sum_of = hashlib.md5((folder / "data.csv").read_bytes()).hexdigest()
    monkeypatch.setattr(protein, "MD5", sum_of)
    x = np.delete(x, range(20, 25), axis=0)
    x = x + np.random.RandomState(42).rand(55, 10) * protein.STEPS
    x = x[np.random.RandomState(42).permutation(55)]
    mean, sd = x[:45].mean(0), x[:45].std(0)
    data = Protein(0, CPU, str(tmp_path), batch_size=5)
    agree(data, [(x - mean) / sd for x in (x[:45], x[45:50], x[50:])])
    assert data.part == "55 distinct of 60 rows"


class Stub(dict):
    """As much of h5py's file as is used."""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass


def test_bsds300_is_the_splits_of_its_file(tmp_path, monkeypatch):
    splits = {split: rows(n, 63).astype("f4") for split, n in zip(SPLITS, (9, 3, 4), strict=True)}
    stub = SimpleNamespace(File=lambda path, mode: Stub(splits))
    monkeypatch.setitem(sys.modules, "h5py", stub)
    (tmp_path / "BSDS300").mkdir()
    (tmp_path / "BSDS300" / "BSDS300.hdf5").touch()
    data = Bsds300(0, CPU, str(tmp_path), batch_size=5)
    agree(data, list(splits.values()))
    assert data.part == "16 of 1300000 rows"
