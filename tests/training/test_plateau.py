"""The learning rate drops where evaluations bring no improvement, and a resumed run knows it."""

from __future__ import annotations

import pytest
import torch
from test_trainer import Points, Worsening, fit, lines, stop_after

from node_runner.training import Diverged, Schedule, load_checkpoint

WAITS = Schedule(gamma=0.5, waits=[1, 2])


class Away(Points):
    """What is learned leads away from the held-out data: the first evaluation is the best."""

    def batches(self, split):
        yield from ((x, -y) for x, y in super().batches(split))


class Failing(Away):
    """A loss that is not finite from a step on: the run ends there, as if killed."""

    def __init__(self, at):
        super().__init__()
        self.at = at

    def train_batch(self, step):
        x, y = super().train_batch(step)
        return x, y * (float("nan") if step >= self.at else 1)


def rates(folder):
    """By step, from 1."""
    found = [line for line in lines(folder) if "train/learning_rate" in line]
    return [line["train/learning_rate"] for line in found]


def test_the_rate_drops_after_each_wait_and_stays(tmp_path):
    """Four steps an epoch; without improvement since the first, two are too many, then three."""
    state, _ = fit(tmp_path, Away(), max_steps=28, log_every=1, schedule=WAITS)
    progress = state.progress
    assert (progress.best_step, progress.waited, progress.drops) == (4, 6, 2)
    assert rates(tmp_path) == pytest.approx([0.1] * 12 + [0.05] * 4 + [0.025] * 12)


def test_a_drop_outlasts_improvement(tmp_path):
    data = Worsening()
    data.offsets = iter([3.0, 5.0, 6.0, 2.0, 4.0, 4.0, 4.0])
    state, _ = fit(tmp_path, data, max_steps=28, log_every=1, schedule=WAITS)
    assert rates(tmp_path) == pytest.approx([0.1] * 12 + [0.05] * 16)
    assert (state.progress.best_step, state.progress.drops) == (16, 2)  # the second at the end


def test_a_run_that_improves_keeps_its_rate(tmp_path):
    state, _ = fit(tmp_path, max_steps=20, log_every=1, schedule=Schedule(waits=[0]))
    assert state.progress.drops == 0
    assert rates(tmp_path) == [0.1] * 20


def test_drops_come_on_top_of_warmup_and_milestones(tmp_path):
    schedule = Schedule(warmup_steps=2, milestones=[1], gamma=0.5, waits=[1])
    fit(tmp_path, Away(), max_steps=16, log_every=1, schedule=schedule)
    assert rates(tmp_path) == pytest.approx([0.05] + [0.1] * 3 + [0.05] * 8 + [0.025] * 4)


def test_without_a_split_that_chooses_nothing_drops(tmp_path):
    state, _ = fit(tmp_path, Away(), max_steps=20, log_every=1, best_on=None, schedule=WAITS)
    assert state.progress.drops == 0
    assert rates(tmp_path) == [0.1] * 20


def test_patience_and_drops_count_the_same_evaluations(tmp_path):
    state, ending = fit(tmp_path, Away(), max_steps=100, patience=3, schedule=WAITS)
    assert (state.progress.step, state.progress.drops) == (16, 2)
    assert ending.message == "no improvement on validation in 3 evaluations"


def same(tmp_path, one, two):
    whole, again = (load_checkpoint(tmp_path / f / "checkpoints" / "last.pt") for f in (one, two))
    assert torch.equal(whole["task"]["net.weight"], again["task"]["net.weight"])
    assert torch.equal(whole["task"]["net.bias"], again["task"]["net.bias"])
    for key in ("step", "best", "best_step", "waited", "drops"):
        assert whole["progress"][key] == again["progress"][key]
    for folder in (one, two):
        assert whole["optimizer"]["param_groups"] == again["optimizer"]["param_groups"], folder


@pytest.mark.parametrize("step", [11, 12, 13, 16], ids="step {}".format)
def test_a_run_resumed_about_a_drop_goes_on_at_the_same_rates_bit_by_bit(step, tmp_path):
    """The drops come at steps 12 and 16; the checkpoint is that of the step."""
    options = {"max_steps": 22, "log_every": 1, "schedule": WAITS}
    fit(tmp_path / "whole", Away(), **options)
    part, _ = fit(tmp_path / "half", Away(), stop_after(step - 1), **options)
    assert part.progress.step == step
    assert part.progress.drops == (step >= 12) + (step >= 16)
    fit(tmp_path / "half", Away(), **options)
    assert rates(tmp_path / "half") == rates(tmp_path / "whole")
    same(tmp_path, "whole", "half")


@pytest.mark.parametrize("every", [4, 5], ids="checkpoints every {}".format)
def test_a_run_that_fell_after_a_drop_goes_on_from_its_last_checkpoint(every, tmp_path):
    """At step 14: its checkpoint has the drop of step 12, or lies before it and finds it again."""
    options = {"max_steps": 22, "log_every": 1, "schedule": WAITS, "checkpoint_every": every}
    fit(tmp_path / "whole", Away(), **options)
    with pytest.raises(Diverged):
        fit(tmp_path / "fell", Failing(13), **options)
    last = load_checkpoint(tmp_path / "fell" / "checkpoints" / "last.pt")["progress"]
    assert (last["step"], last["drops"]) == ((12, 1) if every == 4 else (10, 0))
    fit(tmp_path / "fell", Away(), **options)
    same(tmp_path, "whole", "fell")
    assert rates(tmp_path / "fell")[-9:] == rates(tmp_path / "whole")[-9:]


def test_the_weights_of_the_best_evaluation_are_kept_through_drops(tmp_path):
    fit(tmp_path, Away(), max_steps=20, schedule=WAITS)
    best = load_checkpoint(tmp_path / "checkpoints" / "best.pt")
    assert (best["progress"]["step"], best["progress"]["drops"]) == (4, 0)
