"""A run's folder that somebody else made: what it names is not run, written to or read from the
environment, in whatever mode it is used.
"""

import os
import re
import shutil
import sys
from pathlib import Path

import pytest
import torch
import yaml
from forked import node_run
from omegaconf import OmegaConf

from node_runner.cli import overrides as cli_overrides
from node_runner.cli import stored_command
from node_runner.errors import UserError
from node_runner.runs import config, lock, store, trust
from node_runner.runs.construct import Parts
from node_runner.runs.data_state import construct_data
from node_runner.training import save_checkpoint

MODES = {
    "evaluate": ["mode=evaluate", "run=run"],
    "sample": ["mode=sample", "run=run"],
    "resume": ["resume=run", "trainer.max_steps=20"],
    "sweep": ["-m", "mode=evaluate", "run=run", "eval_tol=1e-2,1e-3"],
}


class Payload:
    """Unpickled, it leaves a mark in the folder of the process."""

    def __reduce__(self):
        return os.mkdir, ("MARK",)


class Stranger:
    """A copy of the run in a folder of its own, to be edited and used."""

    def __init__(self, run, folder):
        self.folder, self.run = folder, folder / "run"
        shutil.copytree(run, self.run)
        torch.save(Payload(), folder / "payload")
        (folder / "marking.py").write_text("import os\nos.mkdir('MARK')\nThing = dict\n")

    def edit(self, name, change):
        """Change the content of one of its YAML files."""
        content = yaml.safe_load((self.run / name).read_text())
        change(content)
        (self.run / name).write_text(yaml.safe_dump(content))

    def use(self, *arguments):
        """In a process that would find marking.py, as ``python -m node_runner`` does."""
        return node_run(
            self.folder, *arguments, before=lambda: sys.path.insert(0, str(self.folder))
        )

    def refused(self, mode, *arguments):
        done = self.use(*MODES.get(mode, [mode]), *arguments)
        line = done.stderr.strip()
        assert not (self.folder / "MARK").exists(), line
        assert done.returncode == 2, done.stdout + line
        assert line.startswith("node-run: ") and "\n" not in line, line
        return line


@pytest.fixture
def stranger(small_run, tmp_path):
    return Stranger(small_run, tmp_path)


PICKLED = {"_target_": "torch.load", "f": "payload", "weights_only": False}
PLACES = {
    "a part": ("trainer.schedule", PICKLED),
    "a new part": ("model.other", PICKLED),
    "a list": ("task.more", [1, [PICKLED]]),
    "a group of values": ("paths.data", PICKLED),
    "the root": ("seed", PICKLED),
    "the part itself": ("data", PICKLED),
    "positional": ("trainer.schedule", PICKLED | {"_args_": ["payload"]}),
    "partial": ("optimizer", PICKLED | {"_partial_": True}),
    "not recursive": ("model.inner", {"_recursive_": False, "deeper": {"x": PICKLED}}),
    "converted": ("solver.gradient", {"_convert_": "object", "x": PICKLED}),
}


@pytest.mark.parametrize(
    ("place", "mode"), [(place, list(MODES)[i % len(MODES)]) for i, place in enumerate(PLACES)]
)
def test_a_target_is_refused_wherever_it_stands(place, mode, stranger):
    key, node = PLACES[place]

    def change(config):
        *parents, leaf = key.split(".")
        for parent in parents:
            config = config[parent]
        config[leaf] = node

    stranger.edit("config.yaml", change)
    line = stranger.refused(mode)
    assert key in line and "'torch.load'" in line and "add trust=torch.load" in line


TARGETS = [
    "os.system",
    "builtins.eval",
    "subprocess.Popen",
    "marking.Thing",
    "torch.hub.load",
    "torch.optim",
    "torch.optim.adam.torch.load",
    "torch.optim.swa_utils.deepcopy",
    "torch.optim.optimizer.Optimizer.load_state_dict",
    "torch.optimizers.Adam",
    "node_runner",
    "node_runner.runs.build.torch.load",
    "node_runner.runs.build.instantiate",
    "node_runner.cli.launchers.os.kill",
    "node_runner.cli.main",
    "node_runner.__main__.main",
    "node_runner.runs.run.Run",
    "node_runner.flow.cnf.nn.Module",
    "node_runner.training.write_whole",
    "node_runner.training.Logger",
    "node_runner.data.mnist.download",
    "node_runner.ode.Solver.__init__",
    "node_runner.ode.methods.import_module",
    "node_runners.Thing",
    "hydra.utils.get_method",
    "hydra.utils.get_class",
    "hydra.utils.instantiate",
    "functools.partial",
    "${evil}",
    "${oc.env:HOME}",
    ["os.system"],
    {"_target_": "os.system"},
    7,
    "",
    " node_runner.ode.Solver",
]


