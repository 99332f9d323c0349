"""One run: build it from its configuration, train, evaluate, and leave a folder that says it all.

outputs/<task>/<stamp>/
    config.yaml         the configuration
    env.json            machine, versions, revision
    metrics.jsonl, tb/  the curves
    figures/            the pictures
    checkpoints/        last.pt
    result.json         state and final figures
    run.log             what was said
"""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from shutil import which
from typing import Any

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from .ode import SolverError
from .schema import UserError, dotted
from .training import Data, Diverged, Logger, Task, Trainer
from .training.runtime import environment
from .training.trainer import Progress, Summary

log = logging.getLogger(__name__)

PROTOCOL = ("solver", "eval_solver", "divergence", "regularizer", "optimizer")


@dataclass
class Run:
    """A run that has been built and can be executed."""

    name: str
    folder: Path
    config: DictConfig
    environment: dict[str, object]
    device: torch.device
    data: Data
    task: Task
    optimizer: torch.optim.Optimizer
    trainer: Trainer
    logger: Logger
    progress: Progress = field(default_factory=Progress)
    test: Summary = field(default_factory=dict)
    scalars: dict[str, float] = field(default_factory=dict)

    @staticmethod
    def build(config: DictConfig, folder: Path, name: str) -> Run:
        """Construct all objects.

        Raises:
            InstantiationException, UserError: for values that a constructor refuses.
            FileNotFoundError: for data that is not there.
        """
        trainer, runtime = construct(config.trainer), construct(config.runtime)
        device = told(runtime.apply, config.seed)
        data = construct(config.data, seed=config.seed, device=device)
        task = construct(config.task).to(device)
        optimizer = told(construct(config.optimizer), task.parameters())
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.yaml").write_text(OmegaConf.to_yaml(config), encoding="utf-8")
        here = environment(device)
        write_json(folder / "env.json", here)
        logger = Logger(folder)
        return Run(name, folder, config, here, device, data, task, optimizer, trainer, logger)

    def execute(self) -> str:
        """Train, evaluate, show; returns the state, "done" or "diverged", which result.json holds.

        Raises:
            KeyboardInterrupt: after all has been written.
        """
        log.info(
            "%s: %s parameters, %d steps on %s, in %s",
            self.name,
            f"{self.parameters():,}",
            self.trainer.steps(self.data),
            self.device,
            self.folder,
        )
        state, message = "failed", None
        try:
            self.trainer.fit(self.task, self.data, self.optimizer, self.logger, self.progress)
            self.finish()
            state = "done"
        except (SolverError, Diverged) as error:
            state, message = "diverged", str(error)
            log.error("diverged at step %d: %s", self.progress.step, error)
        except KeyboardInterrupt:
            state, message = "stopped", "interrupted"
            log.error("interrupted at step %d", self.progress.step)
            raise
        except BaseException as error:
            message = f"{type(error).__name__}: {error}"
            raise
        finally:
            write_json(self.folder / "result.json", self.result(state, message))
            self.logger.hparams(flat(self.config), self.final_metrics())
            self.logger.close()
            self.report(state)
        return state

    def finish(self) -> None:
        """Evaluate on the test set and draw."""
        step = self.progress.step
        self.test = self.trainer.evaluate(self.task, self.data, "test")
        self.task.eval()
        with torch.no_grad():
            exhibit = self.task.show(self.data)
        self.scalars = exhibit.scalars
        self.logger.scalars(self.final_metrics(), step)
        for name, figure in exhibit.figures.items():
            self.logger.figure(name, figure, step)

    def final_metrics(self) -> dict[str, float]:
        return {**{f"test/{k}": v["mean"] for k, v in self.test.items()}, **self.scalars}

    def parameters(self) -> int:
        return sum(p.numel() for p in self.task.parameters())

    def result(self, state: str, message: str | None) -> dict[str, Any]:
        """The content of result.json."""
        means, steps = self.progress.means, self.progress.step
        here = self.environment
        resolved = OmegaConf.to_container(self.config, resolve=True)
        return {
            "state": state,
            "message": message,
            "task": self.name,
            "cell": self.config.cell,
            "seed": self.config.seed,
            "metrics": {f"test/{k}": v for k, v in self.test.items()}
            | {name: {"mean": value} for name, value in self.scalars.items()},
            "training": means,
            "protocol": {key: resolved[key] for key in PROTOCOL if key in resolved},
            "data": {"name": self.data.name, "part": self.data.part, "sizes": self.data.sizes},
            "parameters": self.parameters(),
            "nfe": {
                "forward": means.get("nfe/forward"),
                "backward": means.get("nfe/backward"),
                "evaluation": self.test.get("nfe", {}).get("mean"),
            },
            "memory": {k: means.get(f"memory/{k}") for k in ("peak_mib", "saved_mib")},
            "steps": steps,
            "epochs": steps / self.data.steps_per_epoch,
            "wall_seconds": round(self.progress.seconds, 3),
            "device": here["device"],
            "world_size": here["world_size"],
            "global_batch": self.config.data.get("batch_size"),
            "versions": here["versions"],
            "revision": here["revision"],
        }

    def report(self, state: str) -> None:
        """The end of the run for a person: figures first, then where things are."""
        means, done, folder = self.progress.means, self.progress, shown(self.folder)
        rows = [(f"{state}:", f"{self.name}, {done.step} steps in {done.seconds:.0f} s")]
        metric, unit, factor = self.task.headline
        if metric in self.test:
            value = self.test[metric]
            mean, error = factor * value["mean"], factor * value["standard_error"]
            spread = f"standard error over {value['n']} samples"
            rows.append((f"test {metric}", f"{mean:.4f} ± {error:.4f} {unit} ({spread})"))
        if "nfe/forward" in means:
            spent = {"forward": means["nfe/forward"], "backward": means["nfe/backward"]}
            if "nfe" in self.test:
                spent["evaluation"] = self.test["nfe"]["mean"]
            rows.append(("NFE", ", ".join(f"{what} {nfe:.0f}" for what, nfe in spent.items())))
        rows += [(name, f"{value:.4f}") for name, value in self.scalars.items()]
        pictures = sorted(self.folder.glob("figures/*.png"))
        rows += [("picture", str(folder / path.relative_to(self.folder))) for path in pictures]
        rows += [
            ("result", str(folder / "result.json")),
            ("TensorBoard", str(folder / "tb")),
            ("", f"open with: {tensorboard()} --logdir {folder}"),
        ]
        log.info("%s", "\n".join(["", *(f"  {label:<18}{text}" for label, text in rows)]))


