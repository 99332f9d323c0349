"""What a run leaves behind: result.json for programs, a few lines for a person."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from shutil import which
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from . import stored
from .arguments import quoted

if TYPE_CHECKING:
    from .run import Run

PROTOCOL = ("solver", "eval_solver", "divergence", "eval_divergence", "regularizer", "optimizer")
PROTOCOL += ("schedule",)
OF_ODES = ("solver", "eval_solver")


def result(run: Run, state: str, message: str | None) -> dict[str, Any]:
    """The content of result.json."""
    done, here = run.state.progress, run.environment
    return {
        "state": state,
        "message": message,
        "mode": run.config.mode,
        "task": run.name,
        "cell": run.config.cell,
        "seed": run.config.seed,
        "run": run.config.run,  # of an evaluation: what it evaluated
        "typed": run.typed,
        "options": stored.comparable(run.config),
        "headline": run.task.headline._asdict(),
        "metrics": {f"test/{k}": v for k, v in run.test.items()}
        | {name: {"mean": value} for name, value in run.scalars.items()},
        "training": done.means,
        "protocol": {**protocol(run.config), "weights": run.weights},
        "data": {
            **{key: getattr(run.data, key) for key in ("name", "part", "sizes")},
            **belonging(run),
        },
        "parameters": run.parameters(),
        "nfe": {
            "forward": done.means.get("nfe/forward"),
            "backward": done.means.get("nfe/backward"),
            "evaluation": run.test.get("nfe", {}).get("mean"),
        },
        "memory": {k: done.means.get(f"memory/{k}") for k in ("peak_mib", "saved_mib")},
        "steps": done.step,
        "epochs": done.step / run.data.steps_per_epoch,
        "wall_seconds": round(done.seconds, 3),
        "device": here["device"],
        "world_size": here["world_size"],
        "global_batch": run.config.data.get("batch_size"),
        "versions": here["versions"],
        "revision": here["revision"],
    }


def belonging(run: Run) -> dict[str, Any]:
    """What of the data belongs to the run, in numbers; nothing where all is as the files or the
    generator have it.

    ``scaling``: u = (x - shift) / scale of the values x in the files; ``nats`` is what log scale
    adds to a negative log-likelihood of u, in which metrics are, to make it one of x.
    """
    scaling = getattr(run.data, "scaling", None)
    if scaling is not None:
        return {"scaling": scaling.summary()}
    state = run.state.data
    return {key: x.tolist() if hasattr(x, "tolist") else x for key, x in state.items()}


def units(run: Run) -> list[tuple[str, str]]:
    """In which units the figures are, where they are of scaled data."""
    scaling, metric = getattr(run.data, "scaling", None), run.task.headline.metric
    flow = hasattr(run.task, "flow")
    if scaling is None or not (flow or metric == "mse"):
        return []
    of = "values scaled by statistics of the training set (result.json: data.scaling)"
    return [("of", f"{of}; {scaling.nats:+.4f} nats in the files' units" if flow else of)]


def protocol(config: DictConfig) -> dict[str, Any]:
    """How the figures came about; a net without an ODE has no solver."""
    resolved = OmegaConf.to_container(config, resolve=True)
    parts = [key for key in ("model", "task") if key in config]
    solves = "${solver}" in OmegaConf.to_yaml(OmegaConf.masked_copy(config, parts))
    left_out = () if solves else OF_ODES
    return {key: resolved[key] for key in PROTOCOL if key in resolved and key not in left_out}


def report(run: Run, state: str, message: str | None) -> str:
    """The end of the run for a person: figures first, then where things are."""
    done, folder = run.state.progress, shown(run.folder)
    means = done.means
    steps = f"{done.step} steps in {done.seconds:.0f} s"
    if run.config.mode != "train":
        steps = f"{run.config.mode}d after {done.step} steps"
    rows = [(f"{state}:", f"{run.name}, {steps}")]
    if message:
        rows.append(("because", message))
    metric, unit, factor = run.task.headline
    if metric in run.test:
        value = run.test[metric]
        mean, error = factor * value["mean"], factor * value["standard_error"]
        told = f"{mean:.4f} {unit}".rstrip() + " (of one sample)"
        if value["n"] > 1:
            told = f"{mean:.4f} ± {error:.4f} {unit} (standard error over {value['n']} samples)"
        rows.append((f"test {metric}", told))
        rows += units(run)
        rows += estimator(run)
        rows.append(("weights", f"step {run.weights['step']}, {run.weights['chosen']}"))
    spent = {k: means[f"nfe/{k}"] for k in ("forward", "backward") if f"nfe/{k}" in means}
    if "nfe" in run.test:
        spent["evaluation"] = run.test["nfe"]["mean"]
    if spent:
        rows.append(("NFE", ", ".join(f"{what} {nfe:.0f}" for what, nfe in spent.items())))
    rows += [(name, f"{value:.4g}") for name, value in run.scalars.items()]
    rows += [
        (what.rstrip("s"), str(folder / path.relative_to(run.folder)))
        for what in ("figures", "arrays")
        for path in sorted((run.folder / what).glob("*"))
    ]
    rows.append(("result", str(folder / "result.json")))
    if state == "stopped" and run.checkpoints.last.exists():
        rows.append(("to go on", f"node-run {as_typed('resume', folder)}"))
    rows += [
        ("TensorBoard", str(folder / "tb")),
        ("", f"open with: {tensorboard()} --logdir {folder}"),
    ]
    width = max(18, 2 + max(len(label) for label, _ in rows))
    return "\n".join(["", *(f"  {label:<{width}}{text}" for label, text in rows)])


def estimator(run: Run) -> list[tuple[str, str]]:
    """What a likelihood of the test rests on, where a flow has one."""
    node = protocol(run.config).get("eval_divergence")
    if node is None:
        return []
    count = node.get("count")
    probes = "" if count is None else f", {count} random probe{'s' * (count > 1)} a sample"
    return [("divergence", node["_target_"].rpartition(".")[2].lower() + probes)]


def tensorboard() -> str:
    """The command that opens TensorBoard from here, whether or not its folder is on the PATH."""
    beside = Path(sys.executable).with_name("tensorboard")
    return str(shown(beside)) if which("tensorboard") is None and beside.exists() else "tensorboard"


def shown(folder: Path) -> Path:
    """The path as a person would type it here."""
    try:
        return folder.absolute().relative_to(Path.cwd())
    except ValueError:
        return folder


def as_typed(option: str, path: Path) -> str:
    """The option as a person would type it: Hydra and the shell both have marks of their own."""
    if re.fullmatch(r"[\w./:-]+", str(path)):
        return f"{option}={path}"
    return shlex.quote(f"{option}={quoted(path)}")


def typed_values(config: DictConfig, typed: Sequence[str]) -> dict[str, object]:
    """Return the typed options that affect the result with their values, by dotted name, for
    TensorBoard's table; of a job of a sweep that is what the sweep set.
    """
    values = {}
    for override in typed:
        key, _, text = override.partition("=")
        key = key.lstrip("+~")
        if not stored.within(key, (*stored.NOT_REPLAYED, *stored.CIRCUMSTANCES, "hydra")):
            value = OmegaConf.select(config, key.replace("/", "."), default=text)
            values[key] = text if OmegaConf.is_config(value) else value
    return values
