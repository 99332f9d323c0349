"""The recipes of README and docs, followed in a copy of the tree: the tests that run over folders
accept what is added, and a run can use it.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "README.md").read_text() + (ROOT / "docs" / "extend.md").read_text()
FILES = re.findall(r"```(?:python|yaml)\n# (node_runner/\S+|conf/\S+)\n(.*?)```", TEXT, re.S)
ADDED = ("ssp3", "speed", "ring", "matching")
PARTS = ("node_runner", "conf", "tests", "benchmarks", "docs", "examples")
SINGLE = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "CITATION.cff", "Makefile", "LICENSE")
SINGLE += ("pyproject.toml", "mkdocs.yml")


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """A copy of the tree with the files of the recipes in it."""
    folder = tmp_path_factory.mktemp("tree")
    for part in SINGLE:
        shutil.copy(ROOT / part, folder)
    for part in PARTS:
        shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
    for name, content in FILES:
        there = folder / name  # with the same content in a tree that has followed the recipes
        assert not there.exists() or there.read_text() == content, f"{name} exists already"
        there.write_text(content)
    return folder


def run(tree, *command):
    environment = {**os.environ, "PYTHONPATH": str(tree), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, "-m", *command],
        cwd=tree,
        env=environment,
        capture_output=True,
        text=True,
    )


def test_each_thing_is_one_file_and_one_yaml():
    assert sorted(Path(name).stem for name, _ in FILES) == sorted(ADDED * 2)


def test_the_tests_find_what_was_added_and_accept_it(tree):
    files = ["tests/test_readme.py", "tests/test_docs.py", "tests/test_folders.py"]
    files += ["tests/test_conf.py", "tests/test_floors.py", "tests/flow/test_regularizers.py"]
    files += [f"tests/ode/test_{name}.py" for name in ("methods", "gradients", "every_method")]
    # Tests of folders as a whole, and of each addition by its name.
    whole = ("test_readme", "listed", "filled", "exist", "without_a_method", "test_floors")
    chosen = ["-k", " or ".join((*whole, *ADDED))]
    done = run(tree, "pytest", *files, *chosen, "-rA", "-p", "no:cacheprovider")
    assert done.returncode == 0, done.stdout[-3000:]
    passed = re.findall(r"^PASSED (\S+)", done.stdout, re.M)
    for name in ADDED:
        assert sum(name in test for test in passed) >= 2, (name, passed)


SMALL = ["trainer.max_steps=30", "trainer.log_every=10", "task.grid=12", "model.field.hidden=[16]"]


@pytest.mark.parametrize("task", ["ffjord_toy", "matching"])
def test_a_run_can_use_all_of_it(task, tree):
    chosen = [f"task={task}", "data=ring", "solver=ssp3", "eval_solver=ssp3", "regularizer=speed"]
    done = run(tree, "node_runner", *chosen, *SMALL, f"paths.out={task}")
    assert done.returncode == 0, done.stderr[-2000:]
    (file,) = (tree / task).rglob("result.json")
    result = json.loads(file.read_text())
    assert (result["task"], result["data"]["name"]) == (task, "ring")
    assert result["protocol"]["solver"]["method"] == "ssp3"
    assert ("cost/speed" in result["training"]) == (task == "ffjord_toy")
    assert result["metrics"]["test/nll"]["n"] == 2000