def construct(node: DictConfig, **provided: object) -> Any:
    """The object that a node stands for. Plain lists and dicts go in: in OmegaConf's own containers
    a dataclass instance would become a configuration again.
    """
    return instantiate(node, _convert_="all", **provided)


def tensorboard() -> str:
    """The command that opens TensorBoard from here, whether or not its folder is on the PATH."""
    beside = Path(sys.executable).with_name("tensorboard")
    return str(shown(beside)) if which("tensorboard") is None and beside.exists() else "tensorboard"


def told(function: Callable, *arguments: object) -> Any:
    """The result of ``function``; what it refuses is a mistake of the user's, as in a
    constructor.
    """
    try:
        return function(*arguments)
    except ValueError as error:
        raise UserError(str(error)) from error


def shown(folder: Path) -> Path:
    """The path as a person would type it here."""
    try:
        return folder.relative_to(Path.cwd())
    except ValueError:
        return folder


def flat(config: DictConfig) -> dict[str, object]:
    """Options by dotted name, for TensorBoard's table."""
    tree = OmegaConf.to_container(config, resolve=True)
    return {key: value for key, value in dotted(tree) if not isinstance(value, dict)}


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Whole or not at all; NaN is written as Python does and read by Python."""
    partial = path.with_name(path.name + ".partial")
    partial.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    os.replace(partial, path)
