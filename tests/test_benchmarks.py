"""The list of benchmarks that `make bench` and CI's smoke round run."""

from pathlib import Path

from benchmarks.__main__ import NAMES


def test_every_script_that_measures_is_run():
    files = (Path(__file__).parents[1] / "benchmarks").glob("[!_]*.py")
    scripts = {file.stem for file in files if "\ndef main()" in file.read_text()}
    assert sorted(NAMES) == sorted(scripts)
