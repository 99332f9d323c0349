"""Runs that are killed at random moments and resumed, beside runs that nobody disturbed.

    .venv/bin/python tests/kill_runs.py 100

kills runs of three tasks so often, by SIGKILL: while they start, between and within the writing of
checkpoints, in the test, while pictures are drawn and while the result is written. Each is resumed,
some are killed again, and what they end with is compared with the undisturbed run: weights and
state bit by bit, every point of every curve, in metrics.jsonl and in TensorBoard, pictures, arrays
and the result. Prints what differs; the exit code is 0 if nothing does.
"""

from __future__ import annotations

import json
import random
import signal
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from forked import Forked
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from node_runner.training import load_checkpoint

FIXED = ["runtime=cpu", "runtime.threads=1", "runtime.deterministic=true", "trainer.log_every=4"]
FIXED += ["trainer.progress=false", "trainer.checkpoint_every=5", "trainer.max_steps=24"]
TASKS = {
    "toy": [
        *("task=ffjord_toy", "divergence=rademacher", "trainer.ema=0.9", "data.epoch_steps=10"),
        *("data.batch_size=32", "data.validation_size=32", "data.test_size=64", "task.grid=8"),
        *("model.field.hidden=[8]", "trainer.clip_norm=1.0", "schedule.warmup_steps=8"),
    ],
    "spirals": [
        *("task=latent_spirals", "data.train_size=20", "data.validation_size=8", "seed=3"),
        *("data.test_size=8", "data.batch_size=10", "data.evaluation_size=8", "series.state=6"),
        *("trainer.validate_every=6", "trainer.best_on=validation", "series.decoder=[6]"),
    ],
    "trajectory": [
        *("task=trajectory", "data.observations=20", "task.field.hidden=[6]", "eval_tol=1e-4"),
        *("trainer.validate_every=7", "task.horizon.steps=10", "tol=1e-3"),
    ],
}
LAST_STEP = '"step": 24'
TIMES = ("time", "time/step_ms", "time/trained_s", "memory/peak_mib")
COMPARED = ("state", "message", "metrics", "nfe", "steps", "protocol", "parameters", "not_finite")


def content(run: Path) -> dict[str, str]:
    """What has to be equal in two runs, by name, as text that holds it to the last bit."""
    torch.set_printoptions(precision=20, threshold=10**9)
    found: dict[str, object] = {}
    for name in ("last", "best"):
        state = load_checkpoint(run / "checkpoints" / f"{name}.pt")
        del state["progress"]["seconds"]
        means = state["progress"]["means"].items()
        state["progress"]["means"] = {tag: value for tag, value in means if tag not in TIMES}
        found |= {f"{name}.pt, {part}": value for part, value in state.items()}
    result = json.loads((run / "result.json").read_text())
    found |= {f"result.json, {name}": result.get(name) for name in COMPARED}
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    found["metrics.jsonl"] = [{k: v for k, v in x.items() if k not in TIMES} for x in lines]
    events = EventAccumulator(str(run / "tb"), size_guidance={"scalars": 0, "images": 0}).Reload()
    for tag in set(events.Tags()["scalars"]) - set(TIMES):
        found[f"curve {tag}"] = [(event.step, event.value) for event in events.Scalars(tag)]
    for tag in events.Tags()["images"]:
        found[f"pictures {tag}"] = [event.step for event in events.Images(tag)]
    for file in sorted([*run.glob("figures/*"), *run.glob("arrays/*")]):
        found[str(file.relative_to(run))] = file.read_bytes()
    found["left behind"] = [str(file.relative_to(run)) for file in run.rglob("*.partial*")]
    return {name: repr(value) for name, value in found.items()}


def differences(one: dict[str, str], two: dict[str, str]) -> list[str]:
    return sorted(name for name in {**one, **two} if one.get(name) != two.get(name))


class Killer:
    """Kills runs of one task, and compares what they end with.

    Args:
        options: Of the runs.
        folder: For all of them.
        seed: Of the moments.
    """

    def __init__(self, options: list[str], folder: Path, seed: int) -> None:
        self.options, self.folder = [*options, *FIXED], folder
        self.draw = random.Random(seed)
        self.kills = self.runs = 0
        folder.mkdir()
        began = time.monotonic()
        process = Forked(folder, *self.options, "hydra.run.dir=whole")
        self.wait(process, folder / "whole", training_ends)
        trained = time.monotonic()
        assert process.wait().returncode == 0, process.stderr
        self.training, self.ending = trained - began, time.monotonic() - trained
        self.whole = content(folder / "whole")

    def wait(self, process: Forked, run: Path, what: object) -> None:
        while process.poll() is None and not what(run):
            time.sleep(0.002)

    def kill(self, process: Forked, run: Path) -> None:
        """At a random moment of training, or of what comes after it."""
        if self.draw.random() < 0.5:
            self.wait(process, run, training_ends)
            time.sleep(self.draw.uniform(0, 1.1 * self.ending))
        else:
            time.sleep(self.draw.uniform(0, 1.1 * self.training))
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            self.kills += process.wait().returncode == -signal.SIGKILL

    def once(self, kills: int = 3) -> list[str]:
        """Kill a run at most ``kills`` times. Returns what differs from the undisturbed one."""
        self.runs, most = self.runs + 1, self.kills + kills
        name = f"run{self.runs}"
        run = self.folder / name
        while True:
            begun = (run / "command.yaml").exists()
            if state(run) == "done":
                break
            resumed = [f"resume={name}"] if begun else [*self.options, f"hydra.run.dir={name}"]
            process = Forked(self.folder, *resumed)
            if self.kills < most and (not begun or self.draw.random() < 0.6):
                self.kill(process, run)
            process.wait()
            if process.returncode not in (0, -signal.SIGKILL):
                return [f"exit code {process.returncode}: {process.stderr}"]
        return differences(self.whole, content(run))


def training_ends(run: Path) -> bool:
    """Whether the last point of training is there."""
    file = run / "metrics.jsonl"
    return file.exists() and LAST_STEP in file.read_text(errors="replace")


def state(run: Path) -> str | None:
    file = run / "result.json"
    return json.loads(file.read_text())["state"] if file.exists() else None


def main(count: int) -> int:
    """Kill ``count`` times over all tasks. Returns the exit code."""
    kills = wrong = 0
    with TemporaryDirectory() as made:
        killers = {
            name: Killer(options, Path(made) / name, seed=i)
            for i, (name, options) in enumerate(TASKS.items())
        }
        while kills < count:
            for name, killer in killers.items():
                different = killer.once()
                wrong += bool(different)
                kills = sum(k.kills for k in killers.values())
                text = f"DIFFERS in {', '.join(different)}" if different else "equal"
                print(f"{kills:4} kills: {name} run {killer.runs}: {text}", flush=True)
    runs = sum(k.runs for k in killers.values())
    print(f"{kills} kills of {runs} runs; {wrong} differ from the undisturbed one")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
