"""Sweeps: one folder for one command, jobs that fail alone, and nothing done twice."""

import json
import random
import signal
import time

import pytest
from forked import Forked, node_run
from hydra import compose, initialize_config_dir
from test_cli import SMALL

from node_runner.runs import config, schema
from node_runner.training import load_checkpoint

config.register()
PRESETS = sorted(file.stem for file in (config.FOLDER / "sweep").glob("*.yaml"))


def results(folder):
    found = {path.parent.name: json.loads(path.read_text()) for path in folder.rglob("result.json")}
    return dict(sorted(found.items()))


def test_a_job_that_fails_is_recorded_and_the_others_go_on(tmp_path):
    sweep = ["-m", *SMALL, "optimizer.lr=1e-3,-1", "solver.max_steps=1,100"]
    done = node_run(tmp_path, *sweep)
    assert done.returncode == 3, done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    states = [result["state"] for result in results(tmp_path).values()]
    assert states == ["diverged", "done", "failed", "failed"]
    table = done.stdout.rpartition(":\n")[2].splitlines()
    assert [line.split()[:2] for line in table] == [[str(i), s] for i, s in enumerate(states)]
    for part in ("optimizer.lr=0.001 solver.max_steps=100", "nll ", "nfe "):
        assert part in table[1]
    assert "trainer.log_every" not in table[1]  # what all have in common
    assert "the cap of 1 steps is reached" in table[0]
    assert "Invalid learning rate: -1" in table[3]
    assert [job.get("exit_code") for job in results(tmp_path).values()] == [None, None, 2, 2]


def own_data(folder, text):
    """A folder of the user's own, with what is loaded by data=own."""
    (folder / "mine" / "data").mkdir(parents=True, exist_ok=True)
    (folder / "mine" / "data" / "own.yaml").write_text(text)
    return ["--config-dir", "mine", "data=own", *SMALL[:2], *SMALL[5:]]


def test_a_bug_is_recorded_wherever_it_shows_and_is_exit_code_1(tmp_path):
    own = own_data(tmp_path, "_target_: loaded.Loaded\nworkers: 0\nbug: null\n")
    done = node_run(tmp_path, "-m", *own, "data.bug=first,later,null")
    assert done.returncode == 1, done.stderr
    recorded = list(results(tmp_path).values())
    assert [job["state"] for job in recorded] == ["failed", "failed", "done"]
    assert [job.get("exit_code") for job in recorded] == [1, 1, None]
    assert [job["message"] for job in recorded[1:]] == ["KeyError: 'later'", None]
    assert recorded[0]["message"] == "KeyError: 'first'"
    assert done.stdout.count("  failed  ") == 2


def test_a_job_that_was_no_run_is_forgotten_once_its_mistake_is_corrected(tmp_path):
    text = "_target_: node_runner.data.toy.Toy\ntest_size: 16\nvalidation_size: "
    own = own_data(tmp_path, text + "0")
    assert node_run(tmp_path, "-m", *own, "seed=0,1").returncode == 2
    assert [job["state"] for job in results(tmp_path).values()] == ["failed", "failed"]
    own_data(tmp_path, text + "8")
    done = node_run(tmp_path, "-m", *own, "seed=0,1")
    assert done.returncode == 0, done.stderr
    assert [job["state"] for job in results(tmp_path).values()] == ["done", "done"]


def test_the_same_command_finds_its_folder_and_does_nothing_twice(tmp_path):
    sweep = ["-m", *SMALL, "seed=0,1"]
    assert node_run(tmp_path, *sweep).returncode == 0
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("result.json")}
    again = node_run(tmp_path, *sweep)
    assert again.returncode == 0
    assert again.stdout.count("is done already") == 2
    assert again.stdout.count("  done  ") == 2
    assert before == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("result.json")}
    assert node_run(tmp_path, "-m", *SMALL, "seed=5").returncode == 0  # another command
    assert len(list(tmp_path.glob("outputs/*/sweep_*"))) == 2


