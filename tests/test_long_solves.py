"""Solves that take too much memory or too long, on the command line."""

import json

import pytest
from forked import node_run

SMALL = ["task=ffjord_toy", "data.batch_size=64", "data.validation_size=64", "data.test_size=64"]
SMALL += ["model.field.hidden=[16]", "data.epoch_steps=1000", "task.grid=8", "runtime=cpu"]


def result_of(folder):
    (path,) = folder.rglob("result.json")
    return json.loads(path.read_text())


@pytest.mark.parametrize(
    "options, cause",
    [
        (["solver=rk4", "solver.step_size=1e-3", "gradient.max_mib=8"], "gradient.max_mib of 8"),
        (["solver=rk4", "solver.step_size=1e-9"], "takes 5e+08 steps"),
    ],
)
def test_a_solve_that_would_fill_the_memory_ends_as_diverged(options, cause, tmp_path):
    process = node_run(tmp_path, *SMALL, *options, "trainer.max_steps=20")
    assert process.returncode == 3, process.stdout + process.stderr
    result = result_of(tmp_path)
    assert result["state"] == "diverged" and cause in result["message"]
    assert "gradient=replay" in result["message"] or "step_size" in result["message"]
