"""Jobs side by side: the same results, exit codes and folders as one after the other, and signals
that lose nothing.
"""

import json
import os
import signal
import time
from pathlib import Path

import pytest
from forked import Forked, node_run
from test_sweep import results

pytest.importorskip("hydra_plugins.hydra_joblib_launcher", reason="needs the extra [launchers]")
pytest.importorskip("hydra_plugins.hydra_submitit_launcher", reason="needs the extra [launchers]")

SMALL = ["-m", "--config-dir", "mine", "data=loaded", "task.grid=8", "model.field.hidden=[8]"]
SMALL += ["trainer.log_every=5", "runtime.deterministic=true"]
MIXED = ["trainer.max_steps=6", "optimizer.lr=1e-3,-1", "solver.max_steps=1,100"]


@pytest.fixture(autouse=True)
def seen_by_workers(monkeypatch):
    """Each job may start Python anew, which has to find loaded.py."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))


def folder_with_data(folder):
    (folder / "mine" / "data").mkdir(parents=True)
    (folder / "mine" / "data" / "loaded.yaml").write_text("_target_: loaded.Loaded\nworkers: 2")
    return folder


def told(folder):
    """What may not depend on the launcher."""
    kept = ("state", "message", "metrics", "exit_code", "steps")
    return [{key: result.get(key) for key in kept} for result in results(folder).values()]


@pytest.fixture(scope="module")
def serial(tmp_path_factory):
    folder = folder_with_data(tmp_path_factory.mktemp("serial"))
    assert node_run(folder, *SMALL, *MIXED).returncode == 3
    found = told(folder)
    assert [job["state"] for job in found] == ["diverged", "done", "failed", "failed"]
    assert [job["exit_code"] for job in found] == [None, None, 2, 2]
    return found


def test_jobs_side_by_side_come_to_the_same_and_are_found_by_any_launcher(serial, tmp_path):
    """With data that are read by workers of their own."""
    folder_with_data(tmp_path)
    done = node_run(tmp_path, *SMALL, *MIXED, "launcher=joblib")
    assert done.returncode == 3, done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert told(tmp_path) == serial
    table = done.stdout.rpartition(":\n")[2].splitlines()
    assert [line.split()[1] for line in table] == [job["state"] for job in serial]
    again = node_run(tmp_path, *SMALL, *MIXED)
    assert again.returncode == 3
    assert "is diverged already" in again.stdout
    assert "is done already" in again.stdout
    assert told(tmp_path) == serial


def test_a_job_of_a_cluster_comes_to_the_same(serial, tmp_path):
    """On a cluster of one machine, which starts Python anew for each job, as every cluster does."""
    folder_with_data(tmp_path)
    alone = ["trainer.max_steps=6", "optimizer.lr=1e-3", "solver.max_steps=100"]
    done = node_run(tmp_path, *SMALL, *alone, "hydra/launcher=submitit_local")
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert told(tmp_path) == serial[1:2]
    assert "is done already" in node_run(tmp_path, *SMALL, *alone).stdout


def test_a_job_of_a_launcher_is_a_run_like_any_other(tmp_path):
    """What is typed for the launcher is no part of it."""
    folder_with_data(tmp_path)
    typed = [*SMALL, "trainer.max_steps=3", "seed=5", "data.workers=0"]
    (tmp_path / "mine" / "launcher").mkdir()
    (tmp_path / "mine" / "launcher" / "own.yaml").write_text(
        "# @package _global_\ndefaults: [joblib, _self_]\nhydra: {launcher: {n_jobs: 1}}\n"
    )
    done = node_run(tmp_path, *typed, "launcher=own", "hydra.launcher.verbose=0")
    assert done.returncode == 0, done.stderr
    (job,) = (path.parent for path in tmp_path.rglob("result.json"))
    assert "launcher=" not in (job / "command.yaml").read_text()
    longer = node_run(tmp_path, f"resume={job}", "trainer.max_steps=4", "trust=loaded")
    assert longer.returncode == 0, longer.stderr
    assert json.loads((job / "result.json").read_text())["steps"] == 4


def until(condition, process):
    while not condition():
        assert process.poll() is None, process.stderr
        time.sleep(0.02)


def test_a_sweep_that_is_interrupted_or_killed_stops_its_jobs_and_goes_on(tmp_path, monkeypatch):
    folder_with_data(tmp_path)
    monkeypatch.setenv("LOADED_PAUSE", "0.1")
    sweep = [*SMALL, "trainer.max_steps=100", "data.workers=0", "solver=rk4", "seed=0,1"]

    def started():
        return Forked(tmp_path, *sweep, "launcher=joblib", before=os.setpgrp)

    def written():
        return [len(file.read_text().splitlines()) for file in tmp_path.rglob("metrics.jsonl")]

    process = started()
    until(lambda: len(written()) == 2 and min(written()) > 0, process)
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait().returncode == 130
    assert "Traceback" not in process.stdout + process.stderr
    assert [job["state"] for job in told(tmp_path)] == ["stopped", "stopped"]
    before = [job["steps"] for job in told(tmp_path)]

    process, lines = started(), written()
    until(lambda: all(new > old for new, old in zip(written(), lines, strict=True)), process)
    assert not list(tmp_path.rglob("result.json"))
    process.send_signal(signal.SIGKILL)
    assert process.wait().stdout.count("goes on from step") == 2
    end = time.monotonic() + 30
    while len(told(tmp_path)) < 2 and time.monotonic() < end:  # its jobs notice
        time.sleep(0.05)
    assert [job["state"] for job in told(tmp_path)] == ["stopped", "stopped"]
    after = [job["steps"] for job in told(tmp_path)]
    assert all(new > old for new, old in zip(after, before, strict=True))
