"""node-report reads the runs of node-run."""

import json

import pytest
from forked import node_run
from report_cases import CONTENT
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.metadata import SESSION_START_INFO_TAG
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData
from test_cli import SMALL

from node_runner.report.cli import main


@pytest.fixture(scope="module")
def outputs(tmp_path_factory):
    """Two seeds, and one of them evaluated at another tolerance."""
    folder = tmp_path_factory.mktemp("real")
    options = [*SMALL, "regularizer=jacobian", "regularizer.jacobian.weight=0"]
    done = node_run(folder, "-m", *options, "trainer.validate_every=5", "seed=0,1")
    assert done.returncode == 0, done.stderr
    (run,) = (path.parent for path in folder.rglob("0/result.json"))
    done = node_run(folder, "-m", "mode=evaluate", f"run={run}", "eval_tol=1e-2")
    assert done.returncode == 0, done.stderr
    return folder / "outputs"


def test_a_result_has_the_fields_of_the_cases(outputs):
    files = list(outputs.rglob("result.json"))
    assert len(files) == 3
    for file in files:
        content = json.loads(file.read_text())
        assert content.keys() == CONTENT.keys()
        for name in ("headline", "data", "nfe", "memory"):
            assert content[name].keys() == CONTENT[name].keys()
        assert content["protocol"].keys() >= CONTENT["protocol"].keys()
        assert content["typed"][: len(SMALL)] == SMALL
        assert content["options"]["seed"] == content["seed"]


def test_seeds_are_put_together_and_figures_drawn(outputs, tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        main([str(outputs), "--out", str(tmp_path)])
    assert ended.value.code == 0, capsys.readouterr().err
    text = (tmp_path / "report.md").read_text()
    assert "## ffjord_toy: runs" in text and "## ffjord_toy: evaluations" in text
    row = next(line for line in text.splitlines() if "seeds 0, 1" in line)
    assert "±" in row and "s.e." not in row
    for name in ("nfe_training", "nfe_jacobian", "bits_time", "density_tolerance"):
        assert f"({name}.png)" in text
        assert (tmp_path / f"{name}.svg").exists()
    assert "error_nfe" not in text  # a flow's solves are not measured


def test_the_hyperparameters_of_tensorboard_are_what_was_typed(outputs):
    run = next(outputs.rglob("1/result.json")).parent
    events = EventAccumulator(str(run / "tb")).Reload()
    content = events.SummaryMetadata(SESSION_START_INFO_TAG).plugin_data.content
    shown = dict(HParamsPluginData.FromString(content).session_start_info.hparams)
    typed = [
        option.split("=")[0] for option in json.loads((run / "result.json").read_text())["typed"]
    ]
    assert set(typed) - set(shown) == {"runtime.threads", "trainer.log_every"}
    assert set(shown) < set(typed)
    assert shown["trainer.max_steps"].number_value == 12
    assert shown["regularizer"].string_value == "jacobian"
