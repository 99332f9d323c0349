"""What the README shows is there."""

import re
from pathlib import Path

import pytest

from node_runner import config
from node_runner.ode import methods
from node_runner.report import figures, formats

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "README.md").read_text()


@pytest.mark.parametrize("block", re.findall(r"```python\n(import.*?)```", TEXT, re.S))
def test_python_examples_run(block):
    scope = {}
    exec(block, scope)
    assert scope["solution"].ys.shape == (3, 64, 2)
    assert scope["solution"].stats.backward.nfe > 0


def test_every_method_is_listed():
    (row,) = re.findall(r"\| `solver`, `eval_solver` \|(.*)\|", TEXT)
    listed = re.findall(r"\w+", " ".join(re.findall(r"`([^`]*)`", row)))
    assert sorted(listed) == methods.names()


@pytest.mark.parametrize(
    "group", ["gradient", "divergence", "regularizer", "task", "model", "schedule", "launcher"]
)
def test_every_choice_is_named(group):
    for file in (config.FOLDER / group).glob("*.yaml"):
        assert f"`{file.stem}`" in TEXT, f"{group}={file.stem}"


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


@pytest.mark.parametrize("name", [*figures.names(), *formats.names()])
def test_every_figure_and_format_of_a_report_is_named(name):
    assert f"`{name}`" in TEXT
