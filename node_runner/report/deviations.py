"""Deviations of a run from the published protocol."""

from __future__ import annotations

from ..runs.config import has_prefix
from ..runs.store import LIMIT_KEYS
from .formatting import format_short, option_name, typed_options
from .published import Budget, Cell
from .results import Group

TOLERANCE = 0.005  # relative, of a budget: the last batch of an epoch may be left out
COMPLETE = ("whole", "generated")


def deviations(group: Group, cell: Cell) -> list[str]:
    """List the deviations in a few words each; none for runs of the paper's budget on all data as
    configured.
    """
    first = group.first
    listed = _budget_deviations(group, cell.budget)
    if first.state != "done":
        listed.append(first.state)
    if first.data["part"] not in COMPLETE:
        listed.append(f"data: {first.data['part']}")
    if cell.runs is not None and len(group.results) < cell.runs:
        listed.append(f"{len(group.results)} of {cell.runs} seeds")
    limits = () if cell.budget is None else LIMIT_KEYS  # else the budget was compared above
    expected = f"experiment={cell.name}"
    return listed + [
        typed
        for typed in typed_options(first)
        if typed != expected and not has_prefix(option_name(typed), limits)
    ]


def _budget_deviations(group: Group, budget: Budget | None) -> list[str]:
    listed = []
    for unit in ("epochs", "steps"):
        wanted = getattr(budget, unit, None)
        done = [getattr(result, unit) for result in group.results]
        if wanted is not None and any(abs(spent / wanted - 1) > TOLERANCE for spent in done):
            reached = " to ".join(dict.fromkeys(map(format_short, (min(done), max(done)))))
            listed.append(f"{reached} of {wanted:,g} {unit}")
    return listed
