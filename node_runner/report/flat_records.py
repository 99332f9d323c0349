"""Rows as flat records of plain values, for programs."""

from __future__ import annotations

from . import formatting
from .published import Cell, PaperTable
from .results import Group
from .table_rows import TableRow, main_figure


def flat_record(
    row: TableRow, paper: str = "", table: PaperTable | None = None
) -> dict[str, object]:
    """Return a row as one name to one value."""
    cell, group = row.cell, row.group
    record: dict[str, object] = {
        "paper": paper,
        "table": "" if table is None else table.name,
        "cell": "" if cell is None else cell.name,
        "label": row.label,
        "published": None if cell is None else cell.value,
        "published_sd": None if cell is None else cell.sd,
        "published_sure": None if cell is None else cell.sure,
        "unit": None if cell is None else cell.unit,
        "state": row.state,
        "deviates_in": "" if None in (row.cell, row.group) else row.deviates_in,
    }
    return record if group is None else record | _measured(group, cell)


def _measured(group: Group, cell: Cell | None) -> dict[str, object]:
    first, unique = group.first, formatting.join_unique
    metric, factor, unit = main_figure(first, cell)
    spread = group.spread(metric, factor)
    return {
        "unit": unit,
        "metric": metric,
        "own": spread and spread.mean,
        "own_sd": spread and spread.sd,
        "own_standard_error": spread and spread.standard_error,
        "seeds": " ".join(str(r.seed) for r in group.results),
        "mode": first.mode,
        "task": first.task,
        "epochs": group.mean(lambda r: r.epochs),
        "steps": group.mean(lambda r: r.steps),
        "hours": group.mean(lambda r: r.wall_seconds / 3600),
        "device": unique([r.device for r in group.results]),
        "data": first.data["name"],
        "data_part": first.data["part"],
        "solver": formatting.format_solves(first),
        "training": formatting.format_training(first),
        "weights": unique([*map(formatting.format_weights, group.results)]),
        "parameters": first.parameters,
        "published_parameters": cell and cell.parameters,
        **{f"nfe_{k}": group.mean(lambda r, k=k: r.nfe[k]) for k in first.nfe},
        **{k: group.mean(lambda r, k=k: r.memory[k]) for k in first.memory},
        "torch": unique([r.versions.get("torch", "") for r in group.results]),
        "revision": unique([r.revision or "" for r in group.results]),
        "typed": " ".join(first.typed),
        **{f"mean {name}": group.spread(name).mean for name in first.metrics},
        "folders": " ".join(str(r.folder) for r in group.results),
    }
