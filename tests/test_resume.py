"""A run that was killed, stopped or cut short goes on as if nothing had been."""

import json
import random
import signal
import time
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from forked import Forked, node_run
from real_data import ROOT, needs_mnist
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from node_runner.training import load_checkpoint

# Hutchinson noise from the global generator, an average, a schedule, clipping, several cadences.
TOY = ["task=ffjord_toy", "divergence=rademacher", "trainer.ema=0.9", "schedule.warmup_steps=20"]
TOY += ["trainer.clip_norm=1.0", "trainer.max_steps=80", "trainer.checkpoint_every=7"]
TOY += ["data.epoch_steps=30", "data.batch_size=32", "data.validation_size=32", "task.grid=8"]
TOY += ["data.test_size=64", "model.field.hidden=[16]", "trainer.log_every=4"]
# The order of the images, their crops, momentum.
IMAGES = ["task=odenet_mnist", "model=mlp", "data.batch_size=1000", "data.held_out=1000"]
IMAGES += ["trainer.max_epochs=2", "trainer.checkpoint_every=10", "trainer.log_every=6"]
IMAGES += [f"paths.data={ROOT.absolute()}", "schedule.milestones=[1]", "trainer.best_on=test"]
FIXED = ["runtime=cpu", "runtime.threads=1", "runtime.deterministic=true"]
CASES = {"toy": TOY, "images": IMAGES}
CHANGES = ("time/step_ms", "time/trained_s", "memory/peak_mib")


def finish(folder, *arguments):
    process = node_run(folder, *arguments)
    return process.returncode, process.stdout + process.stderr


def only_run(folder) -> Path:
    (run,) = (path.parent for path in folder.rglob("command.yaml"))
    return run


def wait_for_checkpoint(folder, process, after=0.0):
    """Until a checkpoint has been written later than ``after``."""
    while process.poll() is None:
        written = [path.stat().st_mtime for path in folder.rglob("last.pt")]
        if written and max(written) > after:
            return max(written)
        time.sleep(0.01)
    raise AssertionError(f"ended before it could be stopped:\n{process.stdout}{process.stderr}")


def everything(run):
    """What has to be equal bit by bit: the state, the result, and every point of every curve."""
    last = load_checkpoint(run / "checkpoints" / "last.pt")
    last["progress"] = {k: last["progress"][k] for k in ("step", "best", "best_step", "waited")}
    result = json.loads((run / "result.json").read_text())
    kept = {k: result[k] for k in ("state", "metrics", "nfe", "steps", "protocol", "parameters")}
    events = EventAccumulator(str(run / "tb"), size_guidance={"scalars": 0}).Reload()
    curves = {
        tag: [(event.step, event.value) for event in events.Scalars(tag)]
        for tag in events.Tags()["scalars"]
        if tag not in CHANGES
    }
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    for line in lines:
        for key in ("time", *CHANGES):
            line.pop(key, None)
    return last, kept, curves, lines


def assert_equal(one, two, where=""):
    if isinstance(one, torch.Tensor):
        assert torch.equal(one, two), where
    elif isinstance(one, dict):
        assert one.keys() == two.keys(), where
        for key in one:
            assert_equal(one[key], two[key], f"{where}/{key}")
    elif isinstance(one, list | tuple):
        assert len(one) == len(two), where
        for i, pair in enumerate(zip(one, two, strict=True)):
            assert_equal(*pair, f"{where}/{i}")
    else:
        assert one == two, where


class Whole(NamedTuple):
    name: str
    options: list[str]
    run: Path


@pytest.fixture(scope="module", params=["toy", pytest.param("images", marks=needs_mnist)])
def whole(request, tmp_path_factory):
    """The options of a run, and the run that nobody disturbed."""
    folder = tmp_path_factory.mktemp("whole")
    options = [*CASES[request.param], *FIXED]
    code, text = finish(folder, *options)
    assert code == 0, text
    return Whole(request.param, options, only_run(folder))


def test_a_run_killed_twice_ends_as_the_undisturbed_one_bit_by_bit(whole, tmp_path):
    _, options, undisturbed = whole
    moments, last, step = random.Random(len(options)), 0.0, 0
    for _ in range(2):
        process = Forked(tmp_path, *options, "resume=auto")
        wait_for_checkpoint(tmp_path, process, after=last)
        time.sleep(moments.uniform(0.0, 0.1))
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert process.returncode == -signal.SIGKILL
        assert not list(tmp_path.rglob("result.json"))
        (file,) = tmp_path.rglob("last.pt")
        last, before = file.stat().st_mtime, step
        step = load_checkpoint(file)["progress"]["step"]
        assert before < step  # each was killed in training, not while it started
    code, text = finish(tmp_path, *options, "resume=auto")
    assert code == 0, text
    assert "goes on from step" in text
    assert "goes on from step" in (only_run(tmp_path) / "run.log").read_text()
    assert_equal(everything(undisturbed), everything(only_run(tmp_path)))


