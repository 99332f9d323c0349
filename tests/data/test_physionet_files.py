"""Files of PhysioNet that are absent, damaged or something else: one line each."""

from __future__ import annotations

import gzip
from functools import partial

import pytest
from physionet_cases import archive, built, outcomes, placed, record, records
from support.errors import refused

NUMBERS = range(1, 12)
RAW = "physionet/PhysioNet/raw"


ROWS = {
    "7:30,HR,80": ("column Time: '7:30' is not HH:MM",),
    "07:3x,HR,80": ("column Time: '07:3x' is not HH:MM",),
    "07:60,HR,80": ("column Time: '07:60' is not HH:MM",),
    "0730,HR,80": ("column Time: '0730' is not HH:MM",),
    ",HR,80": ("column Time: ''",),
    "48:01,HR,80": ("column Time: '48:01' is not HH:MM, up to 48:00",),
    "-1:00,HR,80": ("column Time: '-1:00'",),
    "05:59,HR,80": ("column Time: 05:59 is before the line above",),
    "05:59,RecordID,80": ("column Time: 05:59 is before the line above",),
    "07:30,HR,high": ("column Value: 'high' is no finite number",),
    "07:30,HR,": ("column Value: ''",),
    "07:30,HR,nan": ("column Value: 'nan'",),
    "07:30,HR,-inf": ("column Value: '-inf'",),
    "07:30,RecordID,nan": ("column Value: 'nan'",),
    "07:30,Hr,80": ("column Parameter: unknown 'Hr'",),
    "07:30,,80": ("column Parameter: unknown ''",),
    "07:30,HR": ("2 cells, must be 3 (Time,Parameter,Value)",),
    "07:30,HR,80,": ("4 cells, must be 3 (Time,Parameter,Value)",),
    "no data here": ("1 cells, must be 3",),
    "": ("1 cells, must be 3",),
    "07:30,HR\n08:00,HR,80,81": ("2 cells, must be 3",),  # as many cells as two rows have
    "07:30,HR\n80,07:31,HR,81": ("2 cells, must be 3",),  # and in the same order
    "07:30,HR,80,x,07:31,HR,81": ("7 cells, must be 3",),  # two rows with something between
}


@pytest.mark.parametrize("end", ["08:00,HR,81\n", ""], ids=["inside", "at the end"])
@pytest.mark.parametrize("row", ROWS)
def test_a_bad_row_is_told_with_file_line_and_column(row, end, tmp_path):
    text = record(7, "00:00,Age,60", "06:00,HR,80", row) + end
    root = placed(tmp_path, records(NUMBERS) | {7: text})
    source = f"{root}/{RAW}/set-a.tar.gz: set-a/7.txt, line 5"
    mark = ": " if "cells" in ROWS[row][0] else ", "
    refused(lambda: built(root), f"{source}{mark}{ROWS[row][0]}")


def test_the_first_bad_row_is_told(tmp_path):
    text = record(7, "00:00,Age,60", "06:00,HR,nan", "05:00,HR,80", "07:00,Hr,1,2")
    refused(
        lambda: built(placed(tmp_path, records(NUMBERS) | {7: text})),
        "7.txt, line 4, column Value: 'nan'",
    )


@pytest.mark.parametrize(
    ("text", "part"),
    [
        (record(7, "00:00,Height,-1"), "set-a/7.txt holds no measurement"),
        ("Time,Parameter,Value\n", "set-a/7.txt holds no measurement"),
        ("Time,Parameter,Value\n00:00,RecordID,7\n", "set-a/7.txt holds no measurement"),
        ("", "set-a/7.txt, line 1: '', must be Time,Parameter,Value"),
        ("00:00,Age,60\n00:00,HR,80\n", "set-a/7.txt, line 1: '00:00,Age,60', must be"),
        (b"Time,Parameter,Value\n\xff\xfe,Age,60\n", "set-a/7.txt, line 2, column Time"),
    ],
)
def test_a_record_of_nothing_or_without_its_header_is_named(text, part, tmp_path):
    refused(lambda: built(placed(tmp_path, records(NUMBERS) | {7: text})), part)


def test_other_ends_of_lines_are_read_too(tmp_path):
    texts = records(NUMBERS)
    one = built(placed(tmp_path / "a", texts))
    two = built(placed(tmp_path / "b", {n: t.replace("\n", "\r\n") for n, t in texts.items()}))
    three = built(placed(tmp_path / "c", {n: t.rstrip() for n, t in texts.items()}))
    for name, part in vars(one.records).items():
        assert part.equal(getattr(two.records, name)) and part.equal(getattr(three.records, name))


