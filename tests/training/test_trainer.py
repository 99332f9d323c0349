"""The trainer knows no ODE: here it trains a line."""

import json
import math
from dataclasses import replace
from functools import partial

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR, OneCycleLR

from node_runner.training import (
    Abandoned,
    Artifacts,
    Checkpoints,
    Diverged,
    Evaluation,
    Logger,
    PrimaryMetric,
    Schedule,
    Trainer,
    TrainingStep,
    evaluate,
    load_checkpoint,
)
from node_runner.training.profile import profiler


class Line(nn.Module):
    """y = w x + b by least squares; backward cost is known only once backward has run."""

    primary_metric = PrimaryMetric("error", "units")

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
        return TrainingStep(loss, {"nll": loss}, lambda: {"nfe/backward": self.backward_passes})

    def evaluate(self, batch, split):
        x, y = batch
        return Evaluation({"error": (self.net(x) - y).square().flatten()}, {"nfe": 2.0})

    def visualize(self, data):
        return Artifacts()


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


def begin(trainer, folder, task=None):
    """A new state of the line, or that of the folder's last checkpoint."""
    task = task or Line()
    state = trainer.begin(task, torch.optim.SGD(task.parameters(), lr=0.1))
    checkpoints = Checkpoints(folder / "checkpoints")
    if checkpoints.last.exists():
        state.load_state_dict(checkpoints.newest(torch.device("cpu")), "last.pt")
    return state, checkpoints


def fit(folder, data=None, stop=lambda: None, **options):
    """Train in a folder, from its checkpoint if there is one."""
    folder.mkdir(exist_ok=True)
    trainer = Trainer(progress=False, **options)
    state, checkpoints = begin(trainer, folder)
    logger = Logger(folder, state.progress.step or None)
    try:
        ending = trainer.fit(state, data or Points(), logger, checkpoints, stop)
    finally:
        logger.close()
    return state, ending


def stop_after(calls):
    counter = iter(range(calls))
    return lambda: None if next(counter, None) is not None else "asked to"


