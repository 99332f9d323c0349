"""Classification of series: areas under curves, what is refused, pictures, and that it learns."""

from __future__ import annotations

import math

import pytest
import torch
from label_cases import (
    SERIES,
    TIMES,
    Made,
    batch_of,
    kinds,
    labelled,
    part,
    probabilities,
    seeded,
    task_of,
)

from node_runner.data.spirals import Spirals
from node_runner.tasks.series_classification import area_under_curve
from node_runner.training.metrics import evaluate, summarise

CPU = torch.device("cpu")


def by_pairs(score, label):
    """Each positive beside each negative."""
    pairs = [(p, n) for p in score[label == 1].tolist() for n in score[label == 0].tolist()]
    return sum((p > n) + 0.5 * (p == n) for p, n in pairs) / len(pairs)


@pytest.mark.parametrize("levels", [2, 7, 10**6])
def test_the_area_is_the_chance_to_rank_a_pair_rightly_ties_half(levels):
    score, label = torch.randint(levels, (60,)).double() / levels, torch.randint(2, (60,))
    found = area_under_curve(score, label)
    assert found == pytest.approx(by_pairs(score, label), abs=1e-14)
    assert area_under_curve(-score, label) == pytest.approx(1 - found, abs=1e-14)
    assert area_under_curve(label.double(), label) == 1
    assert area_under_curve(torch.zeros(60), label) == 0.5


@pytest.mark.parametrize("label", [0, 1])
def test_the_area_of_one_class_alone_is_none(label):
    assert math.isnan(area_under_curve(torch.rand(4), torch.full((4,), label)))


@torch.no_grad()
def test_the_area_over_batches_is_that_of_the_whole():
    task = task_of(SERIES, "rnn_gaps", classes=2)
    batch = batch_of(SERIES, classes=2, lengths=(3, 5, 2, 4, 1, 5, 2, 3, 4))
    score = probabilities(task, batch)[:, 0, 1]
    parts = [task.evaluate(part(batch, rows), "test") for rows in ([0, 1], [2, 3, 4, 5, 6], [7, 8])]
    whole, apart = summarise([task.evaluate(batch, "test")]), summarise(parts)
    assert whole["auc"] == apart["auc"]
    assert apart["auc"]["mean"] == pytest.approx(by_pairs(score, batch.labels))
    assert 0 < apart["auc"]["mean"] < 1 and apart["auc"]["n"] == 9
    assert apart["nll"]["mean"] == pytest.approx(whole["nll"]["mean"])


@torch.no_grad()
def test_there_is_an_area_only_of_two_classes_of_series():
    assert not task_of(SERIES).evaluate(batch_of(SERIES), "test").pooled
    assert not task_of(TIMES, classes=2).evaluate(batch_of(TIMES, 2), "test").pooled


@pytest.mark.parametrize(("kind", "name"), [(SERIES, "latent_rnn"), (SERIES, "ode_rnn")])
def test_training_tells_series_apart(kind, name):
    learns(kind, name, reconstruct=True, weight=100.0)


@pytest.mark.parametrize("name", ["latent_rnn", "rnn_gaps"])
def test_training_tells_times_apart(name):
    learns(TIMES, name, sooner=name == "latent_rnn")


def learns(kind, name, sooner=False, **options):
    """From as good as a guess to far better; a latent state must hold all labels of a series."""
    data, task = Made(kind), task_of(kind, name, classes=2, **options).float()
    task.bind(data)
    before = evaluate(task, data, "test")
    optimizer = torch.optim.Adam(task.parameters(), 2e-2)
    for i in range(80):
        optimizer.zero_grad()
        task.train().step(data.train_batch(i)).loss.backward()
        optimizer.step()
    after = evaluate(task, data, "test")
    assert after["nll"]["mean"] < (0.9 if sooner else 0.2) * before["nll"]["mean"]
    assert sooner or after["accuracy"]["mean"] > 0.95


@torch.no_grad()
@pytest.mark.parametrize("name", ["latent_rnn", "rnn_gaps"])
@kinds
def test_the_confusion_figure_has_the_counts_of_answers(kind, name):
    task, batch = task_of(kind, name), batch_of(kind)
    data = Made(kind, 3)
    data.batches = lambda split: [part(batch, [0, 2]), part(batch, [1, 3])]
    counts = torch.zeros(3, 3, dtype=torch.int64)
    torch.manual_seed(7)
    for each in data.batches("test"):
        p = task.classify(task.model, each)[0].exp().mean(-2)
        for at, label in labelled(each):
            counts[label, p[at].argmax()] += 1
    figure = seeded(task.visualize, data).figures["confusion"]
    shown = {tuple(map(int, t.get_position()[::-1])): t.get_text() for t in figure.axes[0].texts}
    assert len(shown) == 9
    for (i, j), text in shown.items():
        share = counts[i, j] / counts[i].sum().clamp(min=1)
        assert text == f"{share:.2f}\n{counts[i, j]}"


def test_data_that_fit_are_accepted_and_set_the_schedule():
    for kind in (SERIES, TIMES):
        task = task_of(kind, classes=2).float()
        task.bind(Made(kind))
        assert task.kl.steps_per_epoch == 5 and task.kl.steps == 0


SPIRALS = {"train_size": 40, "validation_size": 4, "test_size": 10, "batch_size": 40}
REFUSALS = [
    (SERIES, 2, lambda: Spirals(0, CPU, **SPIRALS), "spirals has no labels to classify by"),
    (SERIES, 2, lambda: Made(TIMES), "made has labels of times, and task.classifier is given: it "),
    (TIMES, 2, lambda: Made(SERIES), "made has labels of whole series, and task.classifier is mis"),
    (
        SERIES,
        3,
        lambda: Made(SERIES),
        "among 3 classes and made has 2: set task.classifier.outputs",
    ),
    (TIMES, 3, lambda: Made(TIMES), "among 3 classes and made has 2: set series.outputs=2"),
]


@pytest.mark.parametrize(("kind", "classes", "data", "message"), REFUSALS)
def test_data_that_do_not_fit_are_refused_in_one_line(kind, classes, data, message):
    refused(lambda: task_of(kind, classes=classes).float().bind(data()), message)


def test_data_of_another_number_of_features_are_refused_in_one_line():
    data = Made(SERIES)
    data.shape = (41,)
    message = "the model is for series of 2 features and made has 41: set series.dim=41"
    refused(lambda: task_of(SERIES).bind(data), message)


@kinds
@torch.no_grad()
def test_probabilities_and_labels_are_arrays(kind):
    data, task = Made(kind), task_of(kind, classes=2, samples=2).float()
    found, (batch, *_) = task.sample(data).arrays, list(data.batches("test"))
    assert found["probabilities"].shape == (*batch.labels.shape, 2)
    sums = found["probabilities"].sum(-1)
    torch.testing.assert_close(sums, torch.ones_like(sums))
    known = found["labels"] >= 0
    assert torch.equal(known, batch.observed.present if kind == TIMES else torch.ones_like(known))
    assert torch.equal(found["labels"][known], batch.labels[known])


@pytest.mark.parametrize("weight", [0, -1.0, math.nan])
def test_a_weight_must_be_positive(weight):
    refused(lambda: task_of(SERIES, weight=weight), f"weight is {weight}, must be positive")


def test_to_reconstruct_needs_a_classifier():
    refused(lambda: task_of(TIMES, reconstruct=True), "set task.reconstruct=false")


def refused(call, message):
    with pytest.raises(ValueError) as caught:
        call()
    assert message in str(caught.value) and "\n" not in str(caught.value)
