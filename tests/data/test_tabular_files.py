"""Files of rows that are absent, damaged or something else: one line each, naming the file."""

import gzip
import sys

import numpy as np
import pytest
from support.errors import refused
from tabular_cases import CPU

from node_runner.data import npy_pixels, power, protein
from node_runner.data.bsds300 import Bsds300
from node_runner.data.files import Table, find, read_array
from node_runner.data.gas import Gas
from node_runner.data.hepmass import Hepmass
from node_runner.data.miniboone import Miniboone
from node_runner.data.npy import Npy
from node_runner.data.power import Power
from node_runner.data.protein import Protein
from node_runner.data.scaling import z_score
from node_runner.data.tabular import head_tail_split, shuffled_tenths

MAF = "https://zenodo.org/records/1161203"
UCI = "https://archive.ics.uci.edu/dataset/"


@pytest.mark.parametrize(
    ("build", "folder", "parts"),
    [
        (Power, "power", ("data.npy", "household_power_consumption.txt", f"{UCI}235", MAF)),
        (Gas, "gas", ("ethylene_CO.txt", f"{UCI}322")),
        (Hepmass, "hepmass", ("1000_train.csv", f"{UCI}347", MAF)),
        (Miniboone, "miniboone", ("data.npy", "val.npy", f"{UCI}199", MAF)),
        (Bsds300, "BSDS300", ("BSDS300.hdf5", MAF)),
        (Protein, "uci/protein", ("data.csv", f"{UCI}265")),
    ],
)
def test_absent_files_are_named_with_where_to_put_them_and_where_to_get_them(
    build, folder, parts, tmp_path
):
    where = (str(tmp_path / folder), "NODE_RUNNER_DATA", "paths.data", f"holds {folder}")
    refused(lambda: build(0, CPU, str(tmp_path)), *parts, *where, kind=FileNotFoundError)


def test_an_absent_array_is_named_with_the_option_that_says_where(tmp_path):
    np.save(tmp_path / "train.npy", np.ones((3, 2)))
    parts = ("lacks val.npy", str(tmp_path), "set folder")
    refused(lambda: Npy(0, CPU, str(tmp_path)), *parts, kind=FileNotFoundError)


def test_the_archives_pickle_is_not_read(tmp_path):
    (tmp_path / "GAS").mkdir()
    (tmp_path / "GAS" / "ethylene_CO.pickle").touch()
    parts = (str(tmp_path / "GAS"), "pandas pickle", "ethylene_CO.txt")
    refused(lambda: Gas(0, CPU, str(tmp_path)), *parts, kind=FileNotFoundError)


def test_h5py_is_asked_for_only_where_the_file_is_there(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "h5py", None)
    (tmp_path / "bsds300").mkdir()
    (tmp_path / "bsds300" / "BSDS300.hdf5").touch()
    refused(lambda: Bsds300(0, CPU, str(tmp_path)), "pip install 'node-runner[hdf5]'")


def test_the_lower_case_folder_comes_first_and_folders_are_no_files(tmp_path):
    for name in ("a", "A"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "one").touch()
    (tmp_path / "a" / "two").mkdir()
    places = (tmp_path / "a", tmp_path / "A")
    assert find(places, ["two", "one"]) == tmp_path / "a" / "one"
    assert find(places, ["two"]) is None


TABLE = Table(("x", "y"), delimiter=",")
TEXTS = {
    "x,y\n1,2\n3,?\n": ("line 3, column y", "'?'"),
    "x,y\n1,2\nnan,4\n": ("line 3, column x", "'nan'"),
    "x,y\n1,2\n3,-inf\n": ("line 3, column y", "'-inf'"),
    "x,y\n1,\n": ("line 2, column y", "''"),
    "x,y\n1,2\n\n3,4,5\n": ("line 4: 3 cells, must be 2 (x, y)",),
    "x,y\n1,2\n3\n": ("line 3: 1 cells, must be 2",),
    "x,y\n1,2,3\n4,5,6\n": ("line 2: 3 cells, must be 2",),
    "x,y\n1,2\n1_0,4\n": ("line 3, column x", "'1_0'"),
    "x,y\n": ("holds no rows",),
    "": ("holds no rows",),
}


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("text", TEXTS)
def test_a_bad_cell_of_a_text_is_found(text, packed, tmp_path):
    path = tmp_path / ("a.csv.gz" if packed else "a.csv")
    path.write_bytes(gzip.compress(text.encode()) if packed else text.encode())
    refused(lambda: TABLE.read(path), str(path), *TEXTS[text])


