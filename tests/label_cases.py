"""Labels of series and of their times, and small tasks to tell them."""

from __future__ import annotations

from functools import cache

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from series_cases import random_series, solved_with, spread

from node_runner.data.series import Batch, full
from node_runner.nets import Feedforward
from node_runner.ode import Solver
from node_runner.runs import config
from node_runner.tasks.series_classification import SeriesClassification

config.register()
SOLVER = Solver("rk4", step_size=0.25)
LENGTHS = (5, 2, 1, 4)
SMALL = ["series.state=5", "series.latent=3", "series.ode_hidden=[8]", "series.cell_ode_hidden=[8]"]
MODELS = ["latent_rnn", "rnn_vae", "rnn_gaps", "ode_rnn"]
SERIES, TIMES = "series", "times"  # what labels are of
kinds = pytest.mark.parametrize("kind", [SERIES, TIMES])


@cache
def settings(name, outputs):
    with initialize_config_dir(str(config.FOLDER), version_base=config.VERSION_BASE):
        typed = ["task=latent_spirals", f"model={name}", f"series.outputs={outputs}", *SMALL]
        return compose("config", typed).model


def task_of(kind, name="latent_rnn", classes=3, samples=1, **options):
    """A small task in float64, all its parameters drawn, whose solves take fixed steps."""
    torch.manual_seed(0)
    found = settings(name, classes if kind == TIMES else 2)
    model, head = instantiate(found, _convert_="all"), None
    model.samples = samples
    if kind == SERIES:
        head = lambda size: Feedforward(size, classes, (6,))  # noqa: E731
    options = {"reconstruct": False, "weight": 1.0} | options
    task = SeriesClassification(model, SOLVER, head, **options)
    return solved_with(spread(task, 1.0), SOLVER)


def batch_of(kind, classes=3, lengths=LENGTHS, seed=1):
    series = random_series(lengths, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    shape = series.times.shape if kind == TIMES else series.times.shape[:1]
    return Batch(series, series, None, torch.randint(classes, shape, generator=generator))


def part(batch, rows):
    series = type(batch.observed)(*(tensor[rows] for tensor in batch.observed))
    return Batch(series, series, None, batch.labels[rows])


def seeded(call, *arguments):
    torch.manual_seed(7)
    return call(*arguments)


def probabilities(task, batch):
    """p(class) of each sample that the task draws, (B, [T,] S, C)."""
    if task.classifier is None:
        return seeded(task.model.filter, batch.observed).predictions.softmax(-1)
    found = seeded(task.model.infer, batch.observed, batch.target.times)
    return task.classifier(found.embedding).softmax(-1)


def labelled(batch):
    """Where there is a label, and which: index and class."""
    for i, n in enumerate(batch.observed.lengths.tolist()):
        if batch.labels.dim() == 1:
            yield (i,), int(batch.labels[i])
        else:
            yield from (((i, t), int(batch.labels[i, t])) for t in range(n))


class Made:
    """A set whose class 1 lies above 0 and class 0 below, in both features."""

    name, part, shape, steps_per_epoch = "made", "whole", (2,), 5
    sizes = {"train": 40, "validation": 0, "test": 40}

    def __init__(self, kind, classes=2):
        self.kind, self.classes = kind, classes

    def train_batch(self, step):
        draw = {"generator": torch.Generator().manual_seed(step)}
        labels = torch.randint(2, (40, 6) if self.kind == TIMES else (40,), **draw)
        sign = (2.0 * labels - 1).view(40, -1, 1)
        values = sign + 0.3 * torch.randn(40, 6, 2, **draw)
        series = full(torch.arange(1, 7) / 6, values)
        return Batch(series, series, None, labels)

    def batches(self, split):
        yield self.train_batch(10**6)
