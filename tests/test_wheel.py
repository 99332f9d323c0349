"""The wheel, installed where there is no checkout."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SMALL = ["trainer.max_steps=4", "data.test_size=32", "data.batch_size=8", "data.validation_size=8"]
SMALL += ["task.grid=8", "model.field.hidden=[8]"]


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A folder with the wheel unpacked as pip does, and an empty one beside it to work in."""
    folder = tmp_path_factory.mktemp("wheel")
    site, empty = folder / "site", folder / "empty"
    empty.mkdir()
    python = [sys.executable, "-m"]
    for command in (
        [*python, "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        [*python, "pip", "install", "-q", "--no-deps", "--no-index", "--target", str(site)],
    ):
        wheels = [str(wheel) for wheel in folder.glob("*.whl")]
        done = subprocess.run(
            [*command, *wheels] if wheels else command, cwd=ROOT, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
    return site, empty


def call(installed, *command):
    site, empty = installed
    return subprocess.run(
        [sys.executable, *command],
        cwd=empty,
        env={**os.environ, "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
    )


def test_it_is_the_installed_one_and_brings_its_own_conf(installed):
    code = "from node_runner.runs import config; print(config.FOLDER)"
    assert call(installed, "-c", code).stdout.strip() == str(installed[0] / "node_runner" / "conf")
    shipped = {path.relative_to(installed[0]).parts[0] for path in installed[0].rglob("*.py")}
    assert shipped == {"node_runner"}
    yamls = {path.name for path in (installed[0] / "node_runner" / "conf").rglob("*.yaml")}
    assert yamls == {path.name for path in (ROOT / "conf").rglob("*.yaml")}


def test_a_run_needs_no_checkout(installed):
    site, empty = installed
    done = call(installed, str(site / "bin" / "node-run"), *SMALL)
    assert done.returncode == 0, done.stderr
    (file,) = (empty / "outputs").rglob("result.json")
    assert json.loads(file.read_text())["state"] == "done"
    told = call(installed, str(site / "bin" / "node-report"), "outputs")
    assert told.returncode == 0, told.stderr
    assert "## ffjord_toy: runs" in told.stdout
    tables = call(installed, str(site / "bin" / "node-report"), "outputs", "--paper", "node")
    assert "| ODE-Net " in tables.stdout, tables.stderr


def test_a_folder_of_the_users_own_adds_a_task_and_an_experiment(installed):
    site, empty = installed
    mine = empty / "mine"
    for name, text in (
        (
            "task/pinwheel.yaml",
            "# @package _global_\ndefaults:\n  - ffjord_toy\n  - _self_\n"
            "data:\n  name: pinwheel\ntol: 1e-4\n",
        ),
        (
            "experiment/quick.yaml",
            "# @package _global_\ndefaults:\n  - override /task: pinwheel\n"
            "  - override /solver: tsit5\n  - _self_\ncell: mine.quick\n"
            "trainer:\n  max_steps: 3\n",
        ),
    ):
        (mine / name).parent.mkdir(parents=True, exist_ok=True)
        (mine / name).write_text(text)
    out = ["paths.out=mine_out"]
    run = ["-m", "node_runner", "--config-dir", "mine"]
    done = call(installed, *run, "experiment=quick", *SMALL[1:], *out)
    assert done.returncode == 0, done.stderr
    (file,) = (empty / "mine_out").rglob("result.json")
    result = json.loads(file.read_text())
    assert (result["task"], result["cell"], result["steps"]) == ("pinwheel", "mine.quick", 3)
    assert result["data"]["name"] == "pinwheel"
    assert result["protocol"]["solver"]["method"] == "tsit5"
    assert result["protocol"]["solver"]["rtol"] == 1e-4

    again = call(installed, "-m", "node_runner", f"resume={file.parent}", "trainer.max_steps=5")
    assert again.returncode == 0, again.stderr
    assert json.loads(file.read_text())["steps"] == 5

    typo = call(installed, *run, "task=pinweel")
    assert (typo.returncode, typo.stderr.count("\n")) == (2, 1)
    assert "did you mean pinwheel?" in typo.stderr