def test_a_sweep_killed_twice_ends_as_the_undisturbed_one(tmp_path):
    options = [*SMALL[1:], "trainer.max_steps=30", "trainer.checkpoint_every=5"]
    sweep = ["-m", *options, "seed=0,1", "runtime.deterministic=true"]
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    whole.mkdir()
    killed.mkdir()
    assert node_run(whole, *sweep).returncode == 0
    moments, seen = random.Random(3), 0
    for _ in range(2):
        process = Forked(killed, *sweep)
        while len(list(killed.rglob("last.pt"))) <= seen and process.poll() is None:
            time.sleep(0.01)
        time.sleep(moments.uniform(0.0, 0.1))
        process.send_signal(signal.SIGKILL)
        assert process.wait().returncode == -signal.SIGKILL, process.stderr
        seen = len(list(killed.rglob("last.pt")))
    assert len(results(killed)) < 2
    finished = len(results(killed))
    done = node_run(killed, *sweep)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("is done already") == finished
    assert "goes on from step" in done.stdout
    for one, two in zip(results(whole).items(), results(killed).items(), strict=True):
        assert one[0] == two[0]
        assert one[1]["metrics"] == two[1]["metrics"]
    for job in ("0", "1"):
        (last,) = killed.rglob(f"{job}/checkpoints/last.pt")
        assert load_checkpoint(last)["progress"]["step"] == 30


def test_evaluations_are_swept_once_too(tmp_path):
    assert node_run(tmp_path, *SMALL).returncode == 0
    (run,) = (path.parent for path in tmp_path.rglob("result.json"))
    sweep = ["-m", "mode=evaluate", f"run={run}", "eval_tol=1e-2"]
    assert node_run(tmp_path, *sweep).returncode == 0
    assert node_run(tmp_path, *sweep).stdout.count("is done already") == 1


def test_a_command_that_has_come_to_mean_something_else_is_told(tmp_path):
    sweep = ["-m", *SMALL, "seed=0"]
    assert node_run(tmp_path, *sweep).returncode == 0
    (file,) = tmp_path.rglob("0/config.yaml")
    text = file.read_text()
    file.write_text(text.replace("lr: 0.003", "lr: 0.001"))
    done = node_run(tmp_path, *sweep)
    assert done.returncode == 2
    assert "was run with optimizer.lr=0.001, and the same command now means 0.003" in done.stderr
    assert "  0  failed " in done.stdout
    assert [job["state"] for job in results(tmp_path).values()] == ["done"]
    file.write_text(text)
    assert node_run(tmp_path, *sweep).returncode == 0


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_sweeps_over_values_that_exist(name):
    with initialize_config_dir(str(config.FOLDER), version_base=config.VERSION_BASE):
        whole = compose("config", [f"sweep={name}"], return_hydra_config=True)
        params = whole.hydra.sweeper.params
        assert params
        for key, values in params.items():
            assert len(values.split(",")) > 1
            for value in values.split(","):
                schema.check(compose("config", [f"{key}={value}"]))


def test_a_preset_is_a_sweep_like_one_that_is_typed(tmp_path):
    (tmp_path / "mine" / "sweep").mkdir(parents=True)
    (tmp_path / "mine" / "sweep" / "two.yaml").write_text(
        "# @package _global_\nhydra:\n  sweeper:\n    params:\n      seed: 3,4\n"
    )
    own = ["--config-dir", "mine", "hydra.sweep.dir=a folder"]
    done = node_run(tmp_path, *own[:2], "-m", *SMALL, "sweep=two", *own[2:])
    assert done.returncode == 0, done.stderr
    assert "a folder:\n" in done.stdout
    assert sorted(path.name for path in (tmp_path / "a folder").iterdir() if path.is_dir()) == [
        "0",
        "1",
    ]
    assert sorted(result["seed"] for result in results(tmp_path).values()) == [3, 4]
