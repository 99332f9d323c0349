"""One explicit Runge-Kutta step, with or without a graph.

Both ways keep the rates k_0 ... of a step and form linear combinations of them. Where no gradient
is wanted ``Buffer`` holds them as rows of one [rates, width] matrix, so that a combination is one
matrix-vector product; where a graph is wanted ``Tape`` holds them as they are and adds them one by
one, which saves nothing for the backward pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from functools import lru_cache
from typing import Any, Protocol

import torch
from torch import Tensor

from .state import Layout
from .stepper import Rates
from .tableau import Row, Tableau


class Stages(Protocol):
    """The rates of one step and what is made of them.

    Attributes:
        k: the rates, a list or the rows of a matrix.
    """

    k: Any

    def put(self, i: int, rates: list[Tensor]) -> None:
        """Keep the rates of stage i."""

    def input(self, i: int, y: Tensor, dt: float) -> Tensor:
        """y + dt sum_j a_ij k_j, shape (state_size,) or (width,): what f sees at stage i, an extra
        one too.
        """

    def result(self, y: Tensor, dt: float) -> Tensor:
        """y + dt sum_i b_i k_i, shape (width,)."""

    def error(self) -> Tensor:
        """sum_i b_error_i k_i, shape (width,), without graph: the error estimate over dt."""

    def combine(self, y: Tensor, weights: list[list[float]], dt: float) -> Tensor:
        """y + dt sum_i w_mi k_i for each row w_m: shape (rows, width)."""

    def weighted(self, y: Tensor, weights: Tensor, dt: float) -> Tensor:
        """The same for weights that may themselves require a gradient, shape (rows, rates)."""

    def frozen(self) -> Stages:
        """These rates as they are now, for as long as they are wanted."""

    def rate(self, i: int) -> Tensor:
        """k_i, shape (width,), without graph."""

    def shift(self, i: int) -> None:
        """Make rate i the first: it was f at the point where the next step starts."""


def take_step(
    f: Rates, tableau: Tableau, stages: Stages, t0: float, t1: float, y: Tensor, stop_at: int
) -> Tensor:
    """Fill stages 1 ... stop_at - 1 (stage 0 is there already) and return the new y, shape
    (width,).

    ``stop_at = tableau.stages`` evaluates all; a step that is only recomputed may leave out an FSAL
    method's last.
    """
    dt = t1 - t0
    fsal, last = tableau.fsal, tableau.stages - 1
    y1 = None
    for i in range(1, stop_at):
        if fsal and i == last:
            point = y1 = stages.result(y, dt)
        else:
            point = stages.input(i, y, dt)
        # A node of 1 is t1 itself: t0 + dt may round past the end of the interval.
        stages.put(i, f(i, t1 if tableau.c[i] == 1.0 else t0 + tableau.c[i] * dt, point))
    return stages.result(y, dt) if y1 is None else y1


def version(tensor: Tensor) -> int:
    """How often the tensor was written to; 0 in inference mode, which does not count."""
    return 0 if tensor.is_inference() else tensor._version


class UnaliasedRates:
    """Rates that stay as they are although f may write again to the tensor that it returned.

    A tensor that f has filled in place is copied, and so are all where the second evaluation
    returns the memory of the first (of an array, say): what operations have made is not.
    """

    def __init__(self) -> None:
        self.first: Tensor | None = None
        self.calls, self.reused = 0, False

    def __call__(self, rate: Tensor) -> Tensor:
        if version(rate):
            return rate.clone()
        if rate.requires_grad or (self.calls > 1 and not self.reused):
            return rate
        self.calls += 1
        if self.calls == 1:
            self.first = rate  # held, so that no other tensor gets its memory
        elif self.calls == 2:
            self.reused = self.first is not None and shares_memory(self.first, rate)
            self.first = None
            if not self.reused:
                return rate
        return rate.clone()


def shares_memory(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors begin at the same place; those of a transform have none."""
    try:
        return a.numel() > 0 and a.data_ptr() == b.data_ptr()
    except RuntimeError:
        return False


def combined(y: Tensor, k: Sequence[Tensor], weights: Row, dt: float) -> Tensor:
    """Return y + dt sum_i w_i k_i in a new tensor, y itself if all weights are zero. The sum is
    taken first, so that y is rounded once.
    """
    total = None
    for w, rate in zip(weights, k, strict=False):
        if w:
            total = rate * (w * dt) if total is None else torch.add(total, rate, alpha=w * dt)
    return y if total is None else y + total


def combination(k: Sequence[Tensor], weights: Row, dt: float) -> Tensor:
    """Return dt sum_i w_i k_i in a new tensor."""
    terms = [(w * dt, rate) for w, rate in zip(weights, k, strict=False) if w]
    if not terms:
        return torch.zeros_like(k[0])
    factor, first = terms[0]
    total = first * factor
    for factor, rate in terms[1:]:
        total = torch.add(total, rate, alpha=factor)
    return total