def test_text_that_is_none_or_cut_short_is_refused(tmp_path):
    path = tmp_path / "a.csv.gz"
    whole = gzip.compress(b"x,y\n" + b"1,2\n" * 1000)
    for content in (
        b"",
        b"x,y\n1,2\n",
        whole[:-9],
        whole[:30],
        whole[:20] + b"\0\0\0" + whole[23:],
    ):
        path.write_bytes(content)
        refused(lambda: TABLE.read(path), str(path))
    plain = tmp_path / "b.csv"
    plain.write_bytes(b"x,y\n\xff\xfe\x00,2\n")
    refused(lambda: TABLE.read(plain), "line 2, column x")


def test_further_columns_and_rows_are_read_only_if_asked(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("x,y\n1,2,\n3,4,?\n5,6\n7,bad\n")
    x = Table(("x", "y"), delimiter=",", wider=True, max_rows=3).read(path)
    assert x.tolist() == [[1, 2], [3, 4], [5, 6]]


@pytest.mark.parametrize(
    ("x", "parts"),
    [
        (np.ones(3), ("shape [3]", "[rows, 2]")),
        (np.ones((3, 4)), ("shape [3, 4]", "[rows, 2]")),
        (np.ones((0, 2)), ("no rows",)),
        (np.ones((3, 2), dtype=complex), ("complex128",)),
        (np.array([["a", "b"]]), ("<U1",)),
        (np.array([[1.0, 2.0], [3.0, np.nan]]), ("row 1, column 1", "nan")),
        (np.array([[1.0, 2.0], [np.inf, 3.0]]), ("row 1, column 0", "inf")),
        (np.array([[None, {}]]), ("no whole .npy file",)),
    ],
)
def test_an_array_of_something_else_is_refused(x, parts, tmp_path):
    path = tmp_path / "a.npy"
    np.save(path, x)
    refused(lambda: read_array(path, 2), str(path), *parts)


def test_an_array_cut_short_is_refused(tmp_path):
    path = tmp_path / "a.npy"
    np.save(path, np.ones((50, 2)))
    whole = path.read_bytes()
    for n in (0, 5, 50, 127, 128, 500, len(whole) - 1):
        path.write_bytes(whole[:n])
        refused(lambda: read_array(path, 2), str(path))


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_arrays_must_have_as_many_columns_as_the_first(split, tmp_path):
    for name in ("train", "val", "test"):
        np.save(tmp_path / f"{name}.npy", np.random.rand(5, 3 if name == split else 2))
    odd = "val" if split == "train" else split
    refused(lambda: Npy(0, CPU, str(tmp_path)), f"{odd}.npy", "must be [rows,")


def test_values_beyond_float32_are_refused(tmp_path):
    for name in ("train", "val", "test"):
        np.save(tmp_path / f"{name}.npy", np.full((5, 2), 1e200))
    refused(lambda: Npy(0, CPU, str(tmp_path), batch_size=2), "too large for float32")


def test_too_few_rows_and_constant_columns_are_refused():
    for n in range(11):
        refused(lambda n=n: head_tail_split(np.ones((n, 2)), "the file"), "the file", "too few")
    assert [len(x) for x in head_tail_split(np.ones((11, 2)), "it")] == [9, 1, 1]
    refused(lambda: shuffled_tenths(np.ones((9, 2)), "the file"), "the file", "too few")
    x = np.column_stack((np.arange(5.0), np.full(5, 0.1)))
    refused(lambda: z_score(x, "the file"), "the file: column 1", "constant")


def power_text(*lines):
    return "\n".join(("Date;Time;a;b;c;d;e;f;g", *lines)) + "\n"


@pytest.mark.parametrize(
    ("line", "parts"),
    [
        ("1/1/2007;00:01:00;1;2;x;4;5;6;7", ("line 2, column Voltage", "'x'")),
        ("1/1/2007;00:01;1;2;3;4;5;6;7", ("line 2: 9 cells",)),
        ("no data here", ("line 2: 1 cells",)),
    ],
)
def test_a_bad_line_of_power_is_named(line, parts, tmp_path):
    (tmp_path / "power").mkdir()
    (tmp_path / "power" / "household_power_consumption.txt").write_text(power_text(line))
    refused(lambda: Power(0, CPU, str(tmp_path)), *parts)


def test_several_parts_of_power_are_refused(tmp_path):
    (tmp_path / "power").mkdir()
    for month in ("may", "june"):
        (tmp_path / "power" / f"household_power_consumption_{month}.txt").touch()
    refused(lambda: Power(0, CPU, str(tmp_path)), "may.txt", "june.txt", "several parts")


def test_hepmass_without_signal_is_refused(tmp_path):
    (tmp_path / "hepmass").mkdir()
    for split in ("train", "test"):
        zeros = ",".join(["0"] * 28)
        (tmp_path / "hepmass" / f"1000_{split}.csv").write_text(f"label\n{zeros}\n")
    refused(lambda: Hepmass(0, CPU, str(tmp_path)), "1000_train.csv", "no rows of class 1")


def test_a_describe_part_miniboones_raw_file_that_leaves_other_features_is_refused(tmp_path):
    (tmp_path / "miniboone").mkdir()
    path = tmp_path / "miniboone" / "MiniBooNE_PID.txt"
    np.savetxt(path, np.random.rand(20, 50), header="20 0", comments=" ")
    refused(lambda: Miniboone(0, CPU, str(tmp_path)), str(path), "50 features", "must be 43")


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    ("build", "name", "known"),
    [
        (Power, "power/household_power_consumption_first37283.txt", list(power.MD5.values())[0]),
        (Protein, "uci/protein/data.csv", protein.MD5),
    ],
)
def test_a_file_with_another_sum_than_the_known_one_is_refused(
    build, name, known, packed, tmp_path
):
    path = tmp_path / (name + ".gz" * packed)
    path.parent.mkdir(parents=True)
    for content in (b"", b"1,2,3\n"):
        path.write_bytes(gzip.compress(content) if packed else content)
        refused(lambda: build(0, CPU, str(tmp_path)), f"{path} is damaged", known, "good copy")
    if packed:
        path.write_bytes(b"no gzip")
        refused(lambda: build(0, CPU, str(tmp_path)), f"{path} is damaged", "unpacked")


