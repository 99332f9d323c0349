"""The task of series: its objective, its metrics, its pictures, and that it learns."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hydra.utils import instantiate
from series_cases import MODELS, build, random_series, settings
from torch.distributions import Normal, kl_divergence

from node_runner.data.periodic import Periodic
from node_runner.data.scaling import Scaling
from node_runner.data.series import Batch, full
from node_runner.data.spirals import Spirals
from node_runner.latent import KLAnnealing
from node_runner.ode import Solver
from node_runner.tasks.series import SeriesModelling
from node_runner.training.metrics import evaluate, summarise

CPU = torch.device("cpu")
SIZES = {"train_size": 40, "validation_size": 4, "test_size": 10, "batch_size": 40}


def modelling(name, samples=1, **options):
    model = build(name)
    model.samples = samples
    return SeriesModelling(model, Solver("dopri5", 1e-8, 1e-8), **options)


def batch_of(lengths=(5, 2, 1, 4)):
    """Some observations, other ones to be predicted, and whole ones beyond."""
    observed, target = random_series(lengths), random_series(lengths, seed=2)
    beyond = target.times[:, -1:] + observed.times[:, -1:] + torch.tensor([0.1, 0.5, 0.6])
    return Batch(observed, target, full(beyond, torch.randn(4, 3, 2, dtype=torch.float64)))


def part(batch, rows):
    return Batch(*(each and type(each)(*(tensor[rows] for tensor in each)) for each in batch[:3]))


def log_prob(model, target, predictions):
    """By torch, of each series and sample."""
    normal = Normal(predictions, model.likelihood.log_sd.exp())
    found = normal.log_prob(target.values[:, :, None])
    return (found * target.mask[:, :, None]).sum((1, 3))


def loss_by_hand(task, batch, weight, counts, dims):
    """From the samples that the task draws; ``counts`` and ``dims`` are what it divides by."""
    torch.manual_seed(7)
    found = task.model.infer(batch.observed, batch.target.times)
    each = log_prob(task.model, batch.target, found.predictions) / counts
    bound = each.exp().mean(1).log()
    if found.kl is None:
        return -bound.mean(), each
    posterior = task.model.encoder(batch.observed)
    kl = kl_divergence(Normal(posterior.mean, posterior.sd), Normal(0.0, 1.0)).sum(1) / dims
    return -(bound - weight * kl).mean(), each - weight * kl[:, None]


def step(task, batch):
    torch.manual_seed(7)
    return task.step(batch)


@pytest.mark.parametrize("mean", [False, True])
@pytest.mark.parametrize("samples", [1, 3])
@pytest.mark.parametrize("name", ["latent_rnn", "rnn_vae", "rnn_gaps"])
def test_the_loss_is_the_negative_evidence(name, samples, mean):
    """The mean over samples is of probabilities; with ``mean`` each is that of one observation."""
    batch, task = batch_of(), modelling(name, samples, mean=mean)
    task.model.likelihood.log_sd.zero_()
    counts, dims = (batch.target.mask.sum((1, 2))[:, None], 3) if mean else (1, 1)
    expected, each = loss_by_hand(task, batch, 1.0, counts, dims)
    found = step(task, batch)
    torch.testing.assert_close(found.loss, expected, rtol=1e-12, atol=0)
    assert found.loss <= -each.mean() + 1e-12  # Jensen: at most that of single samples
    assert (samples > 1 and name != "rnn_gaps") == bool(found.loss < -each.mean() - 1e-6)


def test_the_loss_weighs_the_kl_by_the_epoch_and_a_checkpoint_knows_it():
    data = Spirals(0, CPU, **SIZES | {"batch_size": 20})
    tasks = [modelling("latent_rnn", kl=KLAnnealing(1, 0.9)) for _ in range(2)]
    for task in tasks:
        task.bind(data)
    batch = batch_of()
    for i, weight in enumerate([0, 0, 0, 0, 0.1, 0.1, 0.19]):
        found = step(tasks[0], batch)
        assert found.metrics["kl_weight"].item() == pytest.approx(weight)
        assert found.loss.item() == pytest.approx(
            loss_by_hand(tasks[0], batch, weight, 1, 1)[0].item()
        )
        if i == 3:
            tasks[1].load_state_dict(tasks[0].state_dict())
    assert step(tasks[1], batch).metrics["kl_weight"].item() == pytest.approx(0.1)


def test_to_evaluate_is_no_step_of_the_schedule():
    task = modelling("latent_rnn", kl=KLAnnealing(1, 0.9))
    before = task.kl.steps
    with torch.no_grad():
        task.evaluate(batch_of(), "test")
    assert task.kl.steps == before == 0


@pytest.mark.parametrize("name", MODELS)
def test_what_a_step_logs_is_without_graph_and_on_the_models_device(name):
    found = step(modelling(name), batch_of())
    latent = not hasattr(build(name), "cell")
    assert set(found.metrics) == {"mse_observed"} | ({"kl", "kl_weight"} if latent else set())
    assert not any(value.requires_grad for value in found.metrics.values())
    assert found.loss.requires_grad


def test_no_number_of_a_step_is_left_on_another_device():
    """The meta device stands for an accelerator; nothing in these models waits for one."""
    batch = Batch(*(type(each)(*(t.to("meta") for t in each)) for each in batch_of()[:2]))
    found = modelling("rnn_vae").to("meta").step(batch)
    assert {value.device.type for value in found.metrics.values()} == {"meta"}


@pytest.mark.parametrize("name", ["latent_rnn", "rnn_gaps"])
@torch.no_grad()
def test_an_evaluation_tells_what_a_loop_finds(name):
    task, batch = modelling(name, kl=KLAnnealing(5)), batch_of()
    torch.manual_seed(7)
    found = task.evaluate(batch, "test")
    torch.manual_seed(7)
    predictions = task.model.infer(
        batch.observed, batch.target.times, batch.beyond.times
    ).predictions
    inside, later = predictions[:, :5, 0], predictions[:, 5:, 0]
    loss = -loss_by_hand(task, batch, 1.0, 1, 1)[1][:, 0]  # the weight of an evaluation is 1
    for i in range(4):
        seen = batch.target.mask[i]
        miss = (inside[i] - batch.target.values[i]) ** 2
        features = [miss[seen[:, d], d].mean().item() if seen[:, d].any() else 0 for d in range(2)]
        expected = {
            "loss": loss[i].item(),
            "mse": sum(features) / 2,
            "mse_observed": miss[seen].mean().item(),
            "mse_beyond": ((later[i] - batch.beyond.values[i]) ** 2).mean().item(),
        }
        assert {k: v[i].item() for k, v in found.values.items()} == pytest.approx(
            expected, rel=1e-5
        )
    assert bool(found.costs) == (name == "latent_rnn")


@torch.no_grad()
def test_pooled_errors_over_batches_are_those_of_the_whole():
    task, batch = modelling("rnn_gaps"), batch_of()
    parts = [task.evaluate(part(batch, rows), "test") for rows in ([0], [1, 2], [3])]
    whole, apart = summarise([task.evaluate(batch, "test")]), summarise(parts)
    assert whole.keys() == apart.keys()
    for name, values in whole.items():
        assert apart[name] == pytest.approx(values), name
    for name in ("", "_beyond"):
        mean = whole["mse_observed" if name == "" else "mse_beyond"]["mean"]
        assert whole[f"rmse{name}"]["mean"] == pytest.approx(mean**0.5)
        assert whole[f"rmse{name}"]["n"] == 4


@torch.no_grad()
def test_without_anything_beyond_nothing_is_said_of_it():
    found = modelling("rnn_gaps").evaluate(batch_of()._replace(beyond=None), "test")
    assert set(found.values) == {"loss", "mse", "mse_observed"} and set(found.pooled) == {"rmse"}


def test_data_of_another_number_of_features_are_refused_in_one_line():
    task = modelling("rnn")
    task.bind(Spirals(0, CPU, **SIZES))
    message = "^the model is for series of 2 features and periodic has 1: set series.dim=1$"
    with pytest.raises(ValueError, match=message):
        task.bind(Periodic(0, CPU, **SIZES))


def trained(name, steps):
    """A small model as it is trained, in float32 with the solvers of its file, and its data."""
    data = Spirals(0, CPU, noise=0.05, **SIZES)
    task = instantiate(settings(name).task, _convert_="all")
    optimizer = torch.optim.Adam(task.parameters(), 2e-2)
    for i in range(steps):
        optimizer.zero_grad()
        task.step(data.train_batch(i)).loss.backward()
        optimizer.step()
    return task, data


@pytest.mark.parametrize("name", ["latent_rnn", "rnn_gaps"])
def test_training_brings_the_error_down(name):
    def error(steps):
        torch.manual_seed(0)
        task, data = trained(name, steps)
        return evaluate(task, data, "test")["mse"]["mean"]

    assert error(60) < 0.5 * error(0)


@pytest.mark.parametrize("name", ["latent_rnn", "rnn"])
@torch.no_grad()
def test_samples_are_arrays_in_the_units_of_the_files(name):
    sizes = SIZES | {"train_size": 4, "batch_size": 4, "test_size": 7, "evaluation_size": 7}
    data, task = Spirals(0, CPU, **sizes), modelling(name).float()
    task.eval_solver = Solver("dopri5", 1e-2, 1e-2)
    plain = task.sample(data).arrays
    times, samples = plain["times"], plain["samples"]
    assert (times.diff() > 0).all()
    assert samples.shape == (7, len(times), 10 if name == "latent_rnn" else 1, 2)
    assert plain["observed_times"].shape == (7, 30)
    assert plain["observed_values"].shape == (7, 30, 2)
    (batch,) = data.batches("test")
    assert torch.equal(plain["observed_values"], batch.observed.values)
    assert ("prior_samples" in plain) == (name == "latent_rnn")
    data.scaling = Scaling(np.array([1e7, -3.0]), np.array([2.0, 0.1]))
    scaled = task.sample(data).arrays
    assert scaled["samples"].dtype == torch.float64
    u = (scaled["observed_values"].numpy() - data.scaling.shift) / data.scaling.scale
    np.testing.assert_allclose(u, batch.observed.values, rtol=0, atol=1e-6)
    if name == "latent_rnn":
        z = plain["prior_samples"]
        assert z.shape == (100, len(times), 2)
        assert z.isfinite().all() and len(z[:, 0, 0].unique()) == 100
