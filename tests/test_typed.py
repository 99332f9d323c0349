"""What may be typed: flags and overrides in any order, paths of any name, keys of swept groups."""

import json
import os
from math import inf, nan

import pytest
from forked import node_run
from fuzzed_configurations import configuration, outcome
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf, open_dict
from test_cli import SMALL

from node_runner.cli.overrides import MAX_DEPTH, PATHS, parse
from node_runner.cli.sweep import sweep_folder
from node_runner.errors import UserError
from node_runner.runs import config, schema
from node_runner.runs.paths import quoted

ODD = [
    "it's",
    "a b",
    "a,b",
    "a=b",
    "[a] {b} (c)",
    "läufe",
    "a\\",
    "\\'",
    "${a}",
    "0",
    "1_000",
    "1e3",
]
ODD += ["true", "null", '"', "~a", "-x", "a:b", "#", "%s", "007"]


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("key", PATHS)
def test_a_path_of_any_name_is_typed_in_quotes(key, name):
    (override,) = parse([f"{key}={quoted(name)}"]).overrides
    assert override.value() == name.replace("${", "\\${")
    config.register()
    if key == "paths.out":
        with initialize_config_dir(str(config.FOLDER), version_base=config.VERSION_BASE):
            assert compose("config", [override.input_line]).paths.out == name


@pytest.mark.parametrize(
    "name", ["it's", "a b", "läufe", "a (1)", "a[1]", "0", "12", "1e3", "true"]
)
@pytest.mark.parametrize("key", PATHS)
def test_a_path_needs_no_quotes_where_it_can_mean_nothing_else(key, name):
    (override,) = parse([f"{key}={name}"]).overrides
    assert override.value() == name


@pytest.mark.parametrize("typed", ["{}=~/x", "{}='~/x'", '{}="~/x"'])
@pytest.mark.parametrize("key", [*PATHS, "data.own", "+data.own"])
def test_the_home_folder_is_meant_by_its_sign(key, typed, monkeypatch):
    monkeypatch.setenv("HOME", "/a home/of's")
    (override,) = parse([typed.format(key)] if key in PATHS else [f"{key}='~/x'"]).overrides
    assert override.value() == "/a home/of's/x"


def test_the_home_folder_is_meant_in_lists_and_sweeps_and_nowhere_else(monkeypatch):
    monkeypatch.setenv("HOME", "/home")
    texts = parse(["a=~/x,~/y", "a=[~/x,'~/y']", "a='x~/y'", "~a.b", "--config-dir", "."]).texts
    assert texts == ["a=/home/x,/home/y", "a=[/home/x,'/home/y']", "a='x~/y'", "~a.b"]


@pytest.mark.parametrize("flags", [["-m"], ["--cfg", "job"], ["--config-dir", "."], ["-h"]])
def test_flags_stand_anywhere_among_the_overrides(flags):
    first = parse([*flags, "a=1", "b=2,3"])
    assert parse(["a=1", *flags, "b=2,3"]) == parse(["a=1", "b=2,3", *flags]) == first
    assert first.texts == ["a=1", "b=2,3"]


MISTAKES = [
    (["--experimental-rerun", "x"], "resume=PATH resumes a run"),
    (["--config-path", "x"], "--config-dir DIR adds files of your own"),
    (["--config-name", "x"], "--config-dir DIR adds files of your own"),
    (["--resolve"], "--resolve goes with --cfg job"),
    (["--package", "model"], "--package model goes with --cfg job"),
    (["--info", "x"], "invalid choice: 'x'"),
    (["--nope"], "unrecognized arguments: --nope"),
    (["-m", "--cfg", "job"], "Only one of --run, --multirun, --cfg"),
    ([f"tol={'[' * 150}1{']' * 150}"], f"is 150 brackets deep, must be at most {MAX_DEPTH}"),
    ([f"seed={'9' * 5000}"], "Exceeds the limit"),
    (["solver"], "'solver' is not an override"),
]  # fmt: skip


@pytest.mark.parametrize(("typed", "message"), MISTAKES, ids=[m for _, m in MISTAKES])
def test_a_mistake_in_flags_or_grammar_is_told_in_a_line(typed, message):
    with pytest.raises(UserError) as told:
        parse(typed)
    assert message in str(told.value)
    assert "\n" not in str(told.value)


def results(folder):
    found = [json.loads(path.read_text()) for path in sorted(folder.rglob("result.json"))]
    return [(result["state"], result["options"]) for result in found]