def header(text):
    """The beginning of a .npy file with this header, and some bytes."""
    text = text.ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode() + bytes(480)


HEADERS = {
    "huge": "{'descr': '|u1', 'fortran_order': False, 'shape': (10000000000000, 3000), }",
    "overflow": "{'descr': '|u1', 'fortran_order': False, 'shape': (99999999999999999999999, 3), }",
    "negative": "{'descr': '|u1', 'fortran_order': False, 'shape': (-1, 4, 4), }",
    "open": "{'descr': '|u1', 'fortran_order': False, 'shape': (20, 3",
    "names": "{'descr': '|u1', 'fortran_order': False, 'shape': (a, 3), }",
    "objects": "{'descr': '|O', 'fortran_order': False, 'shape': (20, 3), }",
    "call": "__import__('os').abort()",
}


@pytest.mark.parametrize("name", HEADERS)
def test_a_header_that_cannot_be_is_refused_in_one_line(name, tmp_path):
    path = tmp_path / "train.npy"
    path.write_bytes(header(HEADERS[name]))
    refused(lambda: read_array(path), str(path), "is no whole .npy file of numbers (")
    refused(lambda: npy_pixels.read(path), str(path), "is no whole .npy file of bytes (")


def test_flipped_bytes_of_a_header_are_read_or_refused(tmp_path):
    """Whatever they say: numpy raises errors of many kinds for them."""
    path, draw = tmp_path / "train.npy", np.random.default_rng(0)
    np.save(path, np.zeros((20, 4, 4), np.uint8))
    whole = path.read_bytes()
    for _ in range(300):
        content = bytearray(whole)
        for at in draw.integers(0, 128, 3):
            content[at] = draw.choice([draw.integers(256), *b"9'(\\{"])
        path.write_bytes(content)
        for read in (read_array, npy_pixels.read):
            try:
                read(path)
            except ValueError as error:
                assert "\n" not in str(error)
