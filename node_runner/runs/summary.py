"""End of a run: its record for programs, and a few lines for a person."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

from omegaconf import DictConfig, OmegaConf

from . import store
from .config import has_prefix
from .paths import relative, tensorboard, typed_option
from .record import FILE, DataSummary, Headline, RunRecord

if TYPE_CHECKING:
    from .run import Run

__all__ = ["record_of", "summary", "typed_values"]

PROTOCOL: tuple[str, ...] = ("solver", "eval_solver", "divergence", "eval_divergence")
PROTOCOL += ("regularizer", "optimizer", "schedule")
_OF_ODES = ("solver", "eval_solver")


def record_of(run: Run, state: str, message: str | None) -> RunRecord:
    """Return the record of a run that has ended."""
    done, environment = run.state.progress, run.environment
    metric, unit, factor = run.task.primary_metric
    scalars = {name: {"mean": value} for name, value in run.scalars.items()}
    return RunRecord(
        state=state,
        message=message,
        mode=run.config.mode,
        task=run.name,
        cell=run.config.cell,
        seed=run.config.seed,
        run=run.config.run,
        typed=run.typed,
        options=store.comparable(run.config),
        headline=Headline(metric=metric, unit=unit, factor=factor),
        metrics={f"test/{k}": v for k, v in run.test.items()} | scalars,
        training=done.means,
        protocol={**protocol(run.config), "weights": run.weights},
        data=_data_summary(run),
        parameters=run.parameters,
        nfe={
            "forward": done.means.get("nfe/forward"),
            "backward": done.means.get("nfe/backward"),
            "evaluation": run.test.get("nfe", {}).get("mean"),
        },
        memory={
            "peak_mib": done.means.get("memory/peak_mib"),
            "saved_mib": done.means.get("memory/saved_mib"),
        },
        steps=done.step,
        epochs=done.step / run.data.steps_per_epoch,
        wall_seconds=round(done.seconds, 3),
        device=environment["device"],
        world_size=environment["world_size"],
        global_batch=run.config.data.get("batch_size"),
        versions=environment["versions"],
        revision=environment["revision"],
    )


def _data_summary(run: Run) -> DataSummary:
    """Return the description of the data, and the state that belongs to the run."""
    summary: DataSummary = {
        "name": run.data.name,
        "part": run.data.part,
        "sizes": run.data.sizes,
    }
    return cast(DataSummary, {**summary, **_data_state(run)})


def _data_state(run: Run) -> dict[str, Any]:
    """Return what of the data belongs to the run, in numbers; empty where rows are as the files or
    the generator have them.

    ``scaling``: u = (x - shift) / scale of the values x in the files; ``nats`` is what log scale
    adds to a negative log-likelihood of u, in which metrics are, to make it one of x.
    """
    scaling = getattr(run.data, "scaling", None)
    if scaling is not None:
        return {"scaling": scaling.summary()}
    state = run.state.data
    return {key: x.tolist() if hasattr(x, "tolist") else x for key, x in state.items()}


def protocol(config: DictConfig) -> dict[str, Any]:
    """Return the resolved options behind the figures; a net without an ODE has no solver."""
    resolved: Any = OmegaConf.to_container(config, resolve=True)
    parts = [key for key in ("model", "task") if key in config]
    solves = "${solver}" in OmegaConf.to_yaml(OmegaConf.masked_copy(config, parts))
    left_out = () if solves else _OF_ODES
    return {key: resolved[key] for key in PROTOCOL if key in resolved and key not in left_out}


def summary(run: Run, state: str, message: str | None) -> str:
    """Return the end of a run for a person: figures first, then where files are."""
    done, folder = run.state.progress, relative(run.folder)
    steps = f"{done.step} steps in {done.seconds:.0f} s"
    if run.config.mode != "train":
        steps = f"{run.config.mode}d after {done.step} steps"
    rows = [(f"{state}:", f"{run.name}, {steps}")]
    if message:
        rows.append(("because", message))
    rows += _test(run)
    spent = {k: done.means[f"nfe/{k}"] for k in ("forward", "backward") if f"nfe/{k}" in done.means}
    if "nfe" in run.test:
        spent["evaluation"] = run.test["nfe"]["mean"]
    if spent:
        rows.append(("NFE", ", ".join(f"{solve} {nfe:.0f}" for solve, nfe in spent.items())))
    rows += [(name, f"{value:.4g}") for name, value in run.scalars.items()]
    rows += [
        (kind.rstrip("s"), str(folder / path.relative_to(run.folder)))
        for kind in ("figures", "arrays")
        for path in sorted((run.folder / kind).glob("*"))
    ]
    rows.append(("result", str(folder / FILE)))
    if state == "stopped" and run.checkpoints.last.exists():
        rows.append(("to resume", f"node-run {typed_option('resume', folder)}"))
    rows += [
        ("TensorBoard", str(folder / "tb")),
        ("", f"open with: {tensorboard()} --logdir {folder}"),
    ]
    width = max(18, 2 + max(len(label) for label, _ in rows))
    return "\n".join(["", *(f"  {label:<{width}}{text}" for label, text in rows)])


def _test(run: Run) -> list[tuple[str, str]]:
    """Return the main metric of the test, and on what it rests."""
    metric, unit, factor = run.task.primary_metric
    if metric not in run.test:
        return []
    value = run.test[metric]
    mean, error = factor * value["mean"], factor * value["standard_error"]
    text = f"{mean:.4f} {unit}".rstrip() + " (of one sample)"
    if value["n"] > 1:
        text = f"{mean:.4f} ± {error:.4f} {unit} (standard error over {value['n']} samples)"
    weights = f"step {run.weights['step']}, {run.weights['chosen']}"
    return [(f"test {metric}", text), *_units(run), *_estimator(run), ("weights", weights)]


def _units(run: Run) -> list[tuple[str, str]]:
    """Return the units of the figures, where they are of scaled data."""
    scaling, metric = getattr(run.data, "scaling", None), run.task.primary_metric.metric
    flow = hasattr(run.task, "flow")
    if scaling is None or not (flow or metric == "mse"):
        return []
    of = "values scaled by statistics of the training set (result.json: data.scaling)"
    return [("of", f"{of}; {scaling.nats:+.4f} nats in the files' units" if flow else of)]


def _estimator(run: Run) -> list[tuple[str, str]]:
    """Return the estimator of the divergence in the test's likelihood, where a flow has one."""
    node = protocol(run.config).get("eval_divergence")
    if node is None:
        return []
    count = node.get("count")
    probes = "" if count is None else f", {count} random probe{'s' * (count > 1)} a sample"
    return [("divergence", node["_target_"].rpartition(".")[2].lower() + probes)]


def typed_values(config: DictConfig, typed: Sequence[str]) -> dict[str, object]:
    """Return the typed options that affect the result with their values, by dotted name, for
    TensorBoard's table; of a job of a sweep that is what the sweep set.
    """
    values = {}
    for override in typed:
        key, text = store.key_of(override), override.partition("=")[2]
        if not has_prefix(key, (*store.NOT_REPLAYED, *store.NEUTRAL_KEYS, "hydra")):
            value = OmegaConf.select(config, key.replace("/", "."), default=text)
            values[key] = text if OmegaConf.is_config(value) else value
    return values
