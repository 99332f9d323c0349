"""What the runner itself costs: the start of node-run --help, and the trainer around a step.

The task has an empty step: its loss is the square of one parameter. A bare loop of the same
forward and backward pass and optimizer step is timed in turns with ``Trainer.fit``, which also
draws the batch, sets the learning rate, adds up the means, watches for signals, and every ten steps
writes nine curves to TensorBoard and metrics.jsonl, as in any run. Evaluations and checkpoints,
whose cost is that of a task's own evaluation and of the disk, come once at the end.

    python -m benchmarks.runner
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor, nn

from benchmarks.harness import begin, bullets, environment, interleave, parser, report, table
from node_runner.training import (
    Artifacts,
    Checkpoints,
    Evaluation,
    Logger,
    PrimaryMetric,
    Trainer,
    TrainingStep,
)

STEPS, HELP_LIMIT, OVERHEAD_LIMIT = 1000, 1.5, 0.3  # seconds, milliseconds


class Empty(nn.Module):
    """A task with nothing to do."""

    primary_metric = PrimaryMetric("loss", "-")

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))

    def step(self, batch: None) -> TrainingStep:
        return TrainingStep(self.weight.square(), {}, dict)

    def check(self, data: Nothing) -> None:
        pass

    def evaluate(self, batch: None, split: str) -> Evaluation:
        return Evaluation({"loss": self.weight[None]}, {})

    def visualize(self, data: Nothing) -> Artifacts:
        return Artifacts()


class Nothing:
    """Data of no size."""

    name, part, steps_per_epoch = "nothing", "whole", STEPS
    sizes = {"validation": 1, "test": 1}

    def train_batch(self, step: int) -> None:
        return None

    def batches(self, split: str) -> Iterator[Tensor | None]:
        yield None


def bare() -> None:
    """The steps without a trainer."""
    task = Empty()
    optimizer = torch.optim.SGD(task.parameters(), lr=1e-3)
    for _ in range(STEPS):
        loss = task.weight.square()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()


def trained() -> None:
    """The steps as a run does them."""
    task = Empty()
    trainer = Trainer(max_steps=STEPS, progress=False)
    state = trainer.begin(task, torch.optim.SGD(task.parameters(), lr=1e-3))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        logger = Logger(folder)
        trainer.fit(state, Nothing(), logger, Checkpoints(folder / "checkpoints"))
        logger.close()


def helped() -> None:
    subprocess.run(
        [sys.executable, "-m", "node_runner", "--help"], check=True, stdout=subprocess.DEVNULL
    )


def main() -> int:
    args = begin(parser(__doc__, rounds=True))
    timings = interleave({"bare": bare, "trainer": trained, "help": helped}, args.rounds)
    per_step = {name: 1e3 * timings[name].median / STEPS for name in ("bare", "trainer")}
    overhead, start = per_step["trainer"] - per_step["bare"], timings["help"].median
    rows = [
        ["node-run --help", f"{start:.2f} s", f"{HELP_LIMIT} s"],
        ["a bare step", f"{per_step['bare']:.3f} ms", "-"],
        ["a step in the trainer", f"{per_step['trainer']:.3f} ms", "-"],
        ["the trainer's own", f"{overhead:.3f} ms", f"{OVERHEAD_LIMIT} ms"],
    ]
    verdict = f"aims met: {start < HELP_LIMIT and overhead < OVERHEAD_LIMIT}"
    where = environment("runner", args, ["torch", "hydra-core", "tensorboard"])
    report("runner", args, [where, table(["what", "median", "aim"], rows), bullets([verdict])])
    return 0


if __name__ == "__main__":
    sys.exit(main())