@pytest.mark.parametrize("target", TARGETS, ids=str)
def test_only_what_is_a_constructor_by_itself_is_called(target, tmp_path, monkeypatch):
    (tmp_path / "marking.py").write_text("import os\nos.mkdir('MARK')\nThing = dict\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    found = OmegaConf.create({"evil": "os.system", "a": {"b": [{"_target_": target}]}})
    with pytest.raises(UserError, match="a.b.0._target_"):
        trust.check_stored(found, "run=x", [])
    assert not (tmp_path / "MARK").exists()


@pytest.mark.parametrize("name", ["solver", "flow", "optimizer", "data"])
def test_every_target_of_our_own_files_is_a_constructor(name):
    files = [file for file in config.FOLDER.rglob("*.yaml") if name in str(file)]
    found = {t for file in files for t in re.findall(r"_target_: (\S+)", file.read_text())}
    assert found
    assert [target for target in found if not trust.is_constructor(target)] == []
    others = ["torch.optim.AdamW", "torch.optim.lr_scheduler.StepLR"]
    assert all(map(trust.is_constructor, others))


DECODED = "oc.decode:'{_target_: torch.load, f: payload, weights_only: false}'"
INTERPOLATIONS = {
    "decoded": f"${{{DECODED}}}",
    "created": "${oc.create:${oc.decode:'{_target_: os.system}'}}",
    "environment": "${oc.env:HOME}",
    "a default of the environment": "${oc.env:NODE_RUNNER_DATA,${oc.env:HOME}}",
    "in an argument": "${either:${oc.env:HOME},1}",
    "of Hydra": "${hydra:runtime.cwd}",
    "a built name": "${oc.${seed}:HOME}",
    "escaped": f"\\${{{DECODED}}}",
    "assembled": f"${{sign}}{{{DECODED}}}",
}


@pytest.mark.parametrize("kind", INTERPOLATIONS)
def test_an_interpolation_makes_no_target_and_reads_no_secret(kind):
    config.register()
    found = OmegaConf.create({"seed": 1, "sign": "$", "a": {"b": INTERPOLATIONS[kind]}})
    with pytest.raises(UserError, match="a.b is .*type its value, a.b="):
        trust.check_stored(found, "run=x", [])


MARKS = "_target_: os.mkdir, _args_: [MARK]"
OVERRIDES = [
    f"+hydra.callbacks.x={{{MARKS}}}",
    "++hydra.callbacks.x._target_=marking.Thing",
    "hydra={callbacks:{x:{_target_:marking.Thing}}}",
    "hydra.job_logging.handlers.x={class:marking.Thing}",
    "hydra/job_logging=none",
    "hydra/launcher=joblib",
    "hydra.launcher._target_=marking.Thing",
    "hydra.sweeper._target_=marking.Thing",
    "hydra.searchpath=[pkg://marking]",
    "hydra.job.env_set={X:y}",
    "hydra.run.dir=elsewhere",
    "hydra.sweep.dir=elsewhere",
    "hydra.output_subdir=.hydra",
    "+solver@hydra.callbacks.x=dopri5",
    "~hydra.job_logging",
]


@pytest.mark.parametrize("override", OVERRIDES)
def test_nothing_of_hydra_is_taken_from_a_stored_command(override, tmp_path):
    run = store.StoredRun(tmp_path, OmegaConf.create(), ["seed=1", override])
    with pytest.raises(UserError, match="nothing of hydra is taken from a stored run") as refused:
        run.replayed()
    assert f"command.yaml holds {override}" in str(refused.value)


@pytest.mark.parametrize("mode", ["evaluate", "sweep", "resume"])
def test_no_callback_of_a_stored_command_is_called(mode, stranger):
    stranger.edit("command.yaml", lambda c: c["overrides"].append(OVERRIDES[0]))
    assert OVERRIDES[0] in stranger.refused(mode, "accept_edits=true")


@pytest.mark.parametrize(
    "overrides",
    [
        ["trainer.schedule={_target_:torch.load,f:payload,weights_only:false}"],
        ["task._target_=marking.Thing"],
        ["mode=fetch", "data={_target_:torch.load,f:payload,weights_only:false}"],
        ["trust=[marking,torch]", "task._target_=marking.Thing"],
    ],
)
def test_a_target_in_a_stored_command_is_refused(overrides, stranger):
    stranger.edit("command.yaml", lambda c: c["overrides"].extend(overrides))
    line = stranger.refused("resume", "accept_edits=true")
    assert "torch.load" in line or "marking.Thing" in line


def test_a_stored_run_does_not_trust_for_the_user(stranger):
    stranger.edit("config.yaml", lambda c: c.update(trust=["torch"], accept_edits=True))
    stranger.edit("config.yaml", lambda c: c["trainer"].update(schedule=PICKLED))
    stranger.edit("command.yaml", lambda c: c["overrides"].append("accept_edits=true"))
    assert "torch.load" in stranger.refused("evaluate")
    (stranger.run / "evil" / "experiment").mkdir(parents=True)
    text = "# @package _global_\ntrust: [torch]\n"
    (stranger.run / "evil" / "experiment" / "x.yaml").write_text(text)
    stranger.edit("command.yaml", lambda c: c.update(config_dir=str(stranger.run / "evil")))
    stranger.edit("command.yaml", lambda c: c["overrides"].append("experiment=x"))
    assert "torch.load" in stranger.refused("evaluate")


@pytest.mark.parametrize(
    ("text", "mode"),
    [
        (f"hydra: {{callbacks: {{x: {{{MARKS}}}}}}}", "evaluate"),
        ("hydra: {job_logging: {handlers: {x: {class: marking.Thing}}}}", "sweep"),
        ("hydra: {job: {env_set: {X: y}}}", "resume"),
        ("paths: {out: elsewhere}", "evaluate"),
    ],
)
def test_a_folder_that_a_stored_run_names_adds_nothing_of_hydra(text, mode, stranger):
    folder = stranger.run / "mine"
    (folder / "experiment").mkdir(parents=True)
    (folder / "experiment" / "x.yaml").write_text(f"# @package _global_\n{text}\n")
    stranger.edit("command.yaml", lambda c: c.update(config_dir=str(folder)))
    stranger.edit("command.yaml", lambda c: c["overrides"].append("experiment=x"))
    line = stranger.refused(mode, "accept_edits=true")
    assert f"type --config-dir {folder} if you trust" in line


def test_nor_does_it_by_a_choice_that_is_swept_today(stranger):
    folder = stranger.run / "mine"
    (folder / "solver").mkdir(parents=True)
    text = f"# @package _global_\ndefaults: [dopri5]\nhydra: {{callbacks: {{x: {{{MARKS}}}}}}}\n"
    (folder / "solver" / "evil.yaml").write_text(text)
    stranger.edit("command.yaml", lambda c: c.update(config_dir=str(folder)))
    line = stranger.refused("sweep", "solver=rk4,evil", "accept_edits=true")
    assert f"type --config-dir {folder} if you trust" in line


class Scaled:
    """Data that are given the state of a run."""

    def __init__(self, seed, device, state=None):
        self.state = state


@pytest.mark.parametrize(
    "value", [{"_target_": "os.mkdir", "_args_": ["MARK"]}, "${oc.env:HOME}", "???"], ids=str
)
def test_what_a_checkpoint_holds_is_no_configuration(value, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "checkpoints").mkdir()
    save_checkpoint(tmp_path / "checkpoints" / "last.pt", {"data": {"mean": [value]}})
    made = OmegaConf.create({"_target_": f"{__name__}.Scaled"})
    found = OmegaConf.create({"data": made, "seed": 0, "mode": "evaluate", "run": str(tmp_path)})
    data = construct_data(Parts(found), found, None, torch.device("cpu"))
    assert data.state == {"mean": [value]}
    assert not (tmp_path / "MARK").exists()


def test_results_go_where_today_s_call_says(stranger, small_run):
    elsewhere = stranger.folder / "elsewhere"
    stranger.edit("command.yaml", lambda c: c["overrides"].append(f"paths.out={elsewhere}"))
    stranger.edit("config.yaml", lambda c: c["paths"].update(out=str(elsewhere)))
    done = stranger.use(*MODES["evaluate"], "accept_edits=true")
    assert done.returncode == 0, done.stderr
    assert not elsewhere.exists()
    assert list(stranger.folder.glob("outputs/ffjord_toy/*/result.json"))


def test_a_run_is_not_written_through_a_link_out_of_its_folder(stranger):
    victim = stranger.folder / "victim"
    victim.write_text("mine")
    for name in ("config.yaml.partial", "run.log"):
        (stranger.run / name).unlink(missing_ok=True)
        (stranger.run / name).symlink_to(victim)
    (stranger.run / "origin.json").unlink()  # of which run.log would speak
    assert f" is a link to {victim}" in stranger.refused("resume")
    assert victim.read_text() == "mine"


@pytest.mark.parametrize("name", ["metrics.jsonl", ".lock", "tb", "figures/density.png"])
def test_a_folder_with_links_or_pipes_is_not_locked(name, tmp_path):
    path, victim = tmp_path / "run" / name, tmp_path / "victim"
    path.parent.mkdir(parents=True)
    victim.write_text("mine")
    (path.parent / "inside").symlink_to(path.parent)
    lock.acquire_lock(tmp_path / "run").release()
    path.unlink(missing_ok=True)
    path.symlink_to(victim)
    with pytest.raises(UserError, match="is a link to"):
        lock.acquire_lock(tmp_path / "run")
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(UserError, match="neither a file nor a folder"):
        lock.acquire_lock(tmp_path / "run")
    assert victim.read_text() == "mine"


@pytest.mark.parametrize("name", ["config.yaml", "command.yaml", "origin.json", "result.json"])
def test_a_pipe_is_not_waited_for(name, small_run, tmp_path):
    shutil.copytree(small_run, tmp_path / "run")
    (tmp_path / "run" / name).unlink()
    os.mkfifo(tmp_path / "run" / name)
    if name == "result.json":
        assert store.result_of(tmp_path / "run") == {}
        return
    with pytest.raises(UserError, match=name):
        store.read(tmp_path / "run", "run").edits()


NOT_OF_A_RUN = ["3", "[]", "a: [", "\x00", "!!python/object/apply:os.mkdir [MARK]"]
NOT_OF_A_RUN += [
    "overrides: [[1]]\nconfig_dir: null",
    "overrides: []\nconfig_dir: [a]",
    "a: " + "[" * 2000,
]


@pytest.mark.parametrize("name", ["config.yaml", "command.yaml"])
@pytest.mark.parametrize("text", NOT_OF_A_RUN, ids=lambda text: text[:20])
def test_a_file_that_is_not_of_a_run_is_refused(name, text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for file in ("config.yaml", "command.yaml"):
        Path(file).write_text("overrides: []\nconfig_dir: null\n")
    Path(name).write_text(text)
    if name == "config.yaml" and text.startswith("overrides"):
        return  # an odd configuration, which the check of all values refuses
    with pytest.raises(UserError, match="is not a run"):
        store.read(".", "run")
    assert not Path("MARK").exists()


@pytest.fixture(scope="module")
def foreign(tmp_path_factory):
    """A run whose data are made by another package."""
    folder = tmp_path_factory.mktemp("foreign")
    (folder / "mine" / "data").mkdir(parents=True)
    (folder / "mine" / "data" / "loaded.yaml").write_text("_target_: loaded.Loaded\nworkers: 0")
    typed = ["data=loaded", "trainer.max_steps=2", "task.grid=8", "model.field.hidden=[8]"]
    done = node_run(folder, "--config-dir", "mine", *typed)
    assert done.returncode == 0, done.stderr
    assert "trusted, as it is named today: loaded.Loaded" in done.stdout
    (file,) = folder.rglob("command.yaml")
    return folder, file.parent


@pytest.mark.parametrize(
    "allowed",
    [
        ["trust=[other,loaded]"],
        ["--config-dir", "mine", "data._target_=loaded.Loaded"],
    ],
)
def test_what_the_user_allows_today_is_called(allowed, foreign):
    folder, run = foreign
    done = node_run(folder, *allowed, "mode=evaluate", f"run={run}")
    assert done.returncode == 0, done.stderr
    assert "trusted, as you allow it today: loaded.Loaded" in done.stdout


@pytest.mark.parametrize(
    ("typed", "allowed"),
    [
        ("trust=a.b", ["a.b"]),
        ("trust=[a,b.C] data._target_=c.D", ["a", "b.C", "c.D"]),
        ("data={_target_:c.D,x:[{_target_:e.F}]} solver._target_=node_runner.x", ["c.D", "e.F"]),
        ("data._target_=c.D,e.F trust=null", ["c.D", "e.F"]),
        ("--config-dir mine", ["loaded.Loaded"]),
        ("seed=1", []),
    ],
)
def test_what_is_typed_is_trusted(typed, allowed, foreign, monkeypatch):
    monkeypatch.chdir(foreign[0])
    assert stored_command._trusted_today(cli_overrides.parse(typed.split())) == allowed


def test_what_the_user_does_not_allow_is_named_with_the_remedy(foreign):
    folder, run = foreign
    done = node_run(folder, f"resume={run}", "trainer.max_steps=3", "trust=[torch,loade]")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "data._target_ is 'loaded.Loaded'" in done.stderr
    assert "add trust=loaded.Loaded" in done.stderr


@pytest.mark.parametrize("value", [3, ["a", 2], "a b", {"a": "b"}, ["a", "os;"], ""])
def test_trust_takes_names(value):
    with pytest.raises(UserError, match="trust=my_package"):
        trust.names(value)


def test_a_package_that_hands_on_other_modules_is_not_all_of_them(tmp_path, monkeypatch):
    (tmp_path / "package.py").write_text("import torch\nclass Thing: pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    found = OmegaConf.create({"a": {"_target_": "package.Thing"}})
    trust.check_stored(found, "run=x", ["package"])
    found.a._target_ = "package.torch.load"
    with pytest.raises(UserError, match="package.torch.load"):
        trust.check_stored(found, "run=x", ["package"])
