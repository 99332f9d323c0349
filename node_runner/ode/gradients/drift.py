"""Distance of an adjoint's backward solve from the states that it should pass again.

A field that contracts forwards expands backwards, and so do the errors of the backward solve: it
may leave the path of the forward solve, and the gradient is then that of another path, of any size
and sign. At each output y is known, and the two are compared.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import reduce
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from ..engine.graphs import identity
from ..error_norm import Tolerances, per_entry
from ..errors import SolverError
from ..problem import Problem

# Chosen on 204 gradients compared with those of Replay, and not tried on others: nets with a leak
# of 0 to 20 and Lorenz's equations, six adaptive and three fixed-step methods, tolerances 1e-2 to
# 1e-8, both dtypes. Of 58 adaptive ones above these (or above FACTOR_OF_ANY_PART), 56 were off by
# more than 2 %, half of them by all of their size. Of 88 below, 15 were: by 2 % to 10 %, all at
# tolerances of 1e-2 and 1e-3.
FACTOR, PART = 30.0, 0.01  # of the tolerance, of the size of y
# Beyond this, y is found in its large entries at best: small ones may weigh as much.
FACTOR_OF_ANY_PART = 1e4
# A fixed-step method errs by its order on both ways. Of 34 gradients below this the worst was off
# by 18 % (Euler's); 24 above it were off by 2 % to 380 %.
PART_OF_FIXED_STEPS = 0.1
# None of these raises: where contracting entries weigh little a gradient at a part of 1e4 was still
# right to 3 %. A backward solve that cannot go on raises by itself.

Pairs = Sequence[tuple[Tolerances, Tolerances]]  # rtol and atol

OF_ORDER_2 = ("adaptive_heun", "fehlberg2")

log = logging.getLogger(__name__)
_warned: WeakKeyDictionary[Any, set[tuple]] = WeakKeyDictionary()


class Distance(NamedTuple):
    """Where the backward solve arrived at ``t``.

    Attributes:
        part: |y - known| / |known| in the 2-norm, of the entry of the state where it is largest.
        factor: the error over its tolerance, in the RMS; 0 for fixed steps.
    """

    part: float
    factor: float
    t: float

    def harms(self, fixed: bool) -> bool:
        """Whether the gradient may be further off than the tolerance lets a user expect."""
        if fixed:
            return self.part > PART_OF_FIXED_STEPS
        both = self.factor > FACTOR and self.part > PART
        return both or self.factor > FACTOR_OF_ANY_PART


class Kept:
    """A tensor of the caller's, unless it is written to before it is asked for."""

    def __init__(self, y: Tensor) -> None:
        self.y = y.detach()
        self.version = None if y.is_inference() else y._version

    def tensor(self) -> Tensor | None:
        unchanged = self.version is not None and self.y._version == self.version
        return self.y if unchanged else None


