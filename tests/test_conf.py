"""Every file of conf/ composes, and every thing that multiplies has its yaml."""

import pytest
from support.commands import checked, composed

from node_runner.data.toy import SETS
from node_runner.errors import UserError
from node_runner.ode import methods
from node_runner.runs import config, schema

PARTS = ("base", "flow")  # of choices, not choices themselves
FILES = [
    file for file in sorted(config.FOLDER.glob("*/**/*.yaml")) if file.parent.name not in PARTS
]
CHOICES = [(str(file.parent.relative_to(config.FOLDER)), file.stem) for file in FILES]
TASKS = {  # for which a choice is made, where that is not the default one
    "odenet_mnist": ("odenet", "rknet", "resnet", "mlp", "mnist", "conv", "res"),
    "ffjord_power": ("stack",),
    "ffjord_mnist": ("multiscale", "encoder_decoder"),
    "latent_spirals": ("latent_ode", "latent_rnn", "rnn_vae", "ode_rnn")
    + ("rnn", "rnn_gaps", "rnn_decay", "gru_d"),
    "poisson_events": ("point_process",),
    "trajectory": ("trajectory", "csv"),
}
MODELS = {"model/cell": "rnn", "model/encoder": "latent_ode", "model/likelihood": "rnn"}  # with it
TASK_OF = {choice: task for task, choices in TASKS.items() for choice in choices}


@pytest.mark.parametrize(("group", "choice"), CHOICES)
def test_every_choice_composes_and_fits_its_constructors(group, choice):
    if group == "launcher" and choice != "serial":
        pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
        pytest.importorskip("hydra_plugins.hydra_submitit_launcher")
    task = TASK_OF.get(choice, "ffjord_toy")
    brings_task = group in ("task", "experiment")
    overrides = [] if brings_task else [f"task={task}"]
    if group in MODELS:
        overrides = ["task=latent_spirals", f"model={MODELS[group]}"]
    schema.check(composed(*overrides, f"{group}={choice}"))


def test_a_model_of_series_asks_for_a_task_of_series():
    with pytest.raises(UserError, match="task=latent_spirals"):
        schema.check(composed("model=latent_ode"))


@pytest.mark.parametrize("name", methods.names())
def test_every_method_has_a_solver_and_an_eval_solver(name):
    chosen = composed(f"solver={name}", f"eval_solver={name}", "eval_tol=1e-7")
    schema.check(chosen)
    assert chosen.solver.method == chosen.eval_solver.method == name
    assert chosen.solver.rtol == 1e-5
    assert chosen.eval_solver.rtol == 1e-7


def test_no_solver_without_a_method():
    assert sorted(p.stem for p in (config.FOLDER / "solver").glob("*.yaml")) == methods.names()


@pytest.mark.parametrize("name", list(SETS))
def test_every_toy_set_is_a_valid_choice(name):
    schema.check(composed(f"data.name={name}"))


def test_a_typed_tolerance_wins_over_the_tasks_and_sets_both():
    chosen = composed("tol=1e-3", "atol_ratio=0.1")
    assert chosen.solver.rtol == 1e-3
    assert chosen.solver.atol == pytest.approx(1e-4)
    assert composed("tol=1e-3", "solver.rtol=1e-6").solver.rtol == 1e-6
    assert composed("task=odenet_mnist").solver.rtol == 1e-3


def test_the_eval_solver_follows_the_training_solver_unless_told():
    same = composed("solver=rk4", "solver.step_size=0.125").eval_solver
    assert (same.method, same.step_size) == ("rk4", 0.125)
    other = composed("solver=rk4", "eval_solver=dopri5", "eval_tol=1e-8").eval_solver
    assert (other.method, other.rtol, other.atol) == ("dopri5", 1e-8, 1e-8)
    assert "step_size" not in other


def test_an_experiment_may_choose_the_solver_and_wins_over_the_task(tmp_path):
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "cell.yaml").write_text(
        "# @package _global_\n"
        "defaults:\n  - override /task: ffjord_toy\n  - override /solver: rk38\n  - _self_\n"
        "cell: some.cell\ntol: 1e-9\n"
    )
    chosen = composed(f"hydra.searchpath=[file://{tmp_path}]", "experiment=cell")
    schema.check(chosen)
    assert (chosen.solver.method, chosen.cell, chosen.tol) == ("rk38", "some.cell", 1e-9)


def test_regularizers_are_chosen_one_by_one_or_together():
    assert set(composed("regularizer=[kinetic,jacobian]").regularizer) == {"kinetic", "jacobian"}
    assert composed("regularizer=rnode") == composed("regularizer=[kinetic,jacobian]")
    assert composed().regularizer == {}