@pytest.mark.parametrize("texts", [{}, {"notes": "x"}])
def test_an_archive_without_records_is_refused(texts, tmp_path):
    root = placed(tmp_path, records(NUMBERS))
    path = tmp_path / RAW / "set-a.tar.gz"
    path.write_bytes(archive(texts, end=".md"))
    refused(lambda: built(root), f"{path} holds no records; they are files named <RecordID>.txt")


def test_a_file_that_is_no_record_is_named_and_hidden_ones_are_passed_over(tmp_path):
    texts = records(NUMBERS)
    hidden = {"._7": b"\0\1"} | texts
    assert (
        sum(built(placed(tmp_path / "a", hidden, dict.fromkeys(NUMBERS, 0))).sizes.values()) == 11
    )
    for name in ("notes", "7b", "²"):
        root = placed(tmp_path / "b", texts | {name: record(7)}, dict.fromkeys(NUMBERS, 0))
        refused(partial(built, root), f"set-a/{name}.txt is no record")


def test_a_record_without_a_row_of_outcomes_is_named(tmp_path):
    root = placed(tmp_path, records(NUMBERS), dict.fromkeys(range(1, 11), 0))
    folder = tmp_path / RAW
    refused(
        lambda: built(root),
        f"{folder}/Outcomes-a.txt has no row of record 11",
        f"{folder}/set-a.tar.gz has",
    )


@pytest.mark.parametrize(
    ("old", "new", "parts"),
    [
        ("3,6,1,5,-1,0", "3,6,1,5,-1,dead", ("line 4, column In-hospital_death: 'dead'",)),
        ("3,6,1,5,-1,0", "x,6,1,5,-1,0", ("line 4, column RecordID: 'x'",)),
        ("3,6,1,5,-1,0", "3,6,1,5,-1,nan", ("line 4, column In-hospital_death: 'nan'",)),
        ("3,6,1,5,-1,0", "3,6,1,5,-1", ("line 4: 5 cells, must be 6",)),
        ("3,6,1,5,-1,0", "3,6,1,5,-1,2", ("line 4, column In-hospital_death: 2, must be 0 or 1",)),
        ("3,6,1,5,-1,0", "3,6,1,5,-1,0.5", ("line 4, column In-hospital_death: 0.5, must be",)),
    ],
)
def test_a_bad_row_of_outcomes_is_told(old, new, parts, tmp_path):
    root = placed(tmp_path, records(NUMBERS))
    path = tmp_path / RAW / "Outcomes-a.txt"
    path.write_text(outcomes(dict.fromkeys(NUMBERS, 0)).replace(f"\n{old}", f"\n{new}"))
    refused(lambda: built(root), str(path), *parts)


def damages(whole):
    middle = len(whole) // 2
    flipped = bytes((whole[middle] ^ 0x10,))
    yield b""
    yield b"no archive"
    yield gzip.decompress(whole)
    yield gzip.compress(b"no tar" * 200)
    yield from (whole[:n] for n in (5, 20, middle, len(whole) - 1))
    yield whole[:middle] + flipped + whole[middle + 1 :]


def test_a_damaged_archive_is_refused_wherever_the_damage_is(tmp_path):
    root = placed(tmp_path, records(NUMBERS))
    path = tmp_path / RAW / "set-a.tar.gz"
    contents = list(damages(path.read_bytes()))
    for content in contents:
        path.write_bytes(content)
        refused(
            lambda: built(root),
            f"{path} is damaged: it cannot be unpacked",
            "place a good copy there",
        )


@pytest.mark.parametrize("gone", ["set-a.tar.gz", "Outcomes-a.txt", ""])
def test_absent_files_are_named_with_where_to_put_them_and_where_to_get_them(gone, tmp_path):
    if gone:
        placed(tmp_path, records(NUMBERS))
        (tmp_path / RAW / gone).unlink()
    parts = ("lacks set-a.tar.gz or Outcomes-a.txt", "https://physionet.org/content/challenge-2012")
    where = (f"{tmp_path}/{RAW} lacks", "NODE_RUNNER_DATA", "paths.data", f"that holds {RAW}")
    refused(lambda: built(tmp_path), *parts, *where, kind=FileNotFoundError)
