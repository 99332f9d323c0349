"""Mistakes of a user: one line on standard error that says what and where, exit code 2."""

import resource
import sys

import numpy as np
import pytest
import torch
from forked import node_run
from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins

from node_runner import cli
from node_runner.launcher import check_single_process

SMALL = ["trainer.max_steps=6", "data.test_size=16", "data.batch_size=8", "task.grid=8"]
SMALL += ["data.validation_size=8", "model.field.hidden=[8]"]
NEAR = "; did you mean "


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


NAMES = [
    ("solvr=dopri5", "unknown solvr", "solver?"),
    ("task=ffjord_to", "unknown task=ffjord_to", "ffjord_toy?"),
    ("task=odenet_mnist model=odnet", "unknown model=odnet", "odenet?"),
    ("task=odenet_mnist model/stem=rez", "unknown model/stem=rez", "res?"),
    ("solver=dopri", "unknown solver=dopri", "dopri8?"),
    ("solver.method=dopri6", "unknown method 'dopri6'", "'dopri8'?"),
    ("solver.rtoll=1", "unknown solver.rtoll", "solver.rtol?"),
    ("+solver.rtoll=1", "unknown solver.rtoll", "solver.rtol?"),
    ("++solver.rtoll=1", "unknown solver.rtoll", "solver.rtol?"),
    ("trainer.max_step=1", "unknown trainer.max_step", "trainer.max_steps?"),
    ("mode=evaluat run=.", "mode is 'evaluat'", "evaluate?"),
    ("solver.method=dopri6 solver.rtol=1e-3", "unknown method 'dopri6'", "'dopri8'?"),
    ("--cfg job task=ffjord_to", "unknown task=ffjord_to", "ffjord_toy?"),
    ("++paths.output=x", "unknown paths.output", "paths.out?"),
    ("regularizer=kinetic +regularizer.kinetc.weight=3", "regularizer.kinetc", "regularizer.kin"),
    ("-m sweep=tolerances", "unknown sweep=tolerances", "tolerance?"),
    ("trainer.best_on=tst", "trainer.best_on is 'tst'", "test?"),
    ("-m launcher=joblb seed=0,1", "unknown launcher=joblb", "joblib?"),
    ("hydra.sweep.dirr=x", "unknown hydra.sweep.dirr", "hydra.sweep.dir?"),
]


@pytest.mark.parametrize(("typed", "what", "near"), NAMES, ids=[name for name, _, _ in NAMES])
def test_a_misspelt_name_is_refused_with_the_nearest_one(typed, what, near, told):
    line = told(*typed.split())
    assert what in line
    assert NEAR + near in line


