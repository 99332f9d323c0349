"""In what a run is less than the published one, or other than its experiment."""

from __future__ import annotations

from ..runs.config import has_prefix
from ..runs.store import LIMIT_KEYS
from .published import Budget, Cell
from .results import Group
from .words import name_of, own, short

CLOSE = 0.005  # to a budget: the last batch of an epoch may be left out
WHOLE = ("whole", "generated")


def marks(group: Group, cell: Cell) -> list[str]:
    """Each in a few words; none for a run to the paper's budget on all data as configured."""
    first = group.first
    found = other_than(group, cell.budget)
    if first.state != "done":
        found.append(first.state)
    if first.data["part"] not in WHOLE:
        found.append(f"data: {first.data['part']}")
    if cell.runs is not None and len(group.results) < cell.runs:
        found.append(f"{len(group.results)} of {cell.runs} seeds")
    limits = () if cell.budget is None else LIMIT_KEYS  # else told by what the run came to
    known = f"experiment={cell.name}"
    return found + [t for t in own(first) if t != known and not has_prefix(name_of(t), limits)]


def other_than(group: Group, budget: Budget | None) -> list[str]:
    """What the runs were trained for, where that is not what was published."""
    found = []
    for unit in ("epochs", "steps"):
        wanted = getattr(budget, unit, None)
        done = [getattr(result, unit) for result in group.results]
        if wanted is not None and any(abs(spent / wanted - 1) > CLOSE for spent in done):
            reached = " to ".join(dict.fromkeys(map(short, (min(done), max(done)))))
            found.append(f"{reached} of {wanted:,g} {unit}")
    return found
