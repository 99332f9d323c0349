"""A user's own folder: groups, classes and solver methods that the package does not know."""

import json

import pytest
from forked import node_run
from test_cli import SMALL

FILES = {
    "own_parts/rings.py": """
from node_runner.data.toy import Toy


class Rings(Toy):
    def __init__(self, seed, device, radius: float, **sizes: int) -> None:
        if radius <= 0:
            raise ValueError(f"radius is {radius}, must be positive")
        super().__init__(seed, device, name="rings", **sizes)
""",
    "own_parts/ssp3.py": """
from node_runner.ode import Tableau

TABLEAU = Tableau(order=3, c=(0.0, 1.0, 0.5), a=((), (1.0,), (0.25, 0.25)), b=(1 / 6, 1 / 6, 2 / 3))
""",
    "ring_size/small.yaml": "radius: 1.0\n",
    "ring_size/large.yaml": "radius: 3.0\n",
    "data/own_rings.yaml": """
_target_: own_parts.rings.Rings
radius: ${ring_size.radius}
batch_size: 16
validation_size: 16
test_size: 16
""",
    "solver/own_ssp3.yaml": "defaults: [rk4]\nmethod: own_parts.ssp3\nstep_size: 0.25\n",
    "task/own_task.yaml": """
# @package _global_
defaults:
  - ffjord_toy
  - /ring_size: small
  - override /data: own_rings
  - _self_
""",
}


@pytest.fixture
def mine(tmp_path):
    for name, text in FILES.items():
        file = tmp_path / "mine" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text.lstrip())
    return ["--config-dir", "mine", "task=own_task", *SMALL]


def test_own_groups_classes_and_methods_work_without_a_change_in_the_package(mine, tmp_path):
    done = node_run(tmp_path, *mine, "solver=own_ssp3", "ring_size=large")
    assert done.returncode == 0, done.stderr
    (file,) = tmp_path.rglob("result.json")
    result = json.loads(file.read_text())
    assert result["state"] == "done"
    assert result["options"]["ring_size.radius"] == 3.0
    assert result["protocol"]["solver"]["method"] == "own_parts.ssp3"
    again = node_run(tmp_path, "mode=evaluate", f"run={file.parent}", *mine[:2])
    assert again.returncode == 0, again.stderr


def test_a_sweep_over_an_own_group_runs_in_other_processes_too(mine, tmp_path):
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher", reason="needs [launchers]")
    done = node_run(tmp_path, "-m", *mine, "ring_size=small,large", "launcher=joblib")
    assert done.returncode == 0, done.stdout + done.stderr
    states = [json.loads(file.read_text())["state"] for file in tmp_path.rglob("result.json")]
    assert states == ["done", "done"]


MISTAKES = [
    ("ring_size=huge", "unknown ring_size=huge"),
    ("ring_size.radus=2", "unknown ring_size.radus; did you mean ring_size.radius?"),
    ("ring_size.radius=wide", "ring_size.radius is 'wide', must be a number"),
    ("ring_size.radius=-1", "ring_size.radius is -1, must be positive"),
    ("solver=own_ssp3 solver.method=own_parts.nope", "own_parts.nope"),
]


@pytest.mark.parametrize(("typed", "line"), MISTAKES, ids=[typed for typed, _ in MISTAKES])
def test_a_mistake_in_an_own_group_is_named_by_its_key(typed, line, mine, tmp_path):
    done = node_run(tmp_path, *mine, *typed.split())
    assert done.returncode == 2, done.stdout + done.stderr
    assert line in done.stderr and done.stderr.count("\n") == 1


def test_a_stored_run_imports_nothing_of_its_folder_until_it_is_trusted(mine, tmp_path):
    assert node_run(tmp_path, *mine, "solver=own_ssp3").returncode == 0
    (folder,) = (file.parent for file in tmp_path.rglob("result.json"))
    refused = node_run(tmp_path, "mode=evaluate", f"run={folder}")
    assert refused.returncode == 2
    assert "own_parts" in refused.stderr and "trust=" in refused.stderr
    trusted = node_run(tmp_path, "mode=evaluate", f"run={folder}", "trust=own_parts")
    assert trusted.returncode == 0, trusted.stderr
