"""Numbers and options as text of table cells."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from math import floor, isfinite, isnan, log10
from typing import Any

from ..runs.config import has_prefix
from ..runs.store import NEUTRAL_KEYS, distinct_overrides
from .published import FIRM, SURE, Cell
from .results import Group, Result, Spread

NONE = "-"
# Options that do not affect the result (device, paths, sweep, launcher).
IRRELEVANT = (*NEUTRAL_KEYS, "seed", "resume", "run", "mode", "sweep", "launcher", "hydra")
DEVICES = ("runtime=auto", "runtime=cpu", "runtime=cuda")


def format_spread(spread: Spread, decimals: int = 0) -> str:
    """Format mean and sd over seeds, or of one seed mean and standard error over test samples, with
    two digits of the error and at least ``decimals`` decimals.
    """
    error = spread.standard_error if isnan(spread.sd) else spread.sd
    if isfinite(error) and error > 0:
        decimals = max(decimals, 1 - floor(log10(error)))
    mean, text = f"{spread.mean:.{decimals}f}", f"{error:.{decimals}f}"
    if isnan(error):
        return mean if decimals else f"{spread.mean:.4g}"
    return f"{mean} (s.e. {text})" if isnan(spread.sd) else f"{mean} ± {text}"


def format_published(cell: Cell, decimals: int) -> str:
    """Format a published number with its sd and unit, marked if it was not read in the paper."""
    sd = "" if cell.sd is None else f" ± {cell.sd:.{decimals}f}"
    return f"{cell.value:.{decimals}f}{sd}{source_mark(cell.sure)} {cell.unit}".rstrip()


def source_mark(sure: str) -> str:
    """Say how a number is known, if neither from the paper nor from the authors' code."""
    return "" if SURE.index(sure) < FIRM else f" ({sure})"


def format_other_methods(cell: Cell) -> str:
    """List the figures of other methods in the paper."""
    figures = [
        f"{name} {' ± '.join(map(str, value if isinstance(value, list) else [value]))}"
        for name, value in cell.other_methods.items()
    ]
    return f"{', '.join(figures)}{source_mark(cell.other_methods_sure)}" if figures else NONE


def format_count(value: float) -> str:
    """Round to a whole number with thousands separated."""
    return NONE if isnan(value) else f"{value:,.0f}"


def format_short(value: float) -> str:
    """Format with three digits, and no decimals from 100 on."""
    return NONE if isnan(value) else f"{value:.3g}" if abs(value) < 99.5 else f"{value:,.0f}"


def format_tolerance(value: float | list[float]) -> str:
    """Format a tolerance, or one for each entry of the state, as it is typed: 1e-5."""
    if isinstance(value, list):
        return f"[{','.join(map(format_tolerance, value))}]"
    return f"{value:g}".replace("e-0", "e-")


def with_unit(name: str, unit: str) -> str:
    """Return a name with its unit in brackets, if it has one."""
    return f"{name} ({unit})" if unit else name


def time_unit(seconds: float) -> tuple[str, int]:
    """Return the name of a suitable unit of time and its length in seconds."""
    units = (("h", 3600), ("min", 60), ("s", 1))
    return next((unit for unit in units if seconds >= 2 * unit[1]), units[-1])


def format_duration(seconds: float) -> str:
    """Format seconds in a suitable unit."""
    unit, length = time_unit(seconds)
    return f"{seconds / length:.3g} {unit}"


def format_seeds(group: Group) -> str:
    """Give the number of seeds and which: "1 (seed 0)", "4 (seeds 0-2, 7)"."""
    seeds = [result.seed for result in group.results]
    runs: list[list[int]] = []
    for seed in seeds:
        if runs and seed == runs[-1][-1] + 1:
            runs[-1].append(seed)
        else:
            runs.append([seed])
    parts = [f"{r[0]}-{r[-1]}" if len(r) > 2 else ", ".join(map(str, r)) for r in runs]
    return f"{len(seeds)} (seed{'s' * (len(seeds) > 1)} {', '.join(parts)})"


