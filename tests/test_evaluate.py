"""A finished run evaluated again; data fetched; what is switched on for one run only."""

import json

import pytest
from forked import node_run
from test_cli import SMALL

FEW = [*SMALL, "data.epoch_steps=4", "runtime.amp=true", "runtime.profile=true"]


def results(folder):
    found = [json.loads(path.read_text()) for path in sorted(folder.rglob("result.json"))]
    return [result for result in found if result["mode"] == "evaluate"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("a run with spaces")
    done = node_run(folder, *FEW, "trainer.ema=0.5")
    assert done.returncode == 0, done.stderr
    (result,) = folder.rglob("result.json")
    return result.parent, done.stdout


def test_a_run_is_evaluated_with_the_weights_that_it_chose(run, tmp_path):
    folder, _ = run
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.name != ".lock"}
    done = node_run(tmp_path, "mode=evaluate", f"run='{folder}'")
    assert done.returncode == 0, done.stderr
    (result,) = results(tmp_path)
    trained = json.loads((folder / "result.json").read_text())
    assert result["metrics"] == trained["metrics"]
    assert result["protocol"]["weights"]["step"] == trained["protocol"]["weights"]["step"]
    assert result["nfe"] == {**trained["nfe"], "forward": None, "backward": None}
    assert before == {path: path.stat().st_mtime_ns for path in before}


def test_a_sweep_evaluates_at_each_tolerance_of_another_solver(run, tmp_path):
    folder, _ = run
    sweep = ["-m", "mode=evaluate", f"run='{folder}'", "eval_solver=tsit5"]
    done = node_run(tmp_path, *sweep, "eval_tol=1e-1,1e-7")
    assert done.returncode == 0, done.stderr
    loose, tight = results(tmp_path)
    for result, tol in ((loose, 1e-1), (tight, 1e-7)):
        assert result["protocol"]["eval_solver"]["method"] == "tsit5"
        assert result["protocol"]["eval_solver"]["rtol"] == tol
        assert result["protocol"]["solver"]["method"] == "dopri5"
    assert loose["nfe"]["evaluation"] < tight["nfe"]["evaluation"]


def test_a_checkpoint_can_be_named(run, tmp_path):
    folder, _ = run
    done = node_run(tmp_path, "mode=evaluate", f"run='{folder}/checkpoints/previous.pt'")
    assert done.returncode == 0, done.stderr
    (result,) = results(tmp_path)
    assert result["steps"] < 12
    assert result["protocol"]["weights"]["chosen"].endswith("previous.pt")


def test_bfloat16_is_warned_of_and_a_trace_lies_beside_the_curves(run):
    folder, text = run
    assert "bfloat16 keeps 8 bits" in text
    (trace,) = (folder / "tb").glob("*.pt.trace.json")
    assert "ProfilerStep#5" in trace.read_text()


def test_data_that_need_no_file_are_fetched_at_once(tmp_path):
    done = node_run(tmp_path, "mode=fetch", "data.test_size=7")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("8gaussians (generated): 1,000 validation, 7 test; in ")
    assert not list(tmp_path.rglob("result.json"))
    assert not list((tmp_path / "outputs").rglob("20*"))
