"""Cost of a solve. ``Stats`` is mutable: the backward pass adds to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass
class Counts:
    """Cost of one direction.

    Attributes:
        nfe: evaluations of f on the whole batch, those that choose the first step and those of
            rejected steps included.
        accepted: steps taken.
        rejected: steps tried again with a smaller dt.
    """

    nfe: int = 0
    accepted: int = 0
    rejected: int = 0


@dataclass
class Stats:
    """Cost of a solve: ``forward`` at once, ``backward`` when the gradient has been taken (0 for
    ``Direct``).

    Attributes:
        drift: how far the backward solve of ``Adjoint`` ended from the states known from the
            forward solve, over their size: the largest of all outputs, entry by entry. None where
            there has been no such solve.
    """

    forward: Counts = field(default_factory=Counts)
    backward: Counts = field(default_factory=Counts)
    drift: float | None = None

    def nfe(self) -> dict[str, float]:
        """Evaluations by the tags of a training log, with ``gradient/drift`` if there is one."""
        evaluations = {"nfe/forward": self.forward.nfe, "nfe/backward": self.backward.nfe}
        return evaluations | ({} if self.drift is None else {"gradient/drift": self.drift})


def total(solves: Sequence[Stats]) -> Stats:
    """The sum of several solves, as of now; the largest drift."""
    return Stats(
        forward=summed([solve.forward for solve in solves]),
        backward=summed([solve.backward for solve in solves]),
        drift=max((s.drift for s in solves if s.drift is not None), default=None),
    )


def summed(counts: Sequence[Counts]) -> Counts:
    return Counts(
        nfe=sum(each.nfe for each in counts),
        accepted=sum(each.accepted for each in counts),
        rejected=sum(each.rejected for each in counts),
    )