def join_unique(values: Collection[str]) -> str:
    """Join the different values in their order."""
    return ", ".join(dict.fromkeys(values)) or NONE


def format_budget(group: Group) -> str:
    """Give epochs, steps and time of training; from least to most where seeds differ."""

    def span(value: Callable[[Result], float], text: Callable[[float], str]) -> str:
        values = [value(result) for result in group.results]
        return " to ".join(dict.fromkeys((text(min(values)), text(max(values)))))

    epochs = span(lambda r: r.epochs, lambda value: f"{value:.4g}")
    steps = span(lambda r: r.steps, format_count)
    return f"{epochs} epochs, {steps} steps, {span(lambda r: r.wall_seconds, format_duration)}"


def format_data(result: Result) -> str:
    """Name the data set, the part used, and the number of samples of each split."""
    sizes = ", ".join(f"{size:,} {split}" for split, size in result.data["sizes"].items())
    return f"{result.data['name']}, {result.data['part']} ({sizes})"


def format_solver(node: Mapping[str, Any] | None) -> str:
    """Give method and tolerance, or method and step."""
    if not node:
        return NONE
    if node.get("step_size") is not None:
        return f"{node['method']}, step {format_tolerance(node['step_size'])}"
    rtol, atol = (format_tolerance(node[key]) for key in ("rtol", "atol"))
    return f"{node['method']} at {rtol if rtol == atol else f'rtol {rtol}, atol {atol}'}"


def class_name(node: Mapping[str, Any] | None) -> str:
    """Return the class name of a node with a ``_target_``, such as Adjoint."""
    return str((node or {}).get("_target_", "")).rpartition(".")[2]


def format_solves(result: Result) -> str:
    """Give solver, gradient and divergence of training, regularizers, and solver and divergence of
    the test where they differ.
    """
    protocol = result.protocol
    training, test = (format_solver(protocol.get(key)) for key in ("solver", "eval_solver"))
    if training == NONE:
        return NONE
    divergence, tested = (
        _divergence(protocol.get(key)) for key in ("divergence", "eval_divergence")
    )
    parts = [training, class_name(protocol["solver"].get("gradient")) or "Direct", divergence]
    for name, node in (protocol.get("regularizer") or {}).items():
        parts.append(f"{name} {node.get('weight', '')}".strip())
    parts += [f"test {test}"] if test != training else []
    parts += [f"test {tested}"] if tested and tested != divergence else []
    return ", ".join(filter(None, parts))


def _divergence(node: Mapping[str, Any] | None) -> str:
    """Give an estimator and its number of probes."""
    count = (node or {}).get("count")
    return class_name(node) + ("" if count is None else f" x {count}")


def format_training(result: Result) -> str:
    """Give optimizer, learning rate and batch size."""
    optimizer, batch = result.protocol.get("optimizer") or {}, result.options.get("data.batch_size")
    parts = [class_name(optimizer)]
    parts += [f"lr {optimizer['lr']:g}"] if "lr" in optimizer else []
    parts += [f"batch {batch}"] if batch is not None else []
    return ", ".join(filter(None, parts)) or NONE


def format_weights(result: Result) -> str:
    """Say which weights were tested."""
    weights = result.protocol.get("weights") or {}
    return f"best on {weights['split']}" if "split" in weights else weights.get("chosen", NONE)


def typed_options(result: Result, ignored: Sequence[str] = IRRELEVANT) -> list[str]:
    """Return the typed overrides that affect the result."""
    typed = [override for override in result.typed if override not in DEVICES]
    return [override for override in typed if not has_prefix(option_name(override), ignored)]


def option_name(override: str) -> str:
    """Return the option of an override such as +a.b=1."""
    return override.partition("=")[0].lstrip("+~")


def labels(results: Sequence[Result], ignored: Sequence[str] = IRRELEVANT) -> list[str]:
    """Label each result by the typed overrides that not all have, or else by its task."""
    own = distinct_overrides([typed_options(result, ignored) for result in results])
    return [label or result.task for label, result in zip(own, results, strict=True)]
