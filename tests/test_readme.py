"""README.md: names, links and commands that it shows exist. Additions need no line in it."""

import re
from pathlib import Path

import pytest

from node_runner.runs import config

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "README.md").read_text()


def test_it_is_one_page():
    assert len(TEXT.splitlines()) <= 130


def test_the_solver_in_twelve_lines_runs():
    (block,) = re.findall(r"```python\n(import.*?)```", TEXT, re.S)
    assert len(block.splitlines()) <= 12
    scope = {}
    exec(block, scope)
    assert scope["solution"].ys.shape == (3, 64, 2)
    assert scope["solution"].stats.backward.nfe > 0


def test_every_task_of_the_table_exists():
    named = set(re.findall(r"`(\w+)`", " ".join(re.findall(r"^\| (`\w.*?) \|", TEXT, re.M))))
    assert len(named) > 15
    assert named <= {file.stem for file in (config.FOLDER / "task").glob("*.yaml")}


def test_the_speed_table_quotes_the_results():
    """Each row's figures are those of benchmarks/RESULTS.md, rounded to two digits."""
    results = (ROOT / "benchmarks" / "RESULTS.md").read_text()
    measured = {float(x) for x in re.findall(r"(?<![\w.-])\d+\.\d+", results)}
    measured |= {1 / x for x in measured if x}
    rows = re.search(r"^\| work .*?\n\n", TEXT, re.M | re.S)[0].splitlines()[2:]
    for row in rows:
        for cell in row.split("|")[2:-1]:
            for shown in re.findall(r"[\d.]+", cell):
                digits = len(shown.partition(".")[2])
                assert any(f"{x:.{digits}f}" == shown for x in measured), (shown, row)


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\]\(([^)#]+)\)", TEXT))))
def test_a_link_or_picture_exists(target):
    assert target.startswith("http") or (ROOT / target).exists()


@pytest.mark.parametrize(
    "command", sorted(set(re.findall(r"(?:^    |`)make ([\w-]+)", TEXT, re.M)))
)
def test_make_has_the_target(command):
    assert re.search(rf"^{command}:", (ROOT / "Makefile").read_text(), re.M)
