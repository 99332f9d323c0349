"""The solution of a solve at any time between its ends."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..loop import Step, interpolate
from ..state import Layout
from ..step import Rates, Tape, take_step
from ..tableau import Tableau


@dataclass(frozen=True)
class Piece:
    """One step that is kept: its ends, the state at its start and the rates of all its stages."""

    t0: float
    t1: float
    y0: Tensor
    rates: tuple[Tensor, ...]

    @staticmethod
    def of(step: Step) -> Piece:
        """The step just taken; its buffer will be written over, so it is copied."""
        path = step.path
        known = path.complete(step).k if path.tableau.dense else path.stages.k[:1]
        kept = known.clone().unbind() if isinstance(known, Tensor) else known
        return Piece(step.t0, step.t1, step.y0, tuple(kept))

    def at(self, t: float, f: Rates, tableau: Tableau, layout: Layout) -> Tensor:
        """The flat state at t: on the method's interpolant, or, where it has none of its order, by
        a shorter step of the same method.
        """
        if t == self.t0:
            return self.y0
        stages = Tape(tableau, layout)
        stages.k[: len(self.rates)] = self.rates
        if tableau.dense:
            return interpolate(tableau, stages, self.t0, self.t1, self.y0, [t])[0]
        return take_step(f, tableau, stages, self.t0, t, self.y0, tableau.stages)


class Dense:
    """The flat solution between the ends of a path.

    Args:
        pieces: its steps, in the order they were taken.
        f: rates of the flat state.
        layout, tableau: of the path.
    """

    def __init__(self, pieces: Sequence[Piece], f: Rates, layout: Layout, tableau: Tableau) -> None:
        self.pieces, self.f, self.layout, self.tableau = pieces, f, layout, tableau
        self.start, self.end = pieces[0].t0, pieces[-1].t1
        self.sign = 1.0 if self.end > self.start else -1.0
        self.ends = [piece.t1 * self.sign for piece in pieces]

    def __call__(self, times: Sequence[float]) -> Tensor:
        """Shape (len(times), width), with the graph of the solve but none in the times.

        Raises:
            ValueError: for a time outside the solve.
        """
        return torch.stack([self.at(t) for t in times])

    def at(self, t: float) -> Tensor:
        low, high = sorted((self.start, self.end))
        if not low <= t <= high:
            raise ValueError(f"t is {t:g}, must lie between t0={self.start:g} and t1={self.end:g}")
        piece = self.pieces[bisect_left(self.ends, t * self.sign)]
        return piece.at(t, self.f, self.tableau, self.layout)

    @torch.no_grad()
    def rate(self, t: float, flat: Tensor) -> Tensor:
        """f there, without graph."""
        return self.layout.flatten(self.f(None, t, flat.detach()))