class Tape:
    """Rates with their graph. dt is a constant to that graph: choosing a step is not
    differentiated.
    """

    def __init__(self, tableau: Tableau, layout: Layout) -> None:
        self.tableau, self.layout = tableau, layout
        self.k: Any = [torch.empty(0)] * tableau.rates
        self.own = UnaliasedRates()

    def put(self, i: int, rates: list[Tensor]) -> None:
        self.k[i] = self.own(self.layout.flatten(rates))

    def input(self, i: int, y: Tensor, dt: float) -> Tensor:
        return self.weigh(y, self.tableau.rows[i], dt)

    def result(self, y: Tensor, dt: float) -> Tensor:
        return combined(y, self.k, self.tableau.b, dt)

    def weigh(self, y: Tensor, weights: Row, dt: float) -> Tensor:
        for w, k in zip(weights, self.k, strict=False):
            if w:
                y = torch.add(y, k, alpha=w * dt)
        return y

    @torch.no_grad()
    def error(self) -> Tensor:
        return combination(self.k, self.tableau.b_error or (), 1.0)

    def combine(self, y: Tensor, weights: list[list[float]], dt: float) -> Tensor:
        return self.weighted(y, torch.tensor(weights, dtype=y.dtype, device=y.device), dt)

    def weighted(self, y: Tensor, weights: Tensor, dt: float) -> Tensor:
        return torch.addmm(y, weights, torch.stack(self.k), alpha=dt)

    def frozen(self) -> Stages:
        held = copy(self)
        held.k = list(self.k)
        return held

    def rate(self, i: int) -> Tensor:
        return self.k[i].detach()

    def shift(self, i: int) -> None:
        self.k = [self.k[i]] + [torch.empty(0)] * (len(self.k) - 1)


class Buffer:
    """Rates without a graph, in the rows of one matrix that is made once a solve and filled again
    each step.
    """

    def __init__(self, tableau: Tableau, layout: Layout) -> None:
        self.tableau, self.layout = tableau, layout
        # Zeros, not garbage: a row that a combination skips over with weight 0 must not be NaN.
        self.k: Any = torch.zeros(
            tableau.rates, layout.width, dtype=layout.dtype, device=layout.device
        )
        self.rows = self.k.unbind()
        self.shaped = [row.view(layout.shapes[0]) for row in self.rows] if layout.one_entry else []
        fed = self.k[:, : layout.state_size]
        runs = coefficients(tableau, layout.dtype, layout.device)
        self.inputs = [views(fed, row) for row in runs[:-2]]
        self.b, self.b_error = views(self.k, runs[-2]), views(self.k, runs[-1])

    def put(self, i: int, rates: list[Tensor]) -> None:
        if self.shaped:
            self.shaped[i].copy_(rates[0])
        else:
            torch.cat([rate.reshape(-1) for rate in rates], out=self.rows[i])

    def input(self, i: int, y: Tensor, dt: float) -> Tensor:
        return weigh(y if self.shaped else y[: self.layout.state_size], self.inputs[i], dt)

    def result(self, y: Tensor, dt: float) -> Tensor:
        return weigh(y, self.b, dt)

    def error(self) -> Tensor:
        matrix, weights = self.b_error[0]
        return weigh(torch.mv(matrix, weights), self.b_error[1:], 1.0)

    def combine(self, y: Tensor, weights: list[list[float]], dt: float) -> Tensor:
        return self.weighted(y, torch.tensor(weights, dtype=y.dtype, device=y.device), dt)

    def weighted(self, y: Tensor, weights: Tensor, dt: float) -> Tensor:
        return torch.addmm(y, weights, self.k, alpha=dt)

    def frozen(self) -> Stages:
        held = Tape(self.tableau, self.layout)
        held.k = list(self.k.clone().unbind())
        return held

    def rate(self, i: int) -> Tensor:
        return self.rows[i]

    def shift(self, i: int) -> None:
        self.rows[0].copy_(self.rows[i])


Run = tuple[int, int, Tensor]  # rows [start, stop) of the buffer and their weights
Term = tuple[Tensor, Tensor]  # those rows as a (width, rows) matrix, and the weights


@lru_cache(maxsize=64)
def coefficients(tableau: Tableau, dtype: torch.dtype, device: torch.device) -> list[list[Run]]:
    """The rows of all rates, then b, then b_error, on the device, each as its runs of weights that
    matter.
    """
    return [
        [
            (start, stop, torch.tensor(row[start:stop], dtype=dtype, device=device))
            for start, stop in runs(row)
        ]
        for row in (*tableau.rows, tableau.b, tableau.b_error or ())
    ]


def runs(row: Row) -> list[tuple[int, int]]:
    """Stretches of the row between zeros. One zero alone is kept: reading a row costs less than
    another kernel.
    """
    found: list[tuple[int, int]] = []
    for i, w in enumerate(row):
        if w and found and i - found[-1][1] <= 1:
            found[-1] = (found[-1][0], i + 1)
        elif w:
            found.append((i, i + 1))
    return found


def views(k: Tensor, row: Sequence[Run]) -> list[Term]:
    return [(k[start:stop].T, weights) for start, stop, weights in row]


def weigh(y: Tensor, terms: list[Term], dt: float) -> Tensor:
    """y + dt sum of the terms, in a new tensor (y itself if there are none)."""
    for matrix, weights in terms:
        y = torch.addmv(y, matrix, weights, alpha=dt)
    return y
