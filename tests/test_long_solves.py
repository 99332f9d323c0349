"""Solves that take too much memory or too long, on the command line."""

import json
import logging
import random
import signal
import time

import numpy
import pytest
import torch
from forked import Forked, node_run
from torch import nn

from node_runner.ode import Adjoint, Direct, Replay, Solver, observed
from node_runner.training import load_checkpoint
from node_runner.training import progress as bar
from node_runner.training.abandon import StepStart
from node_runner.training.state import Progress

SMALL = ["task=ffjord_toy", "data.batch_size=64", "data.validation_size=64", "data.test_size=64"]
SMALL += ["model.field.hidden=[16]", "data.epoch_steps=1000", "task.grid=8", "runtime=cpu"]


def result_of(folder):
    (path,) = folder.rglob("result.json")
    return json.loads(path.read_text())


@pytest.mark.parametrize(
    "options, cause",
    [
        (["solver=rk4", "solver.step_size=1e-3", "gradient.max_mib=8"], "max_mib of 8"),
        (["solver=rk4", "solver.step_size=1e-9"], "takes 5e+08 steps"),
    ],
)
def test_a_solve_that_would_fill_the_memory_ends_as_diverged(options, cause, tmp_path):
    process = node_run(tmp_path, *SMALL, *options, "trainer.max_steps=20")
    assert process.returncode == 3, process.stdout + process.stderr
    result = result_of(tmp_path)
    assert result["state"] == "diverged" and cause in result["message"]
    assert "gradient=replay" in result["message"] or "step_size" in result["message"]


# A field whose every step takes long: thousands of solver steps for one of the optimizer.
LONG = [*SMALL, "solver=rk4", "solver.step_size=1e-4", "solver.max_steps=100000", "task.grid=4"]
LONG += ["trainer.max_steps=2", "divergence=rademacher", "runtime.threads=1"]


@pytest.mark.parametrize(
    "gradient, number",
    [("direct", signal.SIGINT), ("replay", signal.SIGTERM), ("adjoint", signal.SIGINT)],
)
def test_a_signal_acts_within_a_long_step(gradient, number, tmp_path):
    """At once, with the state before that step, which a run that is resumed takes again."""
    process = Forked(tmp_path, *LONG, f"gradient={gradient}")
    while not list(tmp_path.rglob("metrics.jsonl")) and process.poll() is None:
        time.sleep(0.01)
    time.sleep(1.0)
    began = time.monotonic()
    process.send_signal(number)
    text = process.wait(60).stdout + process.stderr
    assert process.returncode == 128 + number, text
    assert "Traceback" not in text and time.monotonic() - began < 10
    result = result_of(tmp_path)
    assert (result["state"], result["message"], result["steps"]) == ("stopped", number.name, 0)
    (last,) = tmp_path.rglob("last.pt")
    assert load_checkpoint(last)["progress"]["step"] == 0


def test_a_step_that_was_abandoned_is_taken_again_to_the_bit():
    """Its random numbers and buffers are those that it had before."""
    net = nn.BatchNorm1d(3)
    start = StepStart(net)
    torch.manual_seed(torch.initial_seed())
    before, first = [b.clone() for b in net.buffers()], torch.rand(3)
    start = StepStart(net)
    drawn = torch.rand(3), numpy.random.rand(), random.random()
    net(torch.randn(8, 3))
    start.restore()
    assert torch.equal(drawn[0], torch.rand(3)) and not torch.equal(drawn[0], first)
    assert drawn[1:] == (numpy.random.rand(), random.random())
    assert all(torch.equal(a, b) for a, b in zip(before, net.buffers(), strict=True))


GRADIENTS = {"direct": Direct(), "replay": Replay(), "adjoint": Adjoint()}


@pytest.mark.parametrize("gradient", GRADIENTS.values(), ids=GRADIENTS)
def test_an_observer_sees_both_ways_and_may_end_them(gradient):
    field, y0 = nn.Linear(2, 2), torch.ones(2, requires_grad=True)
    solver, seen = Solver("rk4", step_size=1e-2, gradient=gradient), []
    with observed(seen.append, every=0.0):
        solution = solver(lambda t, y: field(y), y0, [0.0, 1.0], params=[*field.parameters()])
        forward = len(seen)
        assert forward >= 99 and [p.t for p in seen] == sorted(p.t for p in seen)
        solution.final.sum().backward()
    times = [p.t for p in seen[forward:]]
    assert len(times) >= 98 and times == sorted(times, reverse=True)

    class Enough(BaseException):
        pass

    def end(progress):
        raise Enough

    loss = solver(lambda t, y: field(y), y0, [0.0, 1.0], params=[*field.parameters()]).final.sum()
    with pytest.raises(Enough), observed(end, every=0.0):
        solver(lambda t, y: field(y), y0, [0.0, 1.0], params=[*field.parameters()])
    if not isinstance(gradient, Direct):
        with pytest.raises(Enough), observed(end, every=0.0):
            loss.backward()


def test_what_takes_long_is_shown(caplog, monkeypatch):
    """A log line after a while, and on a bar; the time left knows of the limit."""
    caplog.set_level(logging.INFO, logger="node_runner")
    monkeypatch.setattr(bar, "SLOW", 0.0)
    status = bar.Status()
    status.start("step 1/10")
    status.tell("solve at t=0.5, 12 evaluations")
    assert "step 1/10: solve at t=0.5, 12 evaluations" in caplog.text
    done, status.left = Progress(), lambda: 7.0
    for step in bar.steps_with_bar(done, 100, 1, False, status):
        done.step, done.seconds = step + 1, 100.0 * (step + 1)
        if step == 20:
            break
    assert " 7 s left" in caplog.text