def test_a_sweep_over_methods_takes_their_own_keys(tmp_path):
    sweep = ["-m", "solver=rk4,rk38", *SMALL, "solver.step_size=0.2", "eval_solver.step_size=0.5"]
    done = node_run(tmp_path, *sweep)
    assert done.returncode == 0, done.stderr
    states, options = zip(*results(tmp_path), strict=True)
    assert states == ("done", "done")
    assert [o["solver.method"] for o in options] == ["rk4", "rk38"]
    assert {(o["solver.step_size"], o["eval_solver.step_size"]) for o in options} == {(0.2, 0.5)}


@pytest.mark.parametrize("swept", ["solver=rk4,dopri5", "solver=dopri5,rk4"])
def test_a_key_that_one_job_of_a_sweep_lacks_is_refused_with_that_job(swept, tmp_path):
    done = node_run(tmp_path, "-m", swept, *SMALL, "solver.step_size=0.2")
    assert done.returncode == 2
    (line,) = done.stderr.strip().splitlines()
    assert "the job with solver=dopri5: unknown solver.step_size" in line


def test_a_sweep_in_a_folder_with_odd_signs_is_evaluated_by_the_number_of_a_job(tmp_path):
    name = "it's, [ä] = 1"
    sweep = ["solver=tsit5", "-m", *SMALL, f"paths.out={quoted(name)}", "seed=0,1"]
    done = node_run(tmp_path, *sweep)
    assert done.returncode == 0, done.stderr
    (sweep,) = {path.parents[1] for path in (tmp_path / name).rglob("command.yaml")}
    here = node_run(sweep, "mode=evaluate", "run=0")
    assert here.returncode == 0, here.stderr
    modes = [json.loads(path.read_text())["mode"] for path in sweep.rglob("result.json")]
    assert sorted(modes) == ["evaluate", "train", "train"]
    again = node_run(sweep, "resume=1")
    assert again.returncode == 0, again.stderr


def test_the_folder_of_a_sweep_over_many_keys_has_a_name_that_a_disk_takes():
    keys = [f"model.some_field.option_{i}" for i in range(15)]
    overrides = [parse([f"{key}=1,2"]).overrides[0] for key in keys]
    name = sweep_folder("sweep", overrides).name
    assert len(name) < 160
    assert name.startswith(f"sweep_{keys[0]}_{keys[1]}")
    assert name != sweep_folder("sweep", overrides[:-1]).name


def test_a_group_is_chosen_once_and_a_value_may_be_given_again(tmp_path):
    done = node_run(tmp_path, "solver=rk4", *SMALL, "solver=tsit5")
    assert done.returncode == 2
    assert "solver=rk4 and solver=tsit5: solver is chosen twice" in done.stderr
    again = node_run(tmp_path, "solver=rk4", "solver=rk4", "seed=1", *SMALL, "seed=2")
    assert again.returncode == 0, again.stderr
    assert results(tmp_path)[0][1]["seed"] == 2


@pytest.fixture(scope="module")
def composed():
    """The configuration of the default task, with some values changed."""
    config.register()
    with initialize_config_dir(str(config.FOLDER), version_base=config.VERSION_BASE):
        whole = compose("config")

    def changed(**values):
        made = whole.copy()
        with open_dict(made):
            for key, value in values.items():
                OmegaConf.update(made, key.replace("__", "."), value, merge=False)
        return made

    return changed


def test_a_whole_number_may_be_written_with_an_exponent(composed):
    made = composed(trainer__max_steps=1e5, model__field__hidden=[1e1, 16.0], seed=1e1, tol=1.0)
    schema.check(made)
    assert repr(made.trainer.max_steps) == "100000"
    assert repr(list(made.model.field.hidden)) == "[10, 16]"
    assert (repr(made.seed), repr(made.tol)) == ("10", "1.0")
    with pytest.raises(UserError, match=r"trainer\.max_steps is 1\.5, must be an integer"):
        schema.check(composed(trainer__max_steps=1.5))


@pytest.mark.parametrize("number", [nan, inf, -inf, 1e300, -1e39, 10**25, -(10**25)])
@pytest.mark.parametrize("key", ["tol", "optimizer__lr", "trainer__max_steps", "seed"])
def test_a_number_beyond_what_computes_with_it_is_refused(key, number, composed):
    with pytest.raises(UserError, match=rf"{key.replace('__', '.')} is .*, must be"):
        schema.check(composed(**{key: number}))


TARGETS = [None, 1, ["a"], {}, "", "os.system", "builtins.input", "torch", "math.pi", "torch.nope"]
TARGETS += ["node_runner.ode.Solver.nope", "a..b", "sys.exit", "builtins.dict", "torch.nn.Linear"]