def lines(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_it_learns_the_line(tmp_path):
    state, ending = fit(tmp_path, max_steps=200)
    assert (state.progress.step, ending) == (200, ("done", None))
    assert state.task.net.weight.item() == pytest.approx(3, abs=1e-3)
    summary = evaluate(state.task, Points(), "test")
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
    found = [line["nfe/backward"] for line in lines(tmp_path) if "nfe/backward" in line]
    assert found == [1, 2, 3]


def test_epochs_and_steps_stop_whichever_comes_first(tmp_path):
    assert fit(tmp_path / "a", max_steps=9, max_epochs=2)[0].progress.step == 8
    assert fit(tmp_path / "b", max_steps=5, max_epochs=2)[0].progress.step == 5


def test_validation_comes_once_an_epoch_unless_told_and_at_the_end(tmp_path):
    fit(tmp_path / "a", max_steps=10)
    fit(tmp_path / "b", max_steps=10, validate_every=3)
    for folder, steps in (("a", [4, 8, 10]), ("b", [3, 6, 9, 10])):
        found = [line["step"] for line in lines(tmp_path / folder) if "validation/error" in line]
        assert found == steps


def test_the_last_checkpoint_holds_the_end_and_the_one_before_is_kept(tmp_path):
    state, _ = fit(tmp_path, max_steps=6, best_on=None)
    last = load_checkpoint(tmp_path / "checkpoints" / "last.pt")
    assert last["progress"]["step"] == 6
    assert torch.equal(last["task"]["net.weight"], state.task.net.weight)
    assert load_checkpoint(tmp_path / "checkpoints" / "previous.pt")["progress"]["step"] == 4
    assert not (tmp_path / "checkpoints" / "best.pt").exists()


class Worsening(Points):
    """Data whose held-out error is lowest at the third of its evaluations."""

    sizes = {"validation": 6, "test": 6}

    def __init__(self):
        super().__init__()
        self.offsets = iter([3.0, 2.0, 1.0, 4.0, 5.0, 6.0])
        self.asked = []

    def batches(self, split):
        self.asked.append(split)
        offset = next(self.offsets)
        yield from ((x, y + 10 * offset) for x, y in super().batches(split))


@pytest.mark.parametrize("split", ["validation", "test"])
def test_the_best_weights_are_those_of_the_lowest_error_on_the_chosen_split(split, tmp_path):
    data = Worsening()
    state, _ = fit(tmp_path, data, max_steps=24, best_on=split)
    assert state.progress.best_step == 12
    assert set(data.asked) == {split}
    best = load_checkpoint(tmp_path / "checkpoints" / "best.pt")
    assert best["progress"]["step"] == 12
    state.load_weights(best, "best.pt")
    assert torch.equal(state.task.net.weight, best["task"]["net.weight"])


def test_patience_ends_training(tmp_path):
    state, ending = fit(tmp_path, Worsening(), max_steps=100, patience=2)
    assert state.progress.step == 20
    assert ending == ("done", "no improvement on validation in 2 evaluations")
    assert fit(tmp_path, Worsening(), max_steps=100, patience=2)[0].progress.step == 20


def test_time_ends_training_with_a_checkpoint_and_each_call_has_its_own(tmp_path):
    for calls in (1, 2, 3):
        state, ending = fit(tmp_path, max_steps=3, max_time=1e-9)
        reached = ("stopped", "trainer.max_time of 1e-09 s is reached")
        assert ending == (reached if calls < 3 else ("done", None))
        last = load_checkpoint(tmp_path / "checkpoints" / "last.pt")
        assert last["progress"]["step"] == state.progress.step == calls


SCHEDULES = [Schedule(warmup_steps=4, milestones=[2])]
SCHEDULES += [Schedule(warmup_steps=2, scheduler=CosineAnnealingLR)]
SCHEDULES += [Schedule(scheduler=partial(OneCycleLR, max_lr=1.0))]


@pytest.mark.parametrize("stopped_after", [0, 2, 3, 8])
@pytest.mark.parametrize("schedule", SCHEDULES, ids=["steps", "cosine", "onecycle"])
def test_a_stopped_run_ends_where_the_whole_run_ends_bit_by_bit(schedule, stopped_after, tmp_path):
    ema = None if stopped_after % 3 else 0.9
    options = {"max_steps": 12, "log_every": 5, "ema": ema, "clip_norm": 1.0, "schedule": schedule}
    whole, _ = fit(tmp_path / "whole", **options)
    _, ending = fit(tmp_path / "half", stop=stop_after(stopped_after), **options)
    assert ending == ("stopped", "asked to")
    again, _ = fit(tmp_path / "half", **options)
    assert torch.equal(whole.task.net.weight, again.task.net.weight)
    assert torch.equal(whole.evaluated.net.weight, again.evaluated.net.weight)
    assert whole.progress.best == again.progress.best
    for one, two in zip(lines(tmp_path / "whole"), lines(tmp_path / "half"), strict=True):
        skipped = ("time", "time/step_ms", "time/trained_s", "memory/peak_mib", "nfe/backward")
        assert [(k, one[k]) for k in one if k not in skipped] == [
            (k, two[k]) for k in two if k not in skipped
        ]


def test_clipping_bounds_the_step(tmp_path):
    free, _ = fit(tmp_path / "free", max_steps=1)
    clipped, _ = fit(tmp_path / "clipped", max_steps=1, clip_norm=1e-3)
    start = Line().net.weight
    assert (free.task.net.weight - start).abs() > 1e-2
    assert 0 < (clipped.task.net.weight - start).abs() <= 0.1 * 1e-3 + 1e-7


def test_the_average_is_the_exponential_one(tmp_path):
    trainer = Trainer(max_steps=5, ema=0.8, progress=False)
    state, checkpoints = begin(trainer, tmp_path)
    weights = []
    state.optimizer.register_step_post_hook(
        lambda *_: weights.append(state.task.net.weight.detach().clone())
    )
    logger = Logger(tmp_path)
    trainer.fit(state, Points(), logger, checkpoints)
    logger.close()
    average = weights[0]
    for weight in weights[1:]:
        average = 0.8 * average + 0.2 * weight
    torch.testing.assert_close(state.evaluated.net.weight, average)


def test_training_is_the_same_however_often_it_is_validated(tmp_path):
    class Noisy(Points):
        def train_batch(self, step):
            return torch.randn(8, 1), torch.randn(8, 1)

        def batches(self, split):
            yield torch.randn(4, 1), torch.randn(4, 1)

    ends = []
    for every in (1, 3):
        torch.manual_seed(5)
        state, _ = fit(tmp_path / str(every), Noisy(), max_steps=9, validate_every=every)
        ends.append(state.task.net.weight)
    assert torch.equal(*ends)


def test_a_loss_that_is_not_finite_ends_the_run(tmp_path):
    with pytest.raises(Diverged, match="the loss is (inf|nan) at step"):
        fit(tmp_path, Points(scale=math.inf), max_steps=5, log_every=2)


def test_events_can_be_read_back(tmp_path):
    fit(tmp_path, max_steps=20, log_every=5)
    events = EventAccumulator(str(tmp_path / "tb")).Reload()
    assert [event.step for event in events.Scalars("train/nll")] == [5, 10, 15, 20]
    assert {"time/step_ms", "memory/saved_mib"} <= set(events.Tags()["scalars"])


def test_a_weight_that_is_not_finite_ends_the_run_and_the_last_good_checkpoint_stays(tmp_path):
    class Exploding(Line):
        def step(self, batch):
            step = super().step(batch)
            if self.backward_passes == 5:  # a finite loss whose gradient is not
                return replace(step, loss=step.loss + (self.net.weight * 0).sqrt().sum())
            return step

    trainer = Trainer(max_steps=9, log_every=100, checkpoint_every=1, progress=False)
    state, checkpoints = begin(trainer, tmp_path, Exploding())
    logger = Logger(tmp_path)
    with pytest.raises(Diverged, match="a weight is not finite after step 6"):
        trainer.fit(state, Points(), logger, checkpoints)
    logger.close()
    last = load_checkpoint(tmp_path / "checkpoints" / "last.pt")
    assert last["progress"]["step"] == 5
    assert last["task"]["net.weight"].isfinite().all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_steps": None}, "^max_steps and max_epochs "),
        ({"log_every": 0}, "^log_every is 0"),
        ({"max_time": 0}, "^max_time is 0"),
        ({"ema": 1.0}, "^ema is 1.0"),
        ({"clip_norm": -1}, "^clip_norm is -1"),
        ({"patience": 2, "best_on": None}, "^patience needs best_on"),
    ],
)
def test_what_cannot_stop_or_count_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Trainer(**{"max_steps": 1} | options)


