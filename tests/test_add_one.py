"""The README's way to add a method, a regularizer, a data set and a task, done in a copy of the
tree, where the tests that run over the folders have to find and accept them.
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
TEXT = (ROOT / "README.md").read_text()
FILES = re.findall(r"```(?:python|yaml)\n# (node_runner/\S+|conf/\S+)\n(.*?)```", TEXT, re.S)
ADDED = ("ssp3", "speed", "ring", "matching")


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """A copy of the tree with the files of the README in it."""
    folder = tmp_path_factory.mktemp("tree")
    for part in ("README.md", "Makefile", "LICENSE", "pyproject.toml"):
        shutil.copy(ROOT / part, folder)
    for part in ("node_runner", "conf", "tests", "benchmarks"):
        shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
    for name, content in FILES:
        assert not (folder / name).exists(), f"the README shows how to add {name}, which is there"
        (folder / name).write_text(content)
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
    files = ["tests/test_readme.py", "tests/test_folders.py", "tests/test_conf.py"]
    files += ["tests/test_floors.py", "tests/ode/test_methods.py", "tests/ode/test_gradients.py"]
    # What the README says is held against the folders as a whole, not for each member.
    chosen = ["-k", " or ".join(("test_readme", *ADDED)), "-q", "-rA", "-p", "no:cacheprovider"]
    done = run(tree, "pytest", *files, *chosen)
    assert done.returncode == 0, done.stdout[-3000:]
    passed = re.findall(r"^PASSED (\S+)", done.stdout, re.M)
    for name in ADDED:
        assert sum(name in test for test in passed) >= 3, (name, passed)


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
