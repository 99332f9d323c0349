"""Files that are whole or absent, and JSON that any parser reads."""

import json
import math
import os
import resource

import pytest

from node_runner.disk import (
    AppendOnlyFile,
    from_json,
    open_regular,
    remove_partial_files,
    to_json,
    write_json,
    write_whole,
)

ODD = {
    "metrics": {"test/a.b": {"mean": math.nan, "n": 3}, "c": {"mean": math.inf, "low": -math.inf}},
    "list": [1, [math.nan, None], "nan"],
    "none": None,
    "plain": 1.5,
}


def refuse(word):
    raise ValueError(f"{word} is not JSON")


def test_json_is_strict_and_read_again_as_it_was(tmp_path):
    write_json(tmp_path / "x.json", ODD)
    text = (tmp_path / "x.json").read_text()
    strict = json.loads(text, parse_constant=refuse)
    assert strict["metrics"]["c"] == {"mean": None, "low": None}
    assert strict["not_finite"]["metrics.test/a.b.mean"] == "nan"
    assert repr(from_json(text)) == repr(ODD)


def test_json_of_an_earlier_version_is_read_and_what_is_not_json_is_refused():
    assert repr(from_json('{"a": NaN, "b": -Infinity}')) == "{'a': nan, 'b': -inf}"
    assert from_json(to_json({"a": 1})) == {"a": 1}
    for text in (b"\xff\xfe", "", "{", "[" * 100000, '{"a": 1} x'):
        with pytest.raises(ValueError):
            from_json(text)


def test_a_file_that_cannot_be_written_leaves_the_one_before_and_nothing_else(tmp_path):
    path = tmp_path / "x"
    write_whole(path, "before")
    with pytest.raises(TypeError):
        write_whole(path, 3)
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match="cannot write .*folder: "):
        write_whole(tmp_path / "folder", "text")
    assert path.read_text() == "before"
    assert {file.name for file in tmp_path.iterdir()} == {"x", "folder"}


def test_a_record_that_does_not_fit_is_taken_back(tmp_path):
    path = tmp_path / "lines"
    child = os.fork()
    if child == 0:
        code = 1
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
            file = AppendOnlyFile(path)
            file.append(b"a" * 60)
            try:
                file.append(b"b" * 60)
            except OSError as error:
                code = 0 if f"cannot write {path}: File too large" in str(error) else 2
            file.append(b"c" * 40)
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert path.read_bytes() == b"a" * 60 + b"c" * 40


def test_only_regular_files_are_opened_and_none_is_waited_for(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path / "fifo", tmp_path, "/dev/zero"):
        with pytest.raises(OSError, match="is not a file|Is a directory"):
            open_regular(path)


def test_what_a_killed_writer_left_is_removed(tmp_path):
    (tmp_path / "a").mkdir()
    for name in ("x.partial", "a/y.pt.partial", "a/z.pt"):
        (tmp_path / name).touch()
    remove_partial_files(tmp_path)
    assert [str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*.*")] == ["a/z.pt"]
