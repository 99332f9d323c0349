"""What rows are scaled by, and where a trajectory begins, belong to the run: evaluated, sampled and
resumed on other files it is as it was trained.
"""

import json

import numpy as np
import pytest
import torch
from forked import node_run
from omegaconf import OmegaConf

from node_runner.errors import UserError
from node_runner.runs.construct import Parts
from node_runner.runs.data_state import construct_data
from node_runner.training import load_checkpoint, save_checkpoint

FLOW = ["task=ffjord_miniboone", "data=npy", "data.folder=own", "data.standardise=true"]
FLOW += ["model.dim=2", "model.field.hidden=[8]", "trainer.max_steps=3", "data.batch_size=10"]
FLOW += ["tol=1e-4", "trainer.progress=false", "eval_divergence=exact", "runtime.threads=1"]
SHIFT, SWING = np.array([1e7, 101325.0]), np.array([1.0, 0.05])


def rows(n, seed):
    return SHIFT + SWING * np.random.default_rng(seed).normal(size=(n, 2))


def place(folder, test, seed=0):
    """Rows for training of their own, and these for the test."""
    folder.mkdir(parents=True)
    for name, x in (("train", rows(40, seed)), ("val", rows(10, 1)), ("test", test)):
        np.save(folder / f"{name}.npy", x)


def run(folder, *arguments, code=0):
    """The result of a run and the folder that it is in."""
    before = set(folder.rglob("result.json"))
    done = node_run(folder, *arguments)
    assert done.returncode == code, done.stderr
    (path,) = set(folder.rglob("result.json")) - before
    return json.loads(path.read_text()), path.parent, done.stdout + done.stderr


TEST = rows(12, 2)


@pytest.fixture(scope="module")
def flow(tmp_path_factory):
    folder = tmp_path_factory.mktemp("flow")
    place(folder / "own", TEST)
    place(folder / "other", np.concatenate((TEST, TEST)), seed=7)  # beside other training rows
    return folder, *run(folder, *FLOW, "hydra.run.dir=run")


def test_a_result_says_what_its_rows_were_scaled_by(flow):
    folder, result, made, text = flow
    scaling, train = result["data"]["scaling"], rows(40, 0)
    assert scaling["shift"] == pytest.approx(train.mean(0), rel=1e-15)
    assert scaling["scale"] == pytest.approx(train.std(0), rel=1e-9)
    assert scaling["nats"] == pytest.approx(np.log(train.std(0)).sum())
    assert f"{scaling['nats']:+.4f} nats in the files' units" in text
    stored = load_checkpoint(made / "checkpoints" / "last.pt")["data"]
    assert stored["shift"].tolist() == scaling["shift"]


def test_rows_of_the_test_are_as_likely_beside_other_rows(flow):
    folder, result, _, _ = flow
    other, _, _ = run(folder, "mode=evaluate", "run=run", "data.folder=other")
    one, two = (each["metrics"]["test/nll"] for each in (result, other))
    assert (one["n"], two["n"]) == (12, 24)
    assert two["mean"] == pytest.approx(one["mean"], abs=1e-5)
    assert other["data"]["scaling"] == result["data"]["scaling"]


def test_samples_are_in_the_units_of_the_files(flow):
    folder, result, _, _ = flow
    _, made, _ = run(folder, "mode=sample", "run=run", "data.folder=other")
    samples = np.load(made / "arrays" / "samples.npy")
    assert samples.dtype == np.float64
    u = (samples - result["data"]["scaling"]["shift"]) / result["data"]["scaling"]["scale"]
    assert np.abs(u).max() < 10
    assert len(np.unique(samples[:, 0])) == len(samples)


def test_a_checkpoint_that_does_not_hold_it_is_said_to_be_old(flow, tmp_path):
    folder, _, made, _ = flow
    state = load_checkpoint(made / "checkpoints" / "best.pt")
    old = made / "checkpoints" / "old.pt"
    save_checkpoint(old, {key: x for key, x in state.items() if key not in ("data", "format")})
    result, _, text = run(
        folder, "mode=evaluate", f"run={old.relative_to(folder)}", "data.folder=other"
    )
    assert text.count("of an earlier version and does not hold what its rows were scaled by") == 1
    assert result["data"]["scaling"]["shift"] == pytest.approx(rows(40, 7).mean(0), rel=1e-15)


def test_a_state_cannot_be_typed(tmp_path):
    done = node_run(tmp_path, *FLOW, "+data.state=x")
    assert done.returncode == 2
    assert "unknown data.state" in done.stderr


def test_a_run_goes_on_with_its_scaling_where_rows_were_added_since(flow):
    """The last test of the module, since it changes the run."""
    folder, result, made, _ = flow
    train = np.load(folder / "own" / "train.npy")
    np.save(folder / "own" / "train.npy", np.concatenate((train, 3 * train)))
    done = node_run(folder, "resume=run", "trainer.max_steps=4")
    assert done.returncode == 0, done.stderr
    again = json.loads((made / "result.json").read_text())
    assert again["steps"] == 4
    assert again["data"]["scaling"] == result["data"]["scaling"]


def test_a_trajectory_of_an_earlier_version_is_evaluated(tmp_path):
    """Its units are float32, and its origin is not stored."""
    lines = "".join(f"{i / 8},{np.cos(i / 8):.6f}\n" for i in range(40))
    (tmp_path / "own.csv").write_text("t,x\n" + lines)
    own = ("task=trajectory", "data=csv", "data.file=own.csv", "trainer.max_steps=2")
    result, made, _ = run(tmp_path, *own, "task.field.hidden=[4]", "hydra.run.dir=run")
    state = load_checkpoint(made / "checkpoints" / "best.pt")
    state = {key: x for key, x in state.items() if key not in ("data", "format")}
    for name in ("mean", "sd", "time"):
        key = f"dynamics.units.{name}"
        state["task"][key] = state["task"][key].float()
    save_checkpoint(made / "checkpoints" / "old.pt", state)
    old, _, text = run(tmp_path, "mode=evaluate", "run=run/checkpoints/old.pt")
    assert "of an earlier version and does not hold what its rows were scaled by" in text
    for name in ("test/rmse", "test/rmse_beyond"):
        assert old["metrics"][name]["mean"] == pytest.approx(
            result["metrics"][name]["mean"], rel=1e-4
        )


@pytest.mark.parametrize(
    "odd", ["text", {"shift": torch.zeros(2)}, {"shift": 1, "scale": 2, "columns": 3}]
)
def test_a_malformed_state_of_the_data_is_refused_in_a_line(odd, flow, tmp_path, monkeypatch):
    folder, _, made, _ = flow
    monkeypatch.chdir(folder)
    (tmp_path / "checkpoints").mkdir()
    state = load_checkpoint(made / "checkpoints" / "last.pt") | {"data": odd}
    save_checkpoint(tmp_path / "checkpoints" / "last.pt", state)
    with pytest.raises(UserError, match="data"):
        config = OmegaConf.load(made / "config.yaml")
        construct_data(Parts(config), config, tmp_path, torch.device("cpu"))