def test_choosing_on_data_that_are_not_held_out_is_refused():
    class All(Points):
        sizes = {"test": 6}

    with pytest.raises(ValueError, match="best_on is validation, but no data are held out"):
        Trainer(max_steps=1).steps(All())
    assert Trainer(max_steps=1, best_on="test").steps(All()) == 1


def test_log_lines_stand_in_for_the_bar(tmp_path, caplog):
    with caplog.at_level("INFO"):
        fit(tmp_path, max_steps=20, log_every=1)
    assert "step 20/20" in caplog.text
    assert "s left" in caplog.text


def test_the_bar_shows_loss_and_nfe(tmp_path, capsys):
    trainer = Trainer(max_steps=20, log_every=5, progress=True)
    state, checkpoints = begin(trainer, tmp_path)
    logger = Logger(tmp_path)
    trainer.fit(state, Points(), logger, checkpoints)
    logger.close()
    shown = capsys.readouterr().err
    assert "20/20" in shown
    assert "nll" in shown
    assert "backward" in shown


def test_a_profile_of_a_few_steps_is_left(tmp_path):
    trainer = Trainer(max_steps=12, progress=False)
    state, checkpoints = begin(trainer, tmp_path)
    logger = Logger(tmp_path)
    trainer.fit(state, Points(), logger, checkpoints, profiler=profiler(tmp_path / "tb"))
    logger.close()
    (trace,) = (tmp_path / "tb").glob("*.pt.trace.json")
    names = {event.get("name") for event in json.loads(trace.read_text())["traceEvents"]}
    assert {f"ProfilerStep#{step}" for step in (4, 5, 6, 7)} <= names
    assert "aten::linear" in names


class Impatient(Points):
    """A signal comes within one of its validations."""

    def __init__(self, validation):
        super().__init__()
        self.left, self.signal = validation, None

    def batches(self, split):
        self.left -= 1
        for batch in super().batches(split):
            yield batch
            if self.left == 0:
                self.signal = "SIGINT"
                raise Abandoned


@pytest.mark.parametrize("validation", [1, 2, 3], ids="in validation {}".format)
def test_a_validation_that_was_abandoned_is_done_when_the_run_goes_on(validation, tmp_path):
    """Also after the last step. The curves and the choice of weights are those of the undisturbed
    run.
    """
    options = {"max_steps": 10, "log_every": 1, "patience": 9, "schedule": Schedule(decay=0.9)}
    whole, _ = fit(tmp_path / "whole", **options)
    data = Impatient(validation)
    state, ending = fit(tmp_path / "other", data, lambda: data.signal, **options)
    assert ending == ("stopped", "SIGINT") and state.progress.step == (4, 8, 10)[validation - 1]
    before = len([line for line in lines(tmp_path / "other") if "validation/error" in line])
    assert before == validation - 1
    state, ending = fit(tmp_path / "other", **options)
    assert ending == ("done", None)

    def told(folder):
        machine = ("time", "memory/", "nfe/")  # the line counts passes of this process
        found = lines(tmp_path / folder)
        return [{k: v for k, v in e.items() if not k.startswith(machine)} for e in found]

    assert told("whole") == told("other")
    assert replace(state.progress, seconds=0, means={}) == replace(
        whole.progress, seconds=0, means={}
    )
    for name in ("last", "best"):
        one, two = (
            load_checkpoint(tmp_path / f / "checkpoints" / f"{name}.pt") for f in ("whole", "other")
        )
        assert torch.equal(one["task"]["net.weight"], two["task"]["net.weight"])
