"""Specification of a graph, and one Runge-Kutta step in a form that can be traced.

Nothing here counts, branches on a value or reads the device: times, steps and tolerances are 0-dim
tensors, so that one graph serves all of their values.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from ..error_norm import ErrorNorm
from ..state import Layout, rates
from ..tableau import Row, Tableau


@dataclass(frozen=True)
class StepSpec:
    """The constants of a graph.

    Attributes:
        tableau: the method.
        layout: of the state.
        evaluates_first_stage: evaluate stage 0 too, rather than be given its rate.
        stages: how many are evaluated: all, or one less where an FSAL method's last serves nothing.
        judged: estimate the error.
        returned_rates: rates to return: "none", "last" (an FSAL method's, the first of the next
            step) or "all" (to interpolate).
    """

    tableau: Tableau
    layout: Layout
    evaluates_first_stage: bool = False
    stages: int = 0
    judged: bool = False
    returned_rates: str = "none"

    def rate_only(self) -> StepSpec:
        """The spec for f alone."""
        return replace(
            self, evaluates_first_stage=True, stages=1, judged=False, returned_rates="none"
        )

    def key(self) -> Hashable:
        """Equal for plans that one graph serves."""
        layout = self.layout
        shapes = (
            tuple(layout.shapes),
            layout.num_entries,
            layout.is_tensor,
            layout.dtype,
            layout.device,
        )
        return (
            self.tableau,
            shapes,
            self.evaluates_first_stage,
            self.stages,
            self.judged,
            self.returned_rates,
        )


class NormTensors(NamedTuple):
    """An ``ErrorNorm`` as tensors: tolerances () or (width,), one factor per entry."""

    rtol: Tensor
    atol: Tensor
    factors: Tensor


class StepResult(NamedTuple):
    """A step that was tried.

    Attributes:
        y1: where it leads, (width,).
        ratio: its error over what is allowed, (), or None where it is not judged.
        rates: those that the spec keeps, (width,) each.
    """

    y1: Tensor
    ratio: Tensor | None
    rates: tuple[Tensor, ...]


def norm_tensors(norm: ErrorNorm) -> NormTensors:
    """The tolerances of ``norm`` on its device."""
    factors = torch.tensor(norm.factors, dtype=torch.float64, device=norm.layout.device)
    return NormTensors(norm.rtol, norm.atol, factors)


def evaluate(f: Callable, layout: Layout, t: Tensor, y: Tensor) -> Tensor:
    """f on the flat state, (state_size,) or (width,) -> (width,)."""
    return layout.flatten(rates(f(t.to(layout.dtype), layout.state(y)), layout))


def attempt(
    f: Callable,
    spec: StepSpec,
    t0: Tensor,
    t1: Tensor,
    y: Tensor,
    k0: Tensor | None,
    norm: NormTensors | None,
) -> StepResult:
    """One step from (t0, y) to t1, the same sums as ``step.take_step``."""
    tableau, layout = spec.tableau, spec.layout
    span = t1 - t0
    dt = span.to(layout.dtype)
    k = [evaluate(f, layout, t0, y) if k0 is None else k0]
    y1 = None
    for i in range(1, spec.stages):
        if tableau.fsal and i == tableau.stages - 1:
            point = y1 = combined(y, k, tableau.b, dt)
        else:
            n = layout.state_size
            point = combined(y[:n], [rate[:n] for rate in k], tableau.a[i], dt)
        # A node of 1 is t1 itself: t0 + dt may round past the end of the interval.
        t = t1 if tableau.c[i] == 1.0 else t0 + tableau.c[i] * span
        k.append(evaluate(f, layout, t, point))
    y1 = combined(y, k, tableau.b, dt) if y1 is None else y1
    ratio = None
    if spec.judged and norm is not None:
        with torch.no_grad():
            ratio = span.abs() * error_ratio(spec, norm, y, y1, k)
    if spec.returned_rates == "all":
        return StepResult(y1, ratio, tuple(k))
    return StepResult(y1, ratio, (k[-1],) if spec.returned_rates == "last" else ())


def error_ratio(
    spec: StepSpec, norm: NormTensors, y: Tensor, y1: Tensor, k: Sequence[Tensor]
) -> Tensor:
    """The error estimate over dt, over what is allowed: NaN where y1 is not finite, as infinity
    would allow any error.
    """
    y, y1 = y.detach(), y1.detach()
    error = weighed([rate.detach() for rate in k], spec.tableau.b_error)
    error = error / error_scale(norm, y, y1)
    return largest_norm(spec.layout, norm, torch.where(torch.isfinite(y1), error, torch.nan))


def error_scale(norm: NormTensors, y: Tensor, y1: Tensor) -> Tensor:
    """atol + rtol max(|y|, |y1|), (width,)."""
    return torch.maximum(y.abs(), y1.abs()) * norm.rtol + norm.atol


def largest_norm(layout: Layout, norm: NormTensors, scaled: Tensor) -> Tensor:
    """The weighted RMS of each entry of ``scaled``, (width,), and of these the largest, ()."""
    parts = (scaled,) if layout.one_entry else scaled.split(layout.sizes)
    norms = torch.stack([torch.linalg.vector_norm(part) for part in parts])
    return (norms.double() * norm.factors).amax()


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
