"""What every file of a folder promises, whoever adds it: data sets, regularizers, tasks."""

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from real_data import ROOT

from node_runner.ode import Solver, methods
from node_runner.runs import config

config.register()
CPU = torch.device("cpu")
SMALL = {"batch_size": 4, "evaluation_size": 4, "test_size": 4}


def choices(group):
    return sorted(file.stem for file in (config.FOLDER / group).glob("*.yaml"))


def build(node, **provided):
    return instantiate(node, _convert_="all", **provided)


def composed(*overrides):
    with initialize_config_dir(str(config.FOLDER), version_base=config.VERSION_BASE):
        return compose("config", [f"paths.data={ROOT.absolute()}", *overrides])


def alone(name):
    """A data set as its own file has it, without what a task would set of it."""
    with initialize_config_dir(str(config.FOLDER), version_base=config.VERSION_BASE):
        return compose(f"data/{name}", [f"+paths.data={ROOT.absolute()}"])


def data_of(config, seed=0):
    """The data set, or a skip where its files are absent."""
    try:
        return build(config.data, seed=seed, device=CPU)
    except Exception as error:
        if isinstance(error.__cause__, FileNotFoundError):
            pytest.skip(str(error.__cause__))
        raise


def equal(one, two):
    if one is None or two is None:
        return one is two
    if isinstance(one, torch.Tensor):
        return torch.equal(one, two)
    return all(equal(a, b) for a, b in zip(one, two, strict=True))


def length(batch):
    """Samples: of a tensor, or of the first one in tuples of tensors."""
    return len(batch) if isinstance(batch, torch.Tensor) else length(batch[0])


@pytest.mark.parametrize("name", choices("data"))
def test_a_batch_is_a_function_of_the_seed_and_the_step(name):
    one, same, other = (data_of(alone(name), seed) for seed in (1, 1, 2))
    late = one.steps_per_epoch + 2  # of the second epoch, drawn before any other
    drawn = one.train_batch(late)
    for step in (0, 1):
        assert equal(one.train_batch(step), same.train_batch(step))
    assert equal(same.train_batch(late), drawn)
    whole = one.steps_per_epoch == 1  # all of the set in each step: only its order could differ
    assert whole or not equal(drawn, one.train_batch(0))
    assert not equal(drawn, other.train_batch(late))


@pytest.mark.parametrize("name", choices("data"))
def test_a_split_is_the_same_each_time_and_as_large_as_it_says(name):
    data = data_of(alone(name))
    assert data.name and data.part and data.steps_per_epoch >= 1
    for split in ("validation", "test"):
        sizes = 0
        for one, two in zip(data.batches(split), data.batches(split), strict=True):
            assert equal(one, two)
            sizes += length(one)
        assert sizes == data.sizes[split]


@pytest.mark.parametrize("name", [name for name in choices("regularizer") if name != "none"])
def test_a_regularizer_costs_something_and_can_be_lowered(name):
    """Each cost is one finite number a sample, and a step against its gradient lowers it."""
    settings = composed("task=ffjord_toy", f"regularizer={name}", "tol=1e-6")
    torch.manual_seed(0)
    flow, x = build(settings.model), torch.randn(32, 2)
    assert flow.regularizers
    for cost in flow.regularizers:
        flow.zero_grad()
        before = flow.transport(x).costs[cost]
        assert before.shape == (32,)
        assert before.isfinite().all()
        before.mean().backward()
        slope = sum(p.grad.square().sum() for p in flow.parameters() if p.grad is not None)
        assert slope > 0
        with torch.no_grad():
            for p in flow.parameters():
                if p.grad is not None:
                    p -= 1e-2 * before.mean() / slope * p.grad
            assert flow.transport(x).costs[cost].mean() < before.mean()


@pytest.mark.parametrize("name", choices("task"))
def test_a_task_steps_evaluates_and_shows(name):
    settings = composed(f"task={name}", "tol=1e-2", "atol_ratio=1")
    settings.data.update({k: v for k, v in SMALL.items() if k in settings.data})
    data, task = data_of(settings), build(settings.task)
    task.bind(data)
    step = task.step(data.train_batch(0))
    assert step.loss.shape == ()
    assert step.loss.isfinite()
    step.loss.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in task.parameters())
    assert all(value.shape == () for value in step.metrics.values())
    assert all(value >= 0 for value in step.costs().values())
    task.eval()
    batch = next(iter(data.batches("test")))
    with torch.no_grad():
        found = task.evaluate(batch, "test")
    assert task.primary_metric.metric in found.values
    assert {value.shape for value in found.values.values()} == {(length(batch),)}


@pytest.mark.parametrize("name", methods.names())
def test_a_solver_can_be_built_from_its_file(name):
    for node in ("solver", "eval_solver"):
        solver = build(composed(f"solver={name}", f"eval_solver={name}")[node])
        assert isinstance(solver, Solver)
        assert solver.method == name
