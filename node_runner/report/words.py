"""Numbers and options as the cells of a table."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from math import floor, isfinite, isnan, log10
from typing import Any

from ..runs.config import has_prefix
from ..runs.store import NEUTRAL_KEYS, distinct_overrides
from .published import FIRM, SURE, Cell
from .results import Group, Result, Spread

NONE = "-"
# Options that say where, when and in which company a run was made, not what it is.
ASIDE = (*NEUTRAL_KEYS, "seed", "resume", "run", "mode", "sweep", "launcher", "hydra")
DEVICES = ("runtime=auto", "runtime=cpu", "runtime=cuda")


def spread(found: Spread, decimals: int = 0) -> str:
    """Mean and sd over seeds; of one seed, mean and standard error over its test samples. As many
    decimals as the error has to its second digit, and no fewer than ``decimals``.
    """
    error = found.standard_error if isnan(found.sd) else found.sd
    if isfinite(error) and error > 0:
        decimals = max(decimals, 1 - floor(log10(error)))
    mean, text = f"{found.mean:.{decimals}f}", f"{error:.{decimals}f}"
    if isnan(error):
        return mean if decimals else f"{found.mean:.4g}"
    return f"{mean} (s.e. {text})" if isnan(found.sd) else f"{mean} ± {text}"


def published(cell: Cell, decimals: int) -> str:
    """The published number with its sd, marked where nobody here has read it in the paper."""
    sd = "" if cell.sd is None else f" ± {cell.sd:.{decimals}f}"
    return f"{cell.value:.{decimals}f}{sd}{doubt(cell.sure)}"


def doubt(sure: str) -> str:
    """How a number is known, where that is not from the paper or the authors' code."""
    return "" if SURE.index(sure) < FIRM else f" ({sure})"


def beside(cell: Cell) -> str:
    """What the paper gives for others."""

    def one(value: float | list[float]) -> str:
        return " ± ".join(map(str, value if isinstance(value, list) else [value]))

    found = ", ".join(f"{name} {one(value)}" for name, value in cell.beside.items())
    return f"{found}{doubt(cell.beside_sure)}" if found else NONE


def count(value: float) -> str:
    return NONE if isnan(value) else f"{value:,.0f}"


def short(value: float) -> str:
    """Three digits, nothing behind a whole number."""
    return NONE if isnan(value) else f"{value:.3g}" if abs(value) < 99.5 else f"{value:,.0f}"


def power(value: float | list[float]) -> str:
    """A tolerance, or one for each entry of the state, as it is typed: 1e-5."""
    if isinstance(value, list):
        return f"[{','.join(map(power, value))}]"
    return f"{value:g}".replace("e-0", "e-")


def unit_of(seconds: float) -> tuple[str, int]:
    """The unit of time that suits, and its seconds."""
    units = (("h", 3600), ("min", 60), ("s", 1))
    return next((unit for unit in units if seconds >= 2 * unit[1]), units[-1])


def duration(seconds: float) -> str:
    unit, length = unit_of(seconds)
    return f"{seconds / length:.3g} {unit}"


def each(values: Collection[str]) -> str:
    """The different ones, in their order."""
    return ", ".join(dict.fromkeys(values)) or NONE


def budget(group: Group) -> str:
    """What the runs were trained for; from least to most where seeds differ."""

    def span(of: Callable[[Result], float], text: Callable[[float], str]) -> str:
        values = [of(result) for result in group.results]
        return " to ".join(dict.fromkeys((text(min(values)), text(max(values)))))

    epochs = span(lambda r: r.epochs, lambda value: f"{value:.4g}")
    steps = span(lambda r: r.steps, count)
    return f"{epochs} epochs, {steps} steps, {span(lambda r: r.wall_seconds, duration)}"


def data(result: Result) -> str:
    """Which data, which part of them, and how many samples of each split."""
    sizes = ", ".join(f"{size:,} {split}" for split, size in result.data["sizes"].items())
    return f"{result.data['name']}, {result.data['part']} ({sizes})"


def solver(node: Mapping[str, Any] | None) -> str:
    """Method and tolerance, or method and step."""
    if not node:
        return NONE
    if node.get("step_size") is not None:
        return f"{node['method']}, step {power(node['step_size'])}"
    rtol, atol = node["rtol"], node["atol"]
    at = power(rtol) if rtol == atol else f"rtol {power(rtol)}, atol {power(atol)}"
    return f"{node['method']} at {at}"


def named(node: Mapping[str, Any] | None) -> str:
    """The last part of what a node stands for, such as Adjoint."""
    return str((node or {}).get("_target_", "")).rpartition(".")[2]


def solving(result: Result) -> str:
    """The solver of training with its gradient, and that of evaluation where it is another; the
    divergence of both; regularizers.
    """
    protocol = result.protocol
    training, test = (solver(protocol.get(key)) for key in ("solver", "eval_solver"))
    if training == NONE:
        return NONE
    parts = [training, named(protocol["solver"].get("gradient")) or "Direct"]
    parts += [divergence(protocol.get("divergence"))]
    for name, node in (protocol.get("regularizer") or {}).items():
        parts.append(f"{name} {node.get('weight', '')}".strip())
    parts += [f"test {test}"] if test != training else []
    tested = divergence(protocol.get("eval_divergence"))
    parts += [f"test {tested}"] if tested and tested != parts[2] else []
    return ", ".join(filter(None, parts))


def divergence(node: dict[str, Any] | None) -> str:
    """An estimator and its number of probes."""
    count = (node or {}).get("count")
    return named(node) + ("" if count is None else f" x {count}")


def training(result: Result) -> str:
    """Optimizer, learning rate and batch."""
    optimizer, batch = result.protocol.get("optimizer") or {}, result.options.get("data.batch_size")
    parts = [named(optimizer)]
    parts += [f"lr {optimizer['lr']:g}"] if "lr" in optimizer else []
    parts += [f"batch {batch}"] if batch is not None else []
    return ", ".join(filter(None, parts)) or NONE


def weights(result: Result) -> str:
    """Which weights were tested."""
    chosen = result.protocol.get("weights") or {}
    return f"best on {chosen['split']}" if "split" in chosen else chosen.get("chosen", NONE)


def own(result: Result, aside: Sequence[str] = ASIDE) -> list[str]:
    """What was typed of what makes the run what it is."""
    kept = [typed for typed in result.typed if typed not in DEVICES]
    return [typed for typed in kept if not has_prefix(name_of(typed), aside)]


def name_of(override: str) -> str:
    return override.partition("=")[0].lstrip("+~")


def labels(results: Sequence[Result], aside: Sequence[str] = ASIDE) -> list[str]:
    """Each result by what was typed for it and not for all of them; by its task if nothing was."""
    told = distinct_overrides([own(result, aside) for result in results])
    return [label or result.task for label, result in zip(told, results, strict=True)]
