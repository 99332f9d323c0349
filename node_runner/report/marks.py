"""In what a run is less than the published one, or other than its experiment."""

from __future__ import annotations

from ..stored import LIMITS, within
from .published import Budget, Cell
from .results import Group
from .words import name_of, own

ENOUGH = 0.995  # of a budget: the last batch of an epoch may be left out
WHOLE = ("whole", "generated")


def marks(group: Group, cell: Cell) -> list[str]:
    """Each in a few words; none for a run to the paper's budget on all data as configured."""
    first = group.first
    found = short_of(group, cell.budget)
    if first.state != "done":
        found.append(first.state)
    if first.data["part"] not in WHOLE:
        found.append(f"data: {first.data['part']}")
    if cell.runs is not None and len(group.results) < cell.runs:
        found.append(f"{len(group.results)} of {cell.runs} seeds")
    known = ("experiment", "cell", *LIMITS)
    found += [typed for typed in own(first) if not within(name_of(typed), known)]
    return found


def short_of(group: Group, budget: Budget | None) -> list[str]:
    """Where the least trained of the runs ended, if that is before the published one did."""
    if budget is None:
        return []
    spent = {
        "epochs": min(r.epochs for r in group.results),
        "steps": min(r.steps for r in group.results),
    }
    found = []
    for unit, done in spent.items():
        wanted = getattr(budget, unit)
        if wanted is not None and done < ENOUGH * wanted:
            found.append(f"{done:.3g} of {wanted:g} {unit}")
    return found
