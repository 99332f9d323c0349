"""Runs that are killed after training, on a clock that goes back or on a disk that fills up."""

import json
import os
import resource
import shutil
import signal
import time

import pytest
from forked import node_run
from kill_runs import TASKS, Killer, content, differences

from node_runner.errors import UserError
from node_runner.runs.build import check_nothing_lost
from node_runner.runs.run import Run
from node_runner.training import load_checkpoint


@pytest.fixture(scope="module")
def killer(tmp_path_factory):
    """With an undisturbed run of the default task in ``folder/whole``."""
    return Killer(TASKS["toy"], tmp_path_factory.mktemp("kills") / "toy", seed=1)


def dies_while_it_draws():
    def die(self):
        os.kill(os.getpid(), signal.SIGKILL)

    Run._save_artifacts = die


def clock_is_behind():
    real = time.time
    time.time = lambda: real() - 7200


def test_a_run_killed_after_its_test_ends_well_even_if_the_clock_went_back(killer):
    folder = killer.folder
    killed = node_run(folder, *killer.options, "hydra.run.dir=killed", before=dies_while_it_draws)
    assert killed.returncode == -signal.SIGKILL
    assert "test/nll" in (folder / "killed" / "metrics.jsonl").read_text()
    for name in ("", "checkpoints/", "tb/"):
        (folder / "killed" / f"{name}x.partial").touch()  # as if in the middle of a file, too
    again = node_run(folder, "resume=killed", before=clock_is_behind)
    assert again.returncode == 0, again.stderr
    assert differences(killer.whole, content(folder / "killed")) == []


def test_a_run_killed_at_random_moments_ends_as_the_undisturbed_one(killer):
    assert killer.once(kills=1) == []


def strict(file):
    def refuse(word):
        raise ValueError(f"{word} is not JSON")

    return json.loads(file.read_text(), parse_constant=refuse)


def test_pictures_without_room_are_named_and_drawn_on_resuming_beside_a_damaged_best_pt(killer):
    run, whole = killer.folder / "full", strict(killer.folder / "whole" / "result.json")
    shutil.copytree(killer.folder / "whole", run)
    (picture,) = run.glob("figures/*.png")
    room = picture.stat().st_size - 500
    picture.unlink()

    def no_room_for_pictures():
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))

    full = node_run(killer.folder, "resume=full", before=no_room_for_pictures)
    assert full.returncode == 2, full.stderr
    (line,) = full.stderr.strip().splitlines()
    result = strict(run / "result.json")
    for text in (line, result["message"]):
        assert "cannot write" in text and "density.png: File too large" in text
    assert "node-run resume=full goes on" in line
    assert result["state"] == "failed"
    assert result["metrics"]["test/nll"] == whole["metrics"]["test/nll"]

    damage(run / "checkpoints" / "best.pt")
    tested = node_run(killer.folder, "mode=evaluate", "run=full", "hydra.run.dir=tested")
    assert tested.returncode == 0, tested.stderr
    assert "best.pt is damaged" in strict(killer.folder / "tested" / "result.json")["message"]
    again = node_run(killer.folder, "resume=full")
    assert again.returncode == 0, again.stderr
    assert "best.pt is damaged" in again.stdout + again.stderr
    done = load_checkpoint(run / "checkpoints" / "last.pt")["progress"]
    assert done["best_step"] == done["step"]  # so that last.pt holds the best weights, too
    assert differences(killer.whole, content(run)) == []


def damage(file):
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


@pytest.mark.parametrize(("state", "metrics"), [("done", {}), ("stopped", {"a": {"mean": None}})])
def test_a_result_whose_checkpoints_are_gone_is_not_replaced(state, metrics, tmp_path):
    result = {"mode": "train", "state": state, "steps": 24, "metrics": metrics}
    (tmp_path / "result.json").write_text(json.dumps(result))
    with pytest.raises(UserError, match="the result of 24 steps, but no checkpoint to resume"):
        check_nothing_lost(tmp_path)
    for unfinished in ({"state": "failed"}, {"state": "stopped"}, {"mode": "evaluate"}):
        (tmp_path / "result.json").write_text(json.dumps(result | {"metrics": {}} | unfinished))
        check_nothing_lost(tmp_path)
