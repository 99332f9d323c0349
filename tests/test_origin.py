"""A run whose configuration was edited since it was made is another run, and only used if that is
asked for.
"""

import json
import shutil
from math import inf, nan

import pytest
from forked import node_run
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from test_cli import SMALL

from node_runner.errors import UserError
from node_runner.runs import config, origin, store
from node_runner.training import load_checkpoint


@pytest.fixture
def run(small_run, tmp_path):
    shutil.copytree(small_run, tmp_path / "run")
    return tmp_path / "run"


def replace(run, old, new, name="config.yaml"):
    text = (run / name).read_text()
    assert old in text
    (run / name).write_text(text.replace(old, new))


config.register()
RESUME = ["resume=run", "trainer.max_steps=14"]
EDITS = [
    ("config.yaml", "lr: 0.003", "lr: 0.5", "optimizer.lr of config.yaml was 0.003, is 0.5"),
    ("config.yaml", "seed: 0", "seed: 1", "seed of config.yaml was 0, is 1"),
    ("config.yaml", "  - 8\n", "  - 9\n", "model.field.hidden of config.yaml was [8], is [9]"),
    ("config.yaml", "  steer:", "  more: 1\n  steer:", "model.more of config.yaml was None, is 1"),
    ("command.yaml", "data.batch_size=16", "data.batch_size=8", "overrides of command.yaml was ["),
    ("command.yaml", "config_dir: null", "config_dir: x", "config_dir of command.yaml was None"),
]


@pytest.mark.parametrize(("name", "old", "new", "what"), EDITS, ids=[edit[2] for edit in EDITS])
def test_an_edit_is_named_with_its_value_then_and_now(name, old, new, what, run):
    replace(run, old, new, name)
    call = ["mode=evaluate", "run=run"] if "seed" in old else RESUME
    done = node_run(run.parent, *call)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert what in done.stderr
    assert "put that back, or add accept_edits=true" in done.stderr


def test_an_edit_that_is_asked_for_is_used_and_from_then_on_belongs_to_the_run(run):
    replace(run, "lr: 0.003", "lr: 0.5")
    assert node_run(run.parent, *RESUME, "accept_edits=true").returncode == 0
    allowed = "as accept_edits=true allows: optimizer.lr of config.yaml was 0.003, is 0.5"
    assert allowed in (run / "run.log").read_text()
    state = load_checkpoint(run / "checkpoints" / "last.pt")
    assert state["optimizer"]["param_groups"][0]["initial_lr"] == 0.5
    text = (run / "config.yaml").read_text()
    assert "accept_edits: false" in text and "lr: 0.5" in text
    assert store.read(run, "resume").edits() == []


def test_limits_and_circumstances_are_no_edits_and_resuming_leaves_none(run):
    replace(run, "max_steps: 12", "max_steps: 13")
    replace(run, "out: outputs", "out: elsewhere")
    more = ["runtime.device=cpu", "data.batch_size=16"]  # of which the second changes nothing
    done = node_run(run.parent, *RESUME, *more)
    assert done.returncode == 0, done.stderr
    assert "edited" not in done.stdout + done.stderr
    assert "- trainer.max_steps=14\n" in (run / "command.yaml").read_text()
    assert store.read(run, "resume").edits() == []


def test_a_run_of_before_is_resumed_with_one_warning(run):
    (run / origin.FILE).unlink()
    done = node_run(run.parent, *RESUME)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("edits since it was made go unnoticed") == 1
    assert store.read(run, "resume").edits() == []  # from now on it can


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"sha256": "0", "config.yaml": {}}'])
def test_a_damaged_origin_is_told(content, run):
    (run / origin.FILE).write_text(content)
    with pytest.raises(UserError, match="origin.json was edited or is damaged"):
        store.read(run, "run").edits()


def test_auto_passes_over_a_run_that_was_edited_to_match(tmp_path):
    call = [*SMALL, "trainer.max_time=1e-9", "resume=auto"]
    assert node_run(tmp_path, *call).returncode == 0
    (file,) = tmp_path.rglob("config.yaml")
    replace(file.parent, "lr: 0.003", "lr: 0.5")
    done = node_run(tmp_path, *call, "optimizer.lr=0.5")
    assert done.returncode == 0, done.stderr
    assert "not resumed: " in done.stdout and "optimizer.lr of config.yaml" in done.stdout
    assert len(list(tmp_path.rglob("config.yaml"))) == 2


def test_a_job_of_a_sweep_that_was_edited_to_match_is_not_the_same(tmp_path):
    sweep = ["-m", *SMALL, "seed=0", "hydra.sweep.dir=sweep"]
    assert node_run(tmp_path, *sweep, "trainer.max_time=1e-9").returncode == 0
    replace(tmp_path / "sweep" / "0", "lr: 0.003", "lr: 0.5")
    done = node_run(tmp_path, *sweep, "trainer.max_time=1e-9", "optimizer.lr=0.5")
    assert done.returncode == 2
    assert "optimizer.lr of config.yaml was 0.003, is 0.5" in done.stderr


def test_what_was_typed_counts_where_the_file_was_edited(run):
    replace(run, "lr: 0.003", "lr: 0.5")
    done = node_run(run.parent, *RESUME, "accept_edits=true", "optimizer.lr=0.003")
    assert done.returncode == 2
    assert "resumes a run with optimizer.lr=0.5, but 0.003 was typed" in done.stderr


@pytest.mark.parametrize("task", sorted(f.stem for f in config.FOLDER.glob("task/*.yaml")))
def test_what_is_written_is_what_is_read(task, tmp_path):
    with initialize_config_dir(str(config.FOLDER), version_base=config.VERSION_BASE):
        composed = compose("config", [f"task={task}"])
    there = OmegaConf.create(OmegaConf.to_yaml(composed))
    made, now = (
        {"config.yaml": store.comparable(c), "command.yaml": {}} for c in (composed, there)
    )
    (tmp_path / origin.FILE).write_text(origin.content(made))
    assert origin.edits(tmp_path, now) == []


def test_origin_is_json_whatever_the_numbers(tmp_path):
    """Strict JSON, and infinity is no edit."""
    made = {"config.yaml": {"weight": inf, "none": nan, "lr": 0.1}, "command.yaml": {"typed": []}}
    text = origin.content(made)
    (tmp_path / origin.FILE).write_text(text)
    json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert origin.edits(tmp_path, made) == []
    now = {**made, "config.yaml": {**made["config.yaml"], "weight": -inf}}
    assert origin.edits(tmp_path, now) == [("config.yaml", "weight", inf, -inf)]