def test_a_signal_leaves_a_checkpoint_and_a_result_and_the_run_goes_on(whole, tmp_path):
    name, options, undisturbed = whole
    number = signal.SIGTERM if name == "toy" else signal.SIGINT
    process = Forked(tmp_path, *options)
    wait_for_checkpoint(tmp_path, process)
    process.send_signal(number)
    text = process.wait(60).stdout + process.stderr
    assert process.returncode == 128 + number, text
    assert "Traceback" not in text
    run = only_run(tmp_path)
    result = json.loads((run / "result.json").read_text())
    assert (result["state"], result["message"]) == ("stopped", number.name)
    steps = load_checkpoint(run / "checkpoints" / "last.pt")["progress"]["step"]
    assert result["steps"] == steps
    assert f"node-run resume={run.relative_to(tmp_path)}" in text

    if number == signal.SIGTERM:  # and a checkpoint that has been cut gives way to the one before
        file = run / "checkpoints" / "last.pt"
        file.write_bytes(file.read_bytes()[:-2000])
    code, text = finish(tmp_path, f"resume={run.relative_to(tmp_path)}")
    assert code == 0, text
    assert ("going on from the one before it" in text) == (number == signal.SIGTERM)
    assert_equal(everything(undisturbed), everything(run))


def test_auto_starts_anew_where_nothing_is_unfinished_or_equal(tmp_path):
    few = ["trainer.max_steps=8", "trainer.max_time=1e-9", "resume=auto"]
    steps = []
    for extra in (["seed=1"], ["seed=1"], ["seed=2"]):
        code, text = finish(tmp_path, *TOY, *few, *extra)
        assert code == 0, text
        results = [json.loads(path.read_text()) for path in tmp_path.rglob("result.json")]
        assert {result["state"] for result in results} == {"stopped"}
        steps.append(sorted(result["steps"] for result in results))
    assert steps == [[1], [2], [1, 2]]
    assert "trainer.max_time of 1e-09 s is reached" in text
    assert results[0]["metrics"]["test/nll"]["n"] == 64  # a budget's end is evaluated


def test_what_makes_it_another_run_is_refused_by_name(whole, tmp_path):
    run = whole.run
    of_all = [("trainer.max_steps=3", "and the limits typed are 3")]
    of_toy = [
        ("optimizer.lr=0.5", "resumes a run with optimizer.lr="),
        ("solver=euler", "resumes a run with solver."),
        ("task=ffjord_toy", "brings its task; leave task= out"),
        (f"hydra.run.dir={run}", "holds a run already"),
    ]
    for typed, message in of_all + (of_toy if whole.name == "toy" else []):
        resume = [] if "hydra" in typed else [f"resume={run}"]
        code, text = finish(tmp_path, *resume, typed)
        assert (code, text.count("\n")) == (2, 1), text
        assert message in text


def test_a_checkpoint_of_another_net_is_told_by_the_first_name_that_differs(whole, tmp_path):
    run = whole.run
    state = load_checkpoint(run / "checkpoints" / "last.pt")
    name = next(iter(state["task"]))
    state["task"][name] = torch.zeros(7, 7)
    (tmp_path / "checkpoints").mkdir()
    torch.save(state, tmp_path / "checkpoints" / "last.pt")
    for copied in ("command.yaml", "config.yaml"):
        (tmp_path / copied).write_text((run / copied).read_text())
    code, text = finish(tmp_path, f"resume={tmp_path}")
    assert code == 2
    assert f"{name} has shape (7, 7), not" in text
    assert "Traceback" not in text


def test_a_run_killed_before_its_first_checkpoint_starts_anew_in_its_folder(tmp_path):
    few = [*TOY, "trainer.max_steps=8", "trainer.log_every=1", "runtime.threads=1"]
    code, text = finish(tmp_path, *few)
    assert code == 0, text
    run = only_run(tmp_path)
    before = everything(run)
    for file in [*(run / "checkpoints").iterdir(), run / "result.json"]:
        file.unlink()
    lines = (run / "metrics.jsonl").read_text().splitlines(keepends=True)
    (run / "metrics.jsonl").write_text("".join(lines[:5]))
    code, text = finish(tmp_path, f"resume={run}")
    assert code == 0, text
    assert "has no checkpoint yet: it starts anew" in text
    assert_equal(before[3], everything(run)[3])


@pytest.mark.parametrize("kept", [("result.json",), ("metrics.jsonl",)])
def test_a_run_that_lost_its_checkpoints_is_not_trained_over_its_result(kept, whole, tmp_path):
    undisturbed = whole.run
    run = tmp_path / "run"
    names = ("command.yaml", "config.yaml", "origin.json", *kept)
    for name in names:
        (run / name).parent.mkdir(parents=True, exist_ok=True)
        (run / name).write_bytes((undisturbed / name).read_bytes())
    before = {name: (run / name).read_bytes() for name in names}
    code, text = finish(tmp_path, "resume=run")
    assert (code, text.count("\n")) == (2, 1), text
    assert "but no checkpoint to resume" in text
    assert "put checkpoints/last.pt back, or train in another folder" in text
    assert before == {name: (run / name).read_bytes() for name in names}
