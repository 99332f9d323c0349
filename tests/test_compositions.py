"""A run composes and checks its configuration once, a sweep that of each job once."""

import importlib
import json

import pytest
from forked import node_run
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from test_cli import SMALL

SWEEP = ["-m", "seed=0,1,2", "solver=rk4,rk38", "solver.step_size=0.25"]


def counting(folder):
    """Record each composition and each check in a file, called in the process of the run."""

    def recorded(function, name):
        def wrapper(*args, **kwargs):
            with open(folder / name, "a") as file:
                file.write("x")
            return function(*args, **kwargs)

        return wrapper

    def before():
        load = recorded(ConfigLoaderImpl.load_configuration, "compositions")
        ConfigLoaderImpl.load_configuration = load
        for module in ("node_runner.cli.validation", "node_runner.runs.job"):
            module = importlib.import_module(module)
            module.check = recorded(module.check, "checks")

    return before


def test_whole_numbers_with_an_exponent_reach_the_run(tmp_path):
    typed = ["model.field.hidden=[1e1]", "trainer.max_steps=2e0"]
    for sweep in ([], ["-m", "seed=0,1"]):
        done = node_run(tmp_path, *sweep, *SMALL[1:5], "runtime.threads=1", *typed)
        assert done.returncode == 0, done.stderr
    for file in tmp_path.rglob("result.json"):
        options = json.loads(file.read_text())["options"]
        assert repr(options["model.field.hidden"]) == "[10]" and options["trainer.max_steps"] == 2


@pytest.mark.parametrize(("typed", "jobs"), [([], 1), (SWEEP, 6)], ids=["run", "sweep"])
def test_each_job_is_composed_and_checked_once(typed, jobs, tmp_path):
    done = node_run(tmp_path, *typed, *SMALL, before=counting(tmp_path))
    assert done.returncode == 0, done.stderr
    assert len((tmp_path / "compositions").read_text()) == jobs
    assert len((tmp_path / "checks").read_text()) == jobs
