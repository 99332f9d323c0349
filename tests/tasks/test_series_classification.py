"""Classification of series: its loss, and what an evaluation tells."""

from __future__ import annotations

import pytest
import torch
from label_cases import (
    LENGTHS,
    MODELS,
    SERIES,
    TIMES,
    batch_of,
    kinds,
    labelled,
    probabilities,
    seeded,
    task_of,
)

from node_runner.data.series import Batch
from node_runner.latent import KLAnnealing, elbo


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("samples", [1, 3])
@kinds
def test_the_loss_is_the_weighted_cross_entropy_of_every_sample(kind, samples, name):
    task, batch = task_of(kind, name, samples=samples, weight=2.5), batch_of(kind)
    p = probabilities(task, batch)
    logs = [p[(*at, slice(None), label)].log() for at, label in labelled(batch)]
    expected = -torch.cat(logs).mean()
    found = seeded(task.step, batch)
    torch.testing.assert_close(found.loss, 2.5 * expected, rtol=1e-10, atol=0)
    torch.testing.assert_close(found.metrics["nll"], expected, rtol=1e-10, atol=0)
    assert set(found.metrics) == {"nll"} and not found.metrics["nll"].requires_grad


@pytest.mark.parametrize("name", ["latent_rnn", "rnn_gaps"])
@kinds
@torch.no_grad()
def test_an_evaluation_is_of_the_mean_probability_over_samples(kind, name):
    task, batch = task_of(kind, name, samples=3), batch_of(kind)
    p = probabilities(task, batch).mean(-2)
    found = seeded(task.evaluate, batch, "test").values
    nll, wrong = ([[] for _ in LENGTHS] for _ in range(2))
    for at, label in labelled(batch):
        nll[at[0]].append(-p[at][label].log().item())
        wrong[at[0]].append(float(p[at].argmax() != label))
    assert 0 < sum(map(sum, wrong)) < sum(map(len, wrong))
    for i in range(len(LENGTHS)):
        n = len(nll[i])
        assert found["nll"][i].item() == pytest.approx(sum(nll[i]) / n)
        assert found["error"][i].item() == pytest.approx(sum(wrong[i]) / n)
        assert found["accuracy"][i].item() == pytest.approx(1 - sum(wrong[i]) / n)


@torch.no_grad()
def test_the_mean_over_samples_is_of_probabilities_not_of_their_logarithms():
    task, batch = task_of(SERIES, samples=50), batch_of(SERIES)
    single = -probabilities(task, batch).log().mean(1)
    single = single.gather(1, batch.labels[:, None])[:, 0]
    assert (seeded(task.evaluate, batch, "test").values["nll"] < single - 1e-3).all()  # Jensen


@pytest.mark.parametrize("name", ["latent_rnn", "rnn_gaps"])
def test_labels_of_padded_times_do_not_count(name):
    task, batch = task_of(TIMES, name), batch_of(TIMES)
    padded = ~batch.observed.present
    other = batch._replace(labels=torch.where(padded, (batch.labels + 1) % 3, batch.labels))
    assert padded.any() and not torch.equal(other.labels, batch.labels)
    assert torch.equal(seeded(task.step, batch).loss, seeded(task.step, other).loss)
    with torch.no_grad():
        one, two = (seeded(task.evaluate, each, "test").values for each in (batch, other))
    assert all(torch.equal(one[name], two[name]) for name in one)


@pytest.mark.parametrize("mean", [False, True])
@pytest.mark.parametrize("name", ["latent_rnn", "rnn_gaps"])
def test_to_reconstruct_adds_the_evidence_with_its_weights(name, mean):
    """weight * cross-entropy - log-likelihood + w KL, w by the epoch."""
    options = {"reconstruct": True, "weight": 7.0, "mean": mean, "kl": KLAnnealing(1, 0.9)}
    task, batch = task_of(SERIES, name, **options), batch_of(SERIES)
    task.kl.steps_per_epoch = 1
    for weight in (0.0, 0.0, 0.1):
        plain = seeded(task_of(SERIES, name).step, batch).loss
        inference = seeded(task.model.infer, batch.observed, batch.target.times)
        bound, kl = elbo(task.model.likelihood, inference, batch.target, weight, mean)
        found = seeded(task.step, batch)
        torch.testing.assert_close(found.loss, 7 * plain - bound.mean(), rtol=1e-10, atol=0)
        torch.testing.assert_close(found.metrics["nll"], plain.detach())
        torch.testing.assert_close(found.metrics["evidence"], bound.mean().detach())
        if name == "latent_rnn":
            assert found.metrics["kl_weight"].item() == pytest.approx(weight)
            torch.testing.assert_close(found.metrics["kl"], kl.mean().detach())
    assert ("kl" in found.metrics) == (name == "latent_rnn")


@kinds
def test_every_parameter_that_matters_gets_a_gradient(kind):
    for name in MODELS:
        task = task_of(kind, name, reconstruct=kind == SERIES)
        task.step(batch_of(kind)).loss.backward()
        for parameter, value in task.named_parameters():
            assert value.grad is not None and value.grad.abs().max() > 0, (name, parameter)


@kinds
def test_no_number_of_a_step_is_left_on_another_device(kind):
    """The meta device stands for an accelerator; nothing in this model waits for one."""
    task, batch = task_of(kind, "rnn_vae", reconstruct=kind == SERIES), batch_of(kind)
    series = type(batch.observed)(*(tensor.to("meta") for tensor in batch.observed))
    found = task.to("meta").step(Batch(series, series, None, batch.labels.to("meta")))
    assert {found.loss.device.type, *(v.device.type for v in found.metrics.values())} == {"meta"}


@torch.no_grad()
def test_an_autoregressive_answer_has_seen_its_time_and_none_later():
    task, batch = task_of(TIMES, "ode_rnn"), batch_of(TIMES)
    series = batch.observed
    values = series.values.clone()
    values[0, 2] += series.mask[0, 2]
    other = batch._replace(observed=series._replace(values=values))
    moved = (probabilities(task, batch) - probabilities(task, other)).abs().amax((2, 3)) > 1e-9
    assert moved[0].tolist() == [False, False, True, True, True] and not moved[1:].any()
