"""The trainer knows no ODE: here it trains a line."""

import json
import math

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn

from node_runner.training import (
    Diverged,
    Evaluation,
    Exhibit,
    Headline,
    Logger,
    Step,
    Trainer,
    load_checkpoint,
)
from node_runner.training.trainer import Progress


class Line(nn.Module):
    """y = w x + b by least squares; backward cost is known only once backward has run."""

    headline = Headline("error", "units")

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Linear(1, 1)
        self.backward_passes = 0
        self.net.weight.register_hook(self.count)

    def count(self, gradient):
        self.backward_passes += 1

    def step(self, batch):
        x, y = batch
        loss = (self.net(x) - y).square().mean()
        return Step(loss, {"nll": loss}, lambda: {"nfe/backward": self.backward_passes})

    def evaluate(self, batch):
        x, y = batch
        return Evaluation({"error": (self.net(x) - y).square().flatten()}, {"nfe": 2.0})

    def show(self, data):
        return Exhibit()


class Points:
    name, part, steps_per_epoch = "points", "generated", 4
    sizes = {"validation": 6, "test": 6}

    def __init__(self, scale=1.0):
        self.scale = scale

    def train_batch(self, step):
        x = torch.randn(8, 1, generator=torch.Generator().manual_seed(step))
        return x, self.scale * (3 * x - 1)

    def batches(self, split):
        x = torch.linspace(-1, 1, 6)[:, None]
        yield from ((part, 3 * part - 1) for part in x.split(4))


def fit(folder, data=None, done=None, **options):
    folder.mkdir(exist_ok=True)
    task, logger, done = Line(), Logger(folder), done or Progress()
    trainer = Trainer(progress=False, **options)
    optimizer = torch.optim.SGD(task.parameters(), lr=0.1)
    try:
        trainer.fit(task, data or Points(), optimizer, logger, done)
    finally:
        logger.close()
    return task, done, trainer


def lines(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_it_learns_the_line(tmp_path):
    task, done, trainer = fit(tmp_path, max_steps=200)
    assert done.step == 200
    assert task.net.weight.item() == pytest.approx(3, abs=1e-3)
    summary = trainer.evaluate(task, Points(), "test")
    assert summary["error"]["mean"] < 1e-6
    assert (summary["error"]["n"], summary["nfe"]["mean"]) == (6, 2.0)


def test_a_point_of_a_curve_is_the_mean_since_the_last(tmp_path):
    fit(tmp_path / "every", max_steps=7, log_every=1)
    fit(tmp_path / "third", max_steps=7, log_every=3)
    every = [line["train/loss"] for line in lines(tmp_path / "every") if "train/loss" in line]
    third = [line for line in lines(tmp_path / "third") if "train/loss" in line]
    assert [line["step"] for line in third] == [3, 6, 7]
    means = [sum(every[:3]) / 3, sum(every[3:6]) / 3, every[6]]
    assert [line["train/loss"] for line in third] == pytest.approx(means, rel=1e-12)


def test_costs_are_read_after_the_backward_pass(tmp_path):
    fit(tmp_path, max_steps=3, log_every=1)
    assert [line["nfe/backward"] for line in lines(tmp_path)] == [1, 2, 3]


def test_epochs_and_steps_stop_whichever_comes_first(tmp_path):
    assert fit(tmp_path / "a", max_steps=9, max_epochs=2)[1].step == 8
    assert fit(tmp_path / "b", max_steps=5, max_epochs=2)[1].step == 5


def test_validation_comes_once_an_epoch_unless_told(tmp_path):
    fit(tmp_path / "a", max_steps=10)
    fit(tmp_path / "b", max_steps=10, validate_every=3)
    for folder, steps in (("a", [4, 8]), ("b", [3, 6, 9])):
        found = [line["step"] for line in lines(tmp_path / folder) if "validation/error" in line]
        assert found == steps


def test_the_last_checkpoint_holds_the_end(tmp_path):
    task, _, _ = fit(tmp_path, max_steps=6)
    state = load_checkpoint(tmp_path / "checkpoints" / "last.pt")
    assert state["step"] == 6
    assert torch.equal(state["task"]["net.weight"], task.net.weight)


def test_a_run_from_a_checkpoint_ends_where_the_whole_run_ends(tmp_path):
    whole, _, _ = fit(tmp_path / "whole", max_steps=6)
    fit(tmp_path / "half", max_steps=3)
    state = load_checkpoint(tmp_path / "half" / "checkpoints" / "last.pt")
    task = Line()
    task.load_state_dict(state["task"])
    optimizer = torch.optim.SGD(task.parameters(), lr=0.1)
    optimizer.load_state_dict(state["optimizer"])
    logger = Logger(tmp_path / "half")
    trainer = Trainer(max_steps=6, progress=False)
    trainer.fit(task, Points(), optimizer, logger, Progress(state["step"]))
    logger.close()
    assert torch.equal(whole.net.weight, task.net.weight)


def test_a_loss_that_is_not_finite_ends_the_run(tmp_path):
    with pytest.raises(Diverged, match="the loss is (inf|nan) at step"):
        fit(tmp_path, Points(scale=math.inf), max_steps=5, log_every=2)


def test_events_can_be_read_back(tmp_path):
    fit(tmp_path, max_steps=20, log_every=5)
    events = EventAccumulator(str(tmp_path / "tb")).Reload()
    assert [event.step for event in events.Scalars("train/nll")] == [5, 10, 15, 20]
    assert {"time/step_ms", "memory/saved_mib"} <= set(events.Tags()["scalars"])


def test_what_cannot_stop_or_count_is_refused():
    with pytest.raises(ValueError, match="max_steps and trainer.max_epochs are both missing"):
        Trainer()
    with pytest.raises(ValueError, match=r"trainer\.log_every is 0, must be at least 1"):
        Trainer(max_steps=1, log_every=0)


def test_log_lines_stand_in_for_the_bar(tmp_path, caplog):
    with caplog.at_level("INFO"):
        fit(tmp_path, max_steps=20, log_every=1)
    assert "step 20/20" in caplog.text
    assert "s left" in caplog.text


def test_the_bar_shows_loss_and_nfe(tmp_path, capsys):
    task, logger = Line(), Logger(tmp_path)
    optimizer = torch.optim.SGD(task.parameters(), lr=0.1)
    Trainer(max_steps=20, log_every=5, progress=True).fit(
        task, Points(), optimizer, logger, Progress()
    )
    logger.close()
    shown = capsys.readouterr().err
    assert "20/20" in shown
    assert "nll" in shown
    assert "backward" in shown
