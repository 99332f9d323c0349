"""Mistakes of a user: one line on standard error that says what and where, exit code 2."""

import os
import re
import resource
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from forked import node_run
from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins

from node_runner import cli
from node_runner.cli.launchers import check_single_process

SMALL = ["trainer.max_steps=6", "data.test_size=16", "data.batch_size=8", "task.grid=8"]
SMALL += ["data.validation_size=8", "model.field.hidden=[8]"]


@pytest.fixture
def told(tmp_path, monkeypatch, capfd):
    """Runs node-run in an empty folder and returns its only line of complaint."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("torchvision.datasets.MNIST.mirrors", ["http://127.0.0.1:9/"])
    monkeypatch.setenv("NODE_RUNNER_DATA", str(tmp_path / "nowhere"))

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["node-run"])
        with pytest.raises(SystemExit) as ended:
            cli.main(list(arguments))
        shown = capfd.readouterr()
        assert ended.value.code == 2, shown
        assert "Traceback" not in shown.out + shown.err
        (line,) = shown.err.strip().splitlines()
        return line.removeprefix("node-run: ")

    return run


GOLDEN = Path(__file__).with_name("golden") / "mistakes.txt"
LINES = [block.split("\n") for block in GOLDEN.read_text().strip().split("\n\n")]
LINES = [(command.removeprefix("$ node-run "), line) for command, line in LINES]


def shown(line, folder):
    """A line without what differs between machines and grows with conf/."""
    return re.sub(r"choose from [^);]*", "choose from ...", line.replace(str(folder), "<here>"))


@pytest.mark.parametrize(("typed", "line"), LINES, ids=[typed for typed, _ in LINES])
def test_a_mistake_is_refused_by_this_line(typed, line, told, monkeypatch, tmp_path):
    """After a change: UPDATE_GOLDEN=1 python -m pytest tests/test_mistakes.py; read the diff."""
    if "launcher=" in typed:
        pytest.importorskip("hydra_plugins.hydra_joblib_launcher", reason="needs [launchers]")
        monkeypatch.setenv("PATH", "")
    seen = shown(told(*shlex.split(typed)), tmp_path)
    if os.environ.get("UPDATE_GOLDEN"):
        before = f"$ node-run {typed}\n{line}\n"
        GOLDEN.write_text(GOLDEN.read_text().replace(before, f"$ node-run {typed}\n{seen}\n"))
    else:
        assert seen == line


@pytest.mark.parametrize(
    ("launcher", "choice"), [("joblib", "joblib"), ("slurm", "submitit_slurm")]
)
def test_a_launcher_that_is_not_installed_is_named(launcher, choice, told, monkeypatch):
    Plugins.instance()
    monkeypatch.delitem(ConfigStore.instance().repo["hydra"]["launcher"], f"{choice}.yaml", False)
    needs = f"needs hydra-{choice.partition('_')[0]}-launcher: pip install 'node-runner[launchers]'"
    assert told("-m", "seed=0,1", f"launcher={launcher}") == f"launcher={launcher} {needs}"


PROCESSES = [
    ({"WORLD_SIZE": "2", "RANK": "0"}, "WORLD_SIZE is 2"),
    ({"OMPI_COMM_WORLD_SIZE": "4"}, "OMPI_COMM_WORLD_SIZE is 4"),
    ({"SLURM_NTASKS": "2", "SLURM_STEP_NUM_TASKS": "2", "SLURM_STEP_ID": "0"}, "SLURM_STEP_NUM"),
    ({"SLURM_NTASKS": "3", "SLURM_PROCID": "1"}, "SLURM_NTASKS is 3"),
]


@pytest.mark.parametrize(("variables", "what"), PROCESSES, ids=[what for _, what in PROCESSES])
def test_one_of_several_processes_does_not_train_what_the_others_train(
    variables, what, told, monkeypatch, tmp_path
):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    for typed in ([], ["-m", "seed=0,1"], ["mode=fetch"]):
        line = told(*typed)
        assert what in line and "a run takes one process" in line
    assert not list(tmp_path.iterdir())


ALONE = [{"WORLD_SIZE": "1"}, {"SLURM_NTASKS": "4", "SLURM_PROCID": "0"}]
ALONE += [{"SLURM_NTASKS": "1", "SLURM_STEP_NUM_TASKS": "1", "SLURM_STEP_ID": "0"}]


@pytest.mark.parametrize("variables", ALONE, ids=str)
def test_a_single_process_of_a_cluster_trains(variables, monkeypatch):
    """Under torchrun with one process, in a script of sbatch, and in a job of submitit."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    check_single_process()