BAD = [
    ("solver=dopri", "did you mean dopri8? (choose from adams, adaptive_heun, bdf, bosh3, dopri5"),
    ("solvr=dopri5", "did you mean solver?"),
    ("task=ffjord_to", "did you mean ffjord_toy?"),
    ("solver.rtoll=3", "unknown solver.rtoll; did you mean solver.rtol?"),
    ("+solver.rtoll=3", "unknown solver.rtoll; did you mean solver.rtol?"),
    ("++solver.rtoll=3", "unknown solver.rtoll; did you mean solver.rtol?"),
    ("rtol=1e-3", "did you mean tol?"),
    ("+qqq=1", "unknown qqq; choose from"),
    ("tol=abc", "tol is 'abc', must be a number"),
    ("tol=-1", "tol is -1, must be positive"),
    ("tol=0", "tol is 0, must be positive"),
    ("seed=1.5", "seed is 1.5, must be an integer"),
    ("data.batch_size=many", "data.batch_size is 'many', must be an integer"),
    ("data.name=8gausians", "did you mean 8gaussians?"),
    ("model.field.activation=tan", "did you mean tanh?"),
    ("model.field.hidden=64", "must be a list, each an integer"),
    ("model.field.hidden=[64,x]", "must be a list, each an integer"),
    ("regularizer=[kinetic,jacobi]", "did you mean jacobian?"),
    ("gradient=adjoin", "did you mean adjoint?"),
    ("runtime.device=gpu", "must be one of auto, cpu, cuda"),
    ("runtime.deterministic=1", "must be true or false"),
    ("mode=trian", "did you mean train?"),
    ("experiment=nothing", "unknown experiment=nothing"),
    ("seed", "write key=value"),
    ("~seed", "seed is missing"),
    ("tol=${x}", "tol is ${x}, and there is no x"),
    ("optimizer.lr=fast", "optimizer.lr is 'fast', must be"),
    ("task.eval_solver=null", "task.eval_solver is None, must be"),
    ("tol=1e-3,1e-5", "tol=1e-3,1e-5 is a sweep: node-run -m"),
    ("solver.rtol=[1e-3", "cannot read the override solver.rtol=[1e-3"),
    ("model._target_=node_runner.flow.CNFF", "model._target_"),
    ("model=stack", "model.dim is missing; give it, an integer: model.dim=..."),
    ("regularizer=rnod", "did you mean rnode?"),
    ("eval_divergence=exat", "did you mean exact?"),
]


@pytest.mark.parametrize(("override", "message"), BAD, ids=[bad for bad, _ in BAD])
def test_a_mistake_is_refused_in_one_line_with_what_to_type(override, message):
    with pytest.raises(UserError) as caught:
        checked(override)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_sweep_is_checked_choice_by_choice():
    with pytest.raises(UserError, match="did you mean dopri8"):
        checked("-m", "solver=rk4,dopri")
    checked("-m", "solver=rk4,dopri5", "tol=1e-3,1e-5")


@pytest.mark.parametrize(
    ("sweep", "message"),
    [
        ("tol=1e-3,abc", "tol is 'abc'"),
        ("data.name=moons,pinwhel", "did you mean pinwheel"),
        ("seed=0,1,x", "seed is 'x'"),
    ],
)
def test_every_value_of_a_sweep_is_checked_before_the_first_job(sweep, message):
    with pytest.raises(UserError, match=message):
        checked("-m", "solver=rk4,dopri5", sweep)


def test_null_and_ranges_may_be_swept():
    checked("-m", "eval_tol=null,1e-5", "seed=range(3)")
    checked("-m", "task=glob(ffjord*)", "cell='a b',c")


@pytest.mark.parametrize("key", ["solver.rtol", "solver.atol", "eval_tol", "eval_solver.rtol"])
def test_a_tolerance_for_fixed_steps_is_refused(key):
    with pytest.raises(UserError, match=f"{key} does nothing: euler takes fixed steps"):
        checked("solver=euler", f"{key}=1e-9")
    checked("solver=euler", "eval_solver=dopri5", "eval_tol=1e-9")


def test_good_command_lines_pass():
    for line in (
        ["task=ffjord_toy", "solver=tsit5", "regularizer=rnode", "divergence=gaussian"],
        ["task=odenet_mnist", "gradient=replay", "paths.out=/tmp/x"],
        ["divergence.limit=800", "eval_divergence.limit=800"],
        ["solver=rk4", "solver.step_size=0.1", "+trainer.max_epochs=2"],
        ["optimizer=sgd", "+optimizer.nesterov=true"],
    ):
        checked(*line)
