"""node-run as a user meets it: a process, its exit code, and the folder that it leaves."""

import json
import os
import subprocess
import sys

import pytest
from forked import node_run
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

SMALL = ["trainer.max_steps=12", "trainer.log_every=5", "data.test_size=64", "data.batch_size=16"]
SMALL += ["data.validation_size=16", "task.grid=12", "model.field.hidden=[8]", "runtime.threads=1"]
TAGS = {"train/loss", "train/nll", "nfe/forward", "nfe/backward", "memory/peak_mib"}
TAGS |= {"memory/saved_mib", "time/step_ms", "train/grad_norm"}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Two small runs started in the same moment, in a folder that is no checkout."""
    folder = tmp_path_factory.mktemp("runs")
    command = [sys.executable, "-m", "node_runner", *SMALL, "regularizer=rnode", "seed=3"]
    pair = [
        subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        for _ in range(2)
    ]
    outputs = [process.communicate()[0].decode() for process in pair]
    assert [process.returncode for process in pair] == [0, 0], outputs
    return sorted((folder / "outputs" / "ffjord_toy").iterdir()), outputs


def test_two_runs_at_once_have_folders_of_their_own(finished):
    folders, _ = finished
    assert len(folders) == 2


def test_a_run_leaves_all_that_it_promises(finished):
    for folder in finished[0]:
        for name in ("config.yaml", "env.json", "metrics.jsonl", "result.json", "run.log"):
            assert (folder / name).stat().st_size > 0, name
        assert (folder / "checkpoints" / "last.pt").exists()
        assert (folder / "figures" / "density.png").stat().st_size > 10_000
        assert not list(folder.rglob("*.partial"))


def test_the_result_says_what_was_done(finished):
    result = json.loads((finished[0][0] / "result.json").read_text())
    assert result["state"] == "done"
    assert (result["task"], result["seed"], result["steps"]) == ("ffjord_toy", 3, 12)
    assert result["data"] == {
        "name": "8gaussians",
        "part": "generated",
        "sizes": {"validation": 16, "test": 64},
    }
    nll = result["metrics"]["test/nll"]
    assert nll["n"] == 64
    assert nll["standard_error"] > 0
    assert 0.9 < result["metrics"]["density/integral"]["mean"] < 1.1
    assert result["nfe"]["forward"] >= 8
    assert result["nfe"]["backward"] == 0
    assert result["protocol"]["solver"]["rtol"] == 1e-5
    assert result["versions"]["torch"]
    assert (result["world_size"], result["global_batch"]) == (1, 16)


def test_the_same_seed_gives_the_same_numbers(finished):
    one, two = (json.loads((folder / "result.json").read_text()) for folder in finished[0])
    assert one["metrics"] == two["metrics"]


def test_tensorboard_and_the_lines_tell_the_same_curves(finished):
    folder = finished[0][0]
    events = EventAccumulator(str(folder / "tb"), size_guidance={"scalars": 0}).Reload()
    assert set(events.Tags()["scalars"]) >= TAGS | {"cost/kinetic", "cost/jacobian", "test/nll"}
    assert "density" in events.Tags()["images"]
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    steps = [line["step"] for line in lines if "train/loss" in line]
    assert steps == [5, 10, 12]
    curve = [event.value for event in events.Scalars("train/loss")]
    written = [line["train/loss"] for line in lines if "train/loss" in line]
    assert curve == pytest.approx(written, rel=1e-6)


def test_the_end_of_a_run_is_told_to_a_person(finished):
    text = finished[1][0]
    for part in ("test nll", "±", "nats", "NFE", "figure", "result.json", "tensorboard --logdir"):
        assert part in text


def test_a_mistake_ends_in_one_line_and_exit_code_2(tmp_path):
    done = node_run(tmp_path, "solver=dopri")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "Traceback" not in done.stderr + done.stdout
    assert not (tmp_path / "outputs").exists()


def test_what_a_constructor_refuses_ends_in_one_line_and_exit_code_2(tmp_path):
    done = node_run(tmp_path, "solver=rk4", "solver.step_size=-1")
    assert done.returncode == 2
    assert done.stderr.strip() == "node-run: solver.step_size is -1.0, must be positive"


def test_a_diverging_run_is_a_result_and_exit_code_3(tmp_path):
    done = node_run(tmp_path, *SMALL, "solver.max_steps=1")
    assert done.returncode == 3, done.stderr
    assert "Traceback" not in done.stderr + done.stdout
    (file,) = tmp_path.rglob("result.json")
    result = json.loads(file.read_text())
    assert result["state"] == "diverged"
    assert "the cap of 1 steps is reached" in result["message"]


def test_help_needs_no_torch(tmp_path):
    code = (
        "import sys; sys.argv = ['node-run', '--help']\n"
        "from node_runner.cli import main\n"
        "try:\n    main()\nfinally:\n    print('torch' in sys.modules, file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True
    )
    assert "ffjord_toy, latent_activity" in done.stdout
    assert done.stderr.strip() == "False"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("runtime.threads=0", "runtime.threads is 0, must be at least 1"),
        ("optimizer.lr=-1", "optimizer: Invalid learning rate: -1"),
        ("divergence=gaussian divergence.count=0", "divergence.count is 0, must be at least 1"),
    ],
)
def test_what_is_refused_while_building_is_a_mistake_too(override, message, tmp_path):
    done = node_run(tmp_path, *override.split())
    assert (done.returncode, done.stderr.strip()) == (2, f"node-run: {message}")


@pytest.mark.parametrize(
    ("line", "completed"),
    [
        ("node-run task=o", ["task=odenet_mnist"]),
        ("node-run solver.rt", ["solver.rtol="]),
        ("node-run model/st", ["model/stem="]),
    ],
)
def test_the_tab_key_completes_groups_choices_and_keys(line, completed, tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "node_runner", "-sc", "query=bash"],
        cwd=tmp_path,
        env={**os.environ, "COMP_LINE": line, "COMP_POINT": str(len(line))},
        capture_output=True,
        text=True,
    )
    assert done.stdout.split() == completed
