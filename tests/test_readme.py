"""What the README shows is there."""

import re
from pathlib import Path

import pytest

from node_runner.ode import methods
from node_runner.report import figures, formats
from node_runner.runs import config

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "README.md").read_text()
SOLVERS = "`solver`, `eval_solver`"


@pytest.mark.parametrize("block", re.findall(r"```python\n(import.*?)```", TEXT, re.S))
def test_python_examples_run(block):
    scope = {}
    exec(block, scope)
    assert scope["solution"].ys.shape == (3, 64, 2)
    assert scope["solution"].stats.backward.nfe > 0


CHOICES = {file.stem for file in config.FOLDER.rglob("*.yaml")}
ROWS = re.findall(r"^\| (`\w+`(?:, `\w+`)*) \| (.*) \|$", TEXT.split("## Options")[1], re.M)


# README and folders are compared in this direction alone: something of one's own is one file and
# one yaml, and none of the README.
def test_every_method_of_the_readme_is_there():
    listed = re.findall(r"\w+", " ".join(re.findall(r"`([^`]*)`", dict(ROWS)[SOLVERS])))
    assert len(listed) >= 12 and set(listed) <= set(methods.names())


@pytest.mark.parametrize(
    "group", ["gradient", "divergence", "regularizer", "model", "schedule", "launcher"]
)
def test_every_choice_of_the_readme_is_there(group):
    (text,) = (
        text for groups, text in ROWS if f"`{group}`" in groups and "`optimizer`" not in groups
    )
    named = set(re.findall(r"`(\w+)`", text))
    own = {file.stem for file in (config.FOLDER / group).glob("*.yaml")}
    assert len(named & own) >= 3
    assert named <= CHOICES


def test_every_task_of_the_readme_is_there():
    table = TEXT.split("## Two commands")[0]
    named = set(re.findall(r"`(\w+)`", " ".join(re.findall(r"^\| (`.*?) \|", table, re.M))))
    assert len(named) > 10
    assert named <= {file.stem for file in (config.FOLDER / "task").glob("*.yaml")}


def test_links_and_pictures_lead_somewhere():
    for target in re.findall(r"\]\(([^)#]+)\)", TEXT):
        assert target.startswith("http") or (ROOT / target).exists(), target


def test_the_rooms_of_the_house_are_the_folders():
    (house,) = re.findall(r"## Architecture.*?```(.*?)```", TEXT, re.S)
    rooms = re.findall(r"^(?:\w+)? +(\w+(?:/|\.py)) ", house, re.M)
    assert len(rooms) > 15
    for name in rooms:
        assert list((ROOT / "node_runner").rglob(name.rstrip("/"))), name


@pytest.mark.parametrize("command", re.findall(r"(?:^    |`)make ([\w-]+)", TEXT, re.M))
def test_make_knows_the_commands(command):
    assert re.search(rf"^{command}:", (ROOT / "Makefile").read_text(), re.M)


def test_every_figure_and_format_of_the_readme_is_there():
    rows = re.search(r"^\| `--figure`.*?\n\n", TEXT, re.M | re.S)[0].split("\n|")[2:]
    named = {name for row in rows for name in re.findall(r"`(\w+)`", row.split("|")[0])}
    assert len(named) >= 10 and named <= set(figures.names())
    (listed,) = re.findall(r"^- `--format` is (.*?)\.$", TEXT, re.M)
    assert set(re.findall(r"`(\w+)`", listed)) <= set(formats.names())