@pytest.mark.skipif(torch.cuda.is_available(), reason="a CUDA device is here")
def test_an_absent_device_is_named(told):
    assert told("runtime=cuda").endswith("torch sees no CUDA device; use runtime=cpu")


def test_absent_data_without_a_network_are_named_and_how_to_fetch_them(told, tmp_path):
    line = told("task=odenet_mnist")
    assert f"{tmp_path / 'nowhere' / 'MNIST' / 'raw'} lacks train-images-idx3-ubyte" in line
    assert "node-run mode=fetch task=odenet_mnist" in line
    assert "NODE_RUNNER_DATA" in line
    assert "lacks train-images" in told("mode=fetch", "task=odenet_mnist")


def test_a_damaged_file_of_data_is_named(told, tmp_path):
    file = tmp_path / "nowhere" / "MNIST" / "raw" / "t10k-labels-idx1-ubyte.gz"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"not what was published")
    assert f"{file} is damaged: its md5 is" in told("task=odenet_mnist")


@pytest.mark.parametrize("out", ["a file", "/proc/nothing"])
def test_an_output_folder_that_cannot_be_written_to_is_named(out, told, tmp_path):
    (tmp_path / "a file").touch()
    line = told(f"paths.out='{out}'", *SMALL)
    assert out in line
    assert "set paths.out to a folder that can be written to" in line


@pytest.mark.parametrize(
    ("typed", "key"),
    [
        ("model.field.dim=3", "model.field.dim=2"),
        ("model=stack model.dim=3", "model.dim=2"),
        ("model=planar_nf model.dim=3", "model.dim=2"),
    ],
)
def test_a_model_of_another_dimension_than_the_data_is_refused_by_its_key(typed, key, told):
    line = told(*typed.split())
    said = "the model is for samples of shape [3] and 8gaussians has [2]"
    assert line == f"{said}: set {key}"


def test_an_exact_divergence_of_images_is_refused_with_its_cost(told, tmp_path):
    for split, count in (("train", 6), ("test", 2)):
        np.save(tmp_path / f"{split}.npy", np.zeros((count, 12, 12), np.uint8))
    images = ["task=ffjord_mnist", "data=npy_pixels", f"data.folder='{tmp_path}'"]
    images += ["data.batch_size=2", "data.held_out=2"]
    small = ["model.shape=[1,12,12]", "model.field.hidden=[2]"]
    for option in ("divergence", "eval_divergence"):
        line = told(*images, *small, f"{option}=exact")
        assert "the exact divergence of 144 dimensions takes 144 vector-Jacobian products" in line
        assert "divergence=rademacher and eval_divergence=rademacher take one" in line
    assert "samples of shape [1, 28, 28] and npy_pixels has [1, 12, 12]" in told(*images)


def test_weights_of_another_architecture_are_refused(told, tmp_path):
    run = node_run(tmp_path, *SMALL)
    assert run.returncode == 0, run.stderr
    (folder,) = (path.parent for path in tmp_path.rglob("command.yaml"))
    for mode, path in (("evaluate", folder), ("sample", folder / "checkpoints" / "last.pt")):
        line = told(f"mode={mode}", f"run='{path}'", "model.field.hidden=[9]")
        assert "last.pt: " in line or "best.pt: " in line
        assert "field.layers.0" in line and "has shape (8" in line and "not (9" in line
    line = told(f"resume='{folder}'", "model.field.hidden=[9]")
    assert "resumes a run with model.field.hidden=[8], but [9] was typed" in line


def test_a_full_disk_keeps_the_checkpoint_before_and_is_told_in_a_line(tmp_path):
    steps = "trainer.max_steps=6"
    first = node_run(tmp_path, *SMALL, "trainer.checkpoint_every=1", "trainer.max_steps=1")
    assert first.returncode == 0, first.stderr
    (last,) = tmp_path.rglob("last.pt")
    before = last.read_bytes()

    def no_room():
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) - 100,) * 2)

    full = node_run(tmp_path, f"resume={last.parents[1]}", steps, before=no_room)
    assert full.returncode == 2, full.stderr
    (line,) = full.stderr.strip().splitlines()
    assert f"cannot write {last}: File too large; the one there stays as it was" in line
    assert f"node-run resume={last.parents[1].relative_to(tmp_path)} goes on" in line
    assert last.read_bytes() == before
    again = node_run(tmp_path, f"resume={last.parents[1]}", steps)
    assert again.returncode == 0, again.stderr
