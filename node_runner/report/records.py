"""Rows as plain values, for programs."""

from __future__ import annotations

from . import words
from .published import Cell, PaperTable
from .results import Group
from .rows import Row, figure_of


def record(row: Row, paper: str = "", table: PaperTable | None = None) -> dict[str, object]:
    """A row as plain values, for a program."""
    cell, group = row.cell, row.group
    about: dict[str, object] = {
        "paper": paper,
        "table": "" if table is None else table.name,
        "cell": "" if cell is None else cell.name,
        "label": row.label,
        "published": None if cell is None else cell.value,
        "published_sd": None if cell is None else cell.sd,
        "published_sure": None if cell is None else cell.sure,
        "unit": None if cell is None else cell.unit,
        "state": row.state,
        "less_or_other": "" if None in (row.cell, row.group) else row.less,
    }
    return about if group is None else about | measured(group, cell)


def measured(group: Group, cell: Cell | None) -> dict[str, object]:
    first = group.first
    metric, factor, unit = figure_of(group, cell)
    found = group.spread(metric, factor)
    return {
        "unit": unit,
        "metric": metric,
        "own": found and found.mean,
        "own_sd": found and found.sd,
        "own_standard_error": found and found.standard_error,
        "seeds": " ".join(str(r.seed) for r in group.results),
        "mode": first.mode,
        "task": first.task,
        "epochs": group.mean(lambda r: r.epochs),
        "steps": group.mean(lambda r: r.steps),
        "hours": group.mean(lambda r: r.wall_seconds / 3600),
        "device": words.each([r.device for r in group.results]),
        "data": first.data["name"],
        "data_part": first.data["part"],
        "solver": words.solving(first),
        "training": words.training(first),
        "weights": words.each([words.weights(r) for r in group.results]),
        "parameters": first.parameters,
        "published_parameters": cell and cell.parameters,
        **{f"nfe_{k}": group.mean(lambda r, k=k: r.nfe[k]) for k in first.nfe},
        **{k: group.mean(lambda r, k=k: r.memory[k]) for k in first.memory},
        "torch": words.each([r.versions.get("torch", "") for r in group.results]),
        "revision": words.each([r.revision or "" for r in group.results]),
        "typed": " ".join(first.typed),
        **{f"mean {name}": group.spread(name).mean for name in first.metrics},
        "folders": " ".join(str(r.folder) for r in group.results),
    }