VALUES = [
    ("sweep=tolerance", "sweep= is several jobs: node-run -m ... runs them"),
    ("tol=0", "tol is 0, must be positive"),
    ("tol=-1e-3", "tol is -0.001, must be positive"),
    ("tol=small", "tol is 'small', must be a number"),
    ("runtime.device=tpu", "runtime.device is 'tpu', must be one of auto, cpu, cuda"),
    ("runtime.amp=yes please", "runtime.amp is 'yes please', must be true or false"),
    ("data.batch_size=0", "data.batch_size is 0, must be at least 1"),
    ("data.batch_size=1.5", "data.batch_size is 1.5, must be an integer"),
    ("solver=rk4 solver.step_size=0", "solver.step_size is 0.0, must be positive"),
    ("solver=rk4 ~solver.step_size", "solver.step_size is missing: rk4 takes fixed steps"),
    ("solver=rk4 solver.rtol=1e-3", "solver.rtol does nothing: rk4 takes fixed steps"),
    ("trainer.max_time=0", "trainer.max_time is 0, must be positive"),
    ("trainer.ema=2", "trainer.ema is 2, must be between 0 and 1"),
    ("schedule.milestones=[-1]", "schedule.milestones is [-1], must be positive"),
    ("trainer.best_on=null trainer.patience=3", "trainer.patience needs trainer.best_on"),
    ("seed=100000000000000000000", "must be from 0 to 2^63 - 1"),
    ("seed=-1", "seed is -1, must be from 0 to"),
    ("trainer=null", "Config group override"),
    ("~trainer", "trainer is missing"),
    ("~task", "task is missing"),
    ("paths.out=null", "paths.out is None, must be a word"),
    ("paths.out=", "paths.out is empty: name a folder"),
    ("-m seed=0,1 paths.out=''", "paths.out is empty: name a folder"),
    ("paths.data=", "paths.data is empty: name a folder"),
    ("trust=3", "trust is 3, must be a package or a list of them"),
    ("accept_edits=maybe", "accept_edits is 'maybe', must be true or false"),
    ("model.steer=2", "model.steer is 2, must be from 0 to below"),
    ("model=stack model.dim=2 model.cnf.steer=2", "model.cnf.steer is 2, must be from 0 to below"),
    ("model=stack model.dim=2 model.cnf.end_time=0", "model.cnf.end_time is 0, must be positive"),
    ("model=odenet", "task.flow is a ODENet, must be a Flow"),
    ("model.field.hidden=[-1]", "task.flow.field: "),
    ("--config-dir nowhere task=x", "--config-dir nowhere: there is no such folder"),
    (
        "task=odenet_mnist model=resnet gradient=replay",
        "gradient=replay: this task and model have no gradient",
    ),
    ("task=odenet_mnist model=mlp model/stem=res", "model have no model/stem to choose"),
    ("hydra.job.chdir=x", "hydra.job.chdir=x: Value 'x' is not a valid bool"),
    ("++model._args_=[a,null]", "task.flow: CNF.__init__() got multiple values"),
    (
        "task=latent_spirals model.dynamics.field.dim=3",
        "do not fit together: mat1 and mat2 shapes cannot be multiplied",
    ),
    ("solver.atol=[1e-3]", "solver.atol has 1 values for 2 entries (the state's, then"),
    ("+solver.error_norm=max", "solver.error_norm is 'max', must be a node whose _target_"),
    ("solver=rk4 +solver.max_step=0.1", "solver.max_step is 0.1, but rk4 takes fixed steps"),
    ("-m seed=0,1 hydra.launcher.n_jobs=2", "hydra.launcher.n_jobs=2 is not for launcher=serial"),
    ("-m launcher=serial,joblib", "all jobs of a sweep have the same launcher"),
    ("-m seed=0,1 --cfg job", "Only one of --run, --multirun, --cfg"),
]


@pytest.mark.parametrize(("typed", "message"), VALUES, ids=[value for value, _ in VALUES])
def test_an_impossible_value_is_refused_by_name(typed, message, told):
    typed = ["runtime.amp=yes please"] if "please" in typed else typed.split()
    assert message in told(*typed)


LAUNCHERS = [
    ("launcher=joblib", "launcher=joblib is for several jobs: node-run -m ... runs them"),
    ("-m launcher=joblib hydra.launcher.n_job=2", "did you mean hydra.launcher.n_jobs?"),
    ("-m launcher=joblib hydra.launcher.n_jobs=x", "hydra.launcher.n_jobs=x: Value 'x' of type"),
    ("-m launcher=joblib hydra.launcher.n_jobs=0", "n_jobs == 0 in Parallel has no meaning"),
    ("-m launcher=slurm", "launcher=slurm needs a cluster: there is no sbatch here"),
    ("-m launcher=slurm hydra.launcher.tasks_per_node=2", "a run takes one process; leave it"),
]


@pytest.mark.parametrize(("typed", "message"), LAUNCHERS, ids=[typed for typed, _ in LAUNCHERS])
def test_a_launcher_that_does_not_suit_is_refused(typed, message, told, monkeypatch):
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher", reason="needs the extra [launchers]")
    monkeypatch.setenv("PATH", "")
    assert message in told(*typed.split(), "solver=rk4,dopri5" if "-m" in typed else "seed=1")


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


RUNS = [
    ("resume=nothing", "resume=nothing: there is no such folder"),
    ("resume=.", "resume=. is no run"),
    ("resume=0", "resume=0: there is no such folder"),
    ("resume=a=b", "a path with odd signs needs quotes"),
    ("mode=evaluate run=.", "run=. is no run"),
    ("mode=evaluate run=nothing/checkpoints/last.pt", "there is no such folder"),
    ("mode=evaluate", "mode=evaluate, or mode=sample, and run=PATH go together"),
    ("run=x", "mode=evaluate, or mode=sample, and run=PATH go together"),
    ("mode=evaluate run=x resume=auto", "it does not go with mode=evaluate"),
    ("-m resume=x seed=0,1", "with -m there is resume=auto"),
    ("-m mode=evaluate run=x,y", "run takes one folder"),
]


@pytest.mark.parametrize(("typed", "message"), RUNS, ids=[run for run, _ in RUNS])
def test_what_is_no_run_is_refused(typed, message, told):
    assert message in told(*typed.split())


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
    assert "goes on with model.field.hidden=[8], but [9] was typed" in line


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
