"""Progress reports of running solves.

    with observed(lambda progress: print(progress.t, progress.nfe)):
        solver(f, y0, [0.0, 1.0])

An observer is called between the steps of any solve and backward pass of the process, whichever
thread it runs in, at most once in ``every`` seconds. What it raises ends the solve. It is not
called within a compiled solve, nor in the drop-in's fixed steps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import NamedTuple

from torch import Tensor


class SolveProgress(NamedTuple):
    """How far a solve has come.

    Attributes:
        t: time reached.
        nfe: evaluations of f so far, in this direction; None in a backward pass through steps that
            are not taken again.
        backward: whether steps are differentiated. The backward solve of an adjoint is a solve.
    """

    t: float
    nfe: int | None
    backward: bool


Observer = Callable[[SolveProgress], object]


class Watcher:
    """Calls an observer when it is time to."""

    def __init__(self, observer: Observer, every: float) -> None:
        self.observer, self.every = observer, every
        self.due = perf_counter() + every

    def look(
        self, t: float, nfe: int | None, backward: bool = False, graph: Tensor | None = None
    ) -> None:
        """Tell the observer, if the last time was long ago.

        Args:
            graph: the state at t, through which a backward pass will come and is then observed.
        """
        now = perf_counter()
        if now < self.due:
            return
        self.due = now + self.every
        if graph is not None and graph.requires_grad:
            graph.register_hook(lambda _: self.look(t, None, backward=True))
        self.observer(SolveProgress(t, nfe, backward))


watcher: Watcher | None = None  # of the process


@contextmanager
def observed(observer: Observer, every: float = 0.25) -> Iterator[None]:
    """Have ``observer`` called between steps, at most once in ``every`` seconds."""
    global watcher
    former, watcher = watcher, Watcher(observer, every)
    try:
        yield
    finally:
        watcher = former