@pytest.mark.parametrize("target", TARGETS, ids=str)
@pytest.mark.parametrize("node", ["task", "data", "solver", "trainer", "model__field"])
def test_what_makes_no_such_object_is_refused_by_name(node, target, composed, capfd):
    with pytest.raises(UserError) as told:
        schema.check(composed(**{f"{node}___target_": target}))
    assert "\n" not in str(told.value).strip()
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("target", ["builtins.input", "builtins.dict", "node_runner.fields.MLP"])
def test_an_object_of_another_kind_is_refused_where_it_is_handed_over(target, composed):
    with pytest.raises(UserError, match=r"solver\.gradient"):
        schema.check(composed(solver__gradient={"_target_": target}))


SPECIAL = [("_partial_", "x"), ("_recursive_", 3), ("_args_", "x"), ("_convert_", None)]


@pytest.mark.parametrize(("key", "value"), SPECIAL)
@pytest.mark.parametrize("node", ["schedule", "solver", "model", "optimizer"])
def test_hydras_keys_of_a_node_have_their_types(node, key, value, composed):
    with pytest.raises(UserError, match=rf"{node}\.{key} is {value!r}, must be"):
        schema.check(composed(**{f"{node}__{key}": value}))


@pytest.mark.parametrize("group", ["paths", "regularizer", "task", "data", "optimizer"])
def test_a_value_in_place_of_a_group_is_refused(group, composed):
    with pytest.raises(UserError, match=rf"^{group} is "):
        schema.check(composed(**{group: 3}))


def stands_for(stream):
    """What is called in the child first: a stream that cannot be written to."""

    def closed():
        read, write = os.pipe()
        os.close(read)
        os.dup2(write, stream)

    def full():
        os.dup2(os.open("/dev/full", os.O_WRONLY), stream)

    return {"closed": closed, "full": full}


@pytest.mark.parametrize("kind", ["closed", "full"])
def test_a_run_ends_as_it_would_when_nobody_reads(kind, tmp_path):
    done = node_run(tmp_path, *SMALL, before=lambda: [stands_for(s)[kind]() for s in (1, 2)])
    assert done.returncode == 0
    assert "Traceback" not in done.stdout + done.stderr
    assert results(tmp_path)[0][0] == "done"


def test_a_terminal_that_lacks_a_sign_and_a_notebook_change_nothing(tmp_path):
    def before():
        import sys

        sys.stdout.reconfigure(encoding="ascii", errors="strict")
        os.environ["MPLBACKEND"] = "module://matplotlib_inline.backend_inline"

    done = node_run(tmp_path, *SMALL, before=before)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert "test nll" in done.stdout and "\\xb1" in done.stdout
    assert list(tmp_path.rglob("figures/*.png"))


@pytest.mark.parametrize(
    "typed", ["data.batch_size=1000000000000", "model.field.hidden=[10000000,10000000]"]
)
def test_what_is_too_large_for_the_memory_is_told_in_a_line(typed, tmp_path):
    done = node_run(tmp_path, *[text for text in SMALL if not typed.startswith(text[:9])], typed)
    assert done.returncode == 2, done.stderr
    (line,) = done.stderr.strip().splitlines()
    assert "out of memory: there is no room for" in line
    assert "reduce data.batch_size or the sizes of the model" in line


def test_the_home_folder_is_meant_by_files_and_the_environment_too(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("NODE_RUNNER_DATA", "~/data")
    there = tmp_path / "mine" / "data"
    there.mkdir(parents=True)
    text = "_target_: node_runner.data.csv.Csv\nfile: ~/none.csv\n"
    (there / "own.yaml").write_text(text)
    done = node_run(tmp_path, "task=odenet_mnist", "mode=fetch")
    assert f"{tmp_path}/home/data/MNIST" in done.stderr
    own = node_run(tmp_path, "task=trajectory", "data=own", "--config-dir", "mine")
    assert f"{tmp_path}/home/none.csv" in own.stderr
    assert not (tmp_path / "~").exists()


def test_random_configurations_end_by_themselves_and_in_a_line(tmp_path):
    """A few of those that ``python tests/fuzzed_configurations.py 1000`` tries."""

    def before():
        found = [outcome(configuration(number)) for number in range(2000, 2006)]
        faults = [f"{one.fault}: {one.argv}\n{one.text}" for one in found if one.fault]
        os.write(1, "\n".join(faults).encode())
        os._exit(len(faults))

    done = node_run(tmp_path, before=before)
    assert done.returncode == 0, done.stdout


def test_what_hydra_refuses_when_it_starts_a_run_is_told_in_a_line(tmp_path):
    for typed in (["hydra.run.dir='${nope}'"], ["+hydra.callbacks.x._target_=nope.Thing"]):
        done = node_run(tmp_path, *SMALL, *typed)
        assert done.returncode == 2, done.stderr
        assert done.stderr.count("\n") == 1 and "nope" in done.stderr