class Drift:
    """The comparisons of one backward solve, read from the device once.

    Entries of weight 0, whose error nobody controls, and intervals in which the adjoint is zero,
    which add nothing to the gradient, are left out.

    Args:
        problem: the problem; its statistics receive the drift.
        start: y at ts[0], shape (width,); None if it has been overwritten.
        outputs: y at ts[1:], shape (T - 1, width).
        tolerances: those of both solves, of which the looser counts; none for fixed steps.
    """

    def __init__(
        self, problem: Problem, start: Tensor | None, outputs: Tensor, tolerances: Pairs
    ) -> None:
        self.problem, self.start, self.outputs = problem, start, outputs
        layout = problem.layout
        self.tolerances = [
            tuple(each[: layout.state_size] if each.dim() else each for each in pair)
            for pair in ([per_entry("tolerance", v, layout) for v in pair] for pair in tolerances)
        ]
        self.times: list[float] = []
        self.norms: list[Tensor] = []

    def compare(self, i: int, y: Tensor, adjoint: Tensor) -> None:
        """Compare y, shape (state_size,), found at ts[i], with the state known there.

        Args:
            adjoint: at the start of the interval from ts[i + 1] to ts[i].
        """
        known = self.start if i == 0 else self.outputs[i - 1]
        if known is None:
            return
        layout, n = self.problem.layout, self.problem.layout.state_size
        known, after = known[:n], self.outputs[i, :n]
        away = y - known
        scaled, size = torch.zeros_like(away), torch.maximum(known.abs(), after.abs())
        if self.tolerances:
            allowed = [torch.addcmul(atol, size, rtol) for rtol, atol in self.tolerances]
            rounding = 16 * torch.finfo(y.dtype).eps
            scaled = away / torch.add(reduce(torch.maximum, allowed), size, alpha=rounding)
        rows = torch.stack([away, known, after, scaled])
        norms = [
            torch.linalg.vector_norm(part, dim=1)
            for part in rows.split(layout.sizes[: layout.num_entries], dim=1)
        ]
        self.times.append(self.problem.ts[i])
        self.norms.append(torch.stack(norms) * (adjoint != 0).any())

    def read(self, finite: Tensor) -> tuple[bool, Distance | None]:
        """Put the largest part into the statistics. Returns whether ``finite``, 0-dim, is true,
        and the largest distance that does harm, if there is one.
        """
        values = [finite.to(self.outputs)[None], *(norms.reshape(-1) for norms in self.norms)]
        whole, *numbers = torch.cat(values).tolist()  # synchronises, once a backward solve
        width = 4 * self.problem.layout.num_entries
        distances = [
            self.distance(t, numbers[width * i : width * (i + 1)]) for i, t in enumerate(self.times)
        ]
        stats = self.problem.stats
        stats.drift = max([stats.drift or 0.0, *(each.part for each in distances)])
        harmful = [each for each in distances if each.harms(not self.tolerances)]
        return bool(whole), max(harmful, default=None)

    def distance(self, t: float, norms: list[float]) -> Distance:
        """The largest part and factor of the entries at one time."""
        part = factor = 0.0
        layout, weights = self.problem.layout, self.problem.weights
        for j in range(layout.num_entries):
            away, known, after, scaled = norms[4 * j : 4 * j + 4]
            if weights[j] and away:
                part = max(part, away / (max(known, after) or away))
                factor = max(factor, scaled / layout.sizes[j] ** 0.5)
        return Distance(part, factor, t)


@contextmanager
def backward_failure_explained(method: str, norm: str | None) -> Iterator[None]:
    """Let a SolverError inside say that it is the backward solve that failed, and suggest Replay.

    Args:
        method: of the backward solve.
        norm: "full" where parameters choose its steps.
    """
    try:
        yield
    except SolverError as error:
        other = "a larger rtol and atol"
        if norm == "full":
            other = "norm='state', by which the parameters choose no steps"
        if error.cause.startswith("the cap") and method in OF_ORDER_2:
            other = "a method of higher order, since one of order 2 takes 1 / sqrt(rtol) steps"
        attributes = {**vars(error), "cause": f"the backward solve of the adjoint: {error.cause}"}
        attributes["advice"] = (
            "gradient=replay (Replay(), or the drop-in's odeint), which does not solve backwards: "
            "where f contracts, errors of a backward solve grow",
            other,
        )
        raise SolverError(**attributes) from error


def warn_of_drift(problem: Problem, distance: Distance, key: tuple) -> None:
    """Log the distance, once for each f and ``key``."""
    warned = _warned.setdefault(identity(problem.f), set())
    if key in warned:
        return
    warned.add(key)
    times = f"{distance.factor:.3g} times its tolerance, " if distance.factor else ""
    log.warning(
        "the gradient by the adjoint method may be wrong: its backward solve missed the "
        "state at t=%.6g, known from the forward solve, by %s%.3g of the state's size, as where f "
        "contracts and so expands backwards. Choose gradient=replay (Replay(), or the drop-in's "
        "odeint), which does not solve backwards. See gradient/drift (Solution.stats.drift) for "
        "later solves: this is logged once for a method and f",
        distance.t,
        times,
        distance.part,
    )
