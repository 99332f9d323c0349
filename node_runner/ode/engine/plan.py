"""What a graph is made for, and one Runge-Kutta step in a form that can be traced.

Nothing here counts, branches on a value or reads the device: times, steps and tolerances are 0-dim
tensors, so that one graph serves all of their values.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from ..state import Layout, rates
from ..tableau import Row, Tableau
from ..tolerance import Norm


@dataclass(frozen=True)
class Plan:
    """The constants of a graph.

    Attributes:
        tableau: the method.
        layout: of the state.
        fresh: evaluate stage 0 too, rather than be given its rate.
        stages: how many are evaluated: all, or one less where an FSAL method's last serves nothing.
        judged: estimate the error.
        kept: rates that are wanted back: "none", "last" (of an FSAL method, the next step's first)
            or "all" (to interpolate).
    """

    tableau: Tableau
    layout: Layout
    fresh: bool = False
    stages: int = 0
    judged: bool = False
    kept: str = "none"

    def of_a_rate(self) -> Plan:
        """The plan for f alone."""
        return replace(self, fresh=True, stages=1, judged=False, kept="none")

    def key(self) -> Hashable:
        """Equal for plans that one graph serves."""
        layout = self.layout
        shapes = tuple(layout.shapes), layout.fed, layout.single, layout.dtype, layout.device
        return self.tableau, shapes, self.fresh, self.stages, self.judged, self.kept


class Limits(NamedTuple):
    """What an error is measured by, as tensors: tolerances () or (width,), a factor an entry."""

    rtol: Tensor
    atol: Tensor
    scales: Tensor


class Trial(NamedTuple):
    """A step that was tried.

    Attributes:
        y1: where it leads, (width,).
        ratio: its error over what is allowed, (), or None where it is not judged.
        rates: those that the plan keeps, (width,) each.
    """

    y1: Tensor
    ratio: Tensor | None
    rates: tuple[Tensor, ...]


def limits(norm: Norm) -> Limits:
    """The tolerances of ``norm`` on its device."""
    scales = torch.tensor(norm.scales, dtype=torch.float64, device=norm.layout.device)
    return Limits(norm.rtol, norm.atol, scales)


def evaluate(f: Callable, layout: Layout, t: Tensor, y: Tensor) -> Tensor:
    """f on the flat state, (fed_width,) or (width,) -> (width,)."""
    return layout.flatten(rates(f(t.to(layout.dtype), layout.state(y)), layout))


def attempt(
    f: Callable, plan: Plan, t0: Tensor, t1: Tensor, y: Tensor, k0: Tensor | None, limits: Limits
) -> Trial:
    """One step from (t0, y) to t1, the same sums as ``step.take_step``."""
    tableau, layout = plan.tableau, plan.layout
    span = t1 - t0
    dt = span.to(layout.dtype)
    k = [evaluate(f, layout, t0, y) if k0 is None else k0]
    y1 = None
    for i in range(1, plan.stages):
        if tableau.fsal and i == tableau.stages - 1:
            point = y1 = combined(y, k, tableau.b, dt)
        else:
            n = layout.fed_width
            point = combined(y[:n], [rate[:n] for rate in k], tableau.a[i], dt)
        # A node of 1 is t1 itself: t0 + dt may round past the end of the interval.
        t = t1 if tableau.c[i] == 1.0 else t0 + tableau.c[i] * span
        k.append(evaluate(f, layout, t, point))
    y1 = combined(y, k, tableau.b, dt) if y1 is None else y1
    ratio = None
    if plan.judged:
        with torch.no_grad():
            ratio = span.abs() * error_ratio(plan, limits, y, y1, k)
    if plan.kept == "all":
        return Trial(y1, ratio, tuple(k))
    return Trial(y1, ratio, (k[-1],) if plan.kept == "last" else ())


def error_ratio(plan: Plan, limits: Limits, y: Tensor, y1: Tensor, k: Sequence[Tensor]) -> Tensor:
    """The error estimate over dt, over what is allowed: NaN where y1 is not finite, as infinity
    would allow any error.
    """
    y, y1 = y.detach(), y1.detach()
    error = weighed([rate.detach() for rate in k], plan.tableau.b_error)
    error = error / allowed(limits, y, y1)
    return measured(plan.layout, limits, torch.where(torch.isfinite(y1), error, torch.nan))


def allowed(limits: Limits, y: Tensor, y1: Tensor) -> Tensor:
    """atol + rtol max(|y|, |y1|), (width,)."""
    return torch.maximum(y.abs(), y1.abs()) * limits.rtol + limits.atol


def measured(layout: Layout, limits: Limits, scaled: Tensor) -> Tensor:
    """The weighted RMS of each entry of ``scaled``, (width,), and of these the largest, ()."""
    parts = (scaled,) if layout.alone else scaled.split(layout.sizes)
    norms = torch.stack([torch.linalg.vector_norm(part) for part in parts])
    return (norms.double() * limits.scales).amax()


def combined(y: Tensor, k: Sequence[Tensor], weights: Row, dt: Tensor) -> Tensor:
    """y + dt sum_i w_i k_i; y itself where all weights are zero."""
    return y + dt * weighed(k, weights) if any(weights) else y


def weighed(k: Sequence[Tensor], weights: Row | None) -> Tensor:
    """sum_i w_i k_i without the terms of weight 0."""
    terms = [w * rate for w, rate in zip(weights or (), k, strict=False) if w]
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    return total
