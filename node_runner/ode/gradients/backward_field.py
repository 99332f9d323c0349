"""Fields of the adjoint's backward solve: state, adjoint and parameter quadrature."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod, sqrt

import torch
from torch import Tensor

from ..problem import Problem
from ..state import Layout, Quadrature
from ..tableau import Tableau
from .captured_tensors import add
from .vjp import CapturedVJP

Sums = list[Tensor | None]  # one entry a parameter; None is zero


class AdjointField:
    """Rates of (y, a) backwards in time, and a^T df/dtheta. How that is integrated is for those who
    inherit it.

    Attributes:
        quadrature_adjoint: of the forward quadratures, constant between outputs.
        jump_at: where a is about to change, so that no step starts from the rate there.
        totals: the gradients of the parameters so far.
    """

    quadrature_adjoint: Tensor

    def __init__(self, problem: Problem, vjp: CapturedVJP) -> None:
        self.problem, self.vjp = problem, vjp
        self.right_side = problem.right_side(problem.stats.backward)
        self.jump_at: float | None = None
        self.totals: Sums = [None] * len(vjp.tensors)

    def evaluate(
        self, stage: int | None, t: float, flat: Tensor, uses_params: bool
    ) -> tuple[list[Tensor], Sums]:
        """Rates of y and a, and a^T df/dtheta where it is wanted."""
        layout = self.problem.layout
        n = layout.state_size
        with torch.enable_grad():
            # Detached: the backward solve must not extend the graph of the forward one.
            y = flat[:n].detach().requires_grad_()
            found = self.right_side(stage, t, y)
            if stage in (0, 1):  # once a step or oftener
                self.vjp.look(found, [y])
            cotangents = layout.entries(torch.cat([flat[n : 2 * n], self.quadrature_adjoint]))
            live = [
                (rate, a) for rate, a in zip(found, cotangents, strict=True) if rate.requires_grad
            ]
            decay: Tensor | None = None
            gradients: Sums = []
            if live:
                results, known = zip(*live, strict=True)
                (decay,), gradients = self.vjp(results, [y], known, tensors=uses_params)
                gradients = gradients if uses_params else []
        back = torch.zeros_like(y) if decay is None else decay.neg()
        return [*(rate.detach() for rate in found[: layout.num_entries]), back], gradients


class BackwardField(AdjointField):
    """By the weights of the stages: the sums of the parameter quadrature.

    A step's parameter quadrature dt sum_i b_i a^T df/dtheta(stage i) is summed in ``trial`` while
    its stages are evaluated and joins ``totals`` when the step is accepted, so that it costs a few
    copies of the parameters and not one a stage. A stage of weight 0 needs no gradient of the
    parameters at all.
    """

    def __init__(self, problem: Problem, vjp: CapturedVJP, tableau: Tableau, full: bool) -> None:
        super().__init__(problem, vjp)
        self.tableau = tableau
        none = (0.0,) * tableau.stages
        self.error_weights = tableau.b_error or none if full else none
        self.first: Sums = list(self.totals)  # a^T df/dtheta at the start of the step
        self.last: Sums = list(self.totals)  # the same at its end, for an FSAL method
        self.trial: Sums = list(self.totals)  # sum of stages 1, 2, ... weighted by b
        self.error: Sums = list(self.totals)  # the same weighted by b_error

    def __call__(self, stage: int | None, t: float, flat: Tensor) -> list[Tensor]:
        rates, gradients = self.evaluate(stage, t, flat, self.uses_params(stage, t))
        self.sum_params(stage, gradients)
        return rates

    def state(self, y_and_a: Tensor) -> Tensor:
        """What is solved for: y and a alone."""
        return y_and_a

    def layout(self, y_and_a: tuple[Tensor, ...]) -> Layout:
        """Of that, from its entries."""
        return Layout(y_and_a)

    def uses_params(self, stage: int | None, t: float) -> bool:
        """Whether the parameter quadrature has weight at this stage, or at stage 0 of the step
        after.
        """
        if stage is None or not self.vjp.tensors:
            return False
        next_first = self.tableau.fsal and stage == self.tableau.stages - 1 and t != self.jump_at
        return bool(next_first or self.tableau.b[stage] or self.error_weights[stage])

    def sum_params(self, stage: int | None, gradients: Sequence[Tensor | None]) -> None:
        if stage == 0:
            self.first = list(gradients) or [None] * len(self.totals)
            return
        if stage == 1:  # a fresh attempt: forget what a rejected one has summed
            self.trial, self.error = [None] * len(self.totals), [None] * len(self.totals)
        if not gradients or stage is None:
            return
        if self.tableau.b[stage]:
            add(self.trial, gradients, self.tableau.b[stage])
        if self.error_weights[stage]:
            add(self.error, gradients, self.error_weights[stage])
        if self.tableau.fsal and stage == self.tableau.stages - 1:
            self.last = list(gradients)

    def accept(self, dt: float) -> None:
        """Add the step's quadrature; dt < 0 for a solve that ran forwards, hence the sign."""
        add(self.totals, self.first, -dt * self.tableau.b[0])
        add(self.totals, self.trial, -dt)
        self.first = self.last

    def finish(self, state: Tensor) -> None:
        """A stretch between two outputs ends in ``state``."""

    def error_ratios(self, rtol: float, atol: float) -> Tensor:
        """RMS error of the parameter quadrature over its tolerance and |dt|, one number a
        parameter.
        """
        errors: Sums = [None if e is None else e.clone() for e in self.error]
        add(errors, self.first, self.error_weights[0])
        ratios = [
            torch.linalg.vector_norm(e / (atol + rtol * (0.0 if total is None else total.abs())))
            / sqrt(max(1, e.numel()))
            for e, total in zip(errors, self.totals, strict=True)
            if e is not None
        ]
        return torch.stack(ratios) if ratios else self.vjp.tensors[0].new_zeros(0)


class QuadratureField(AdjointField):
    """For methods of any kind: the parameter quadratures are a part of the state, which the field
    does not see.
    """

    def __init__(self, problem: Problem, vjp: CapturedVJP) -> None:
        super().__init__(problem, vjp)
        self.shapes = [tuple(real(x.detach()).shape) for x in vjp.tensors]

    def __call__(self, stage: int | None, t: float, flat: Tensor) -> list[Tensor]:
        (*rates, decay), gradients = self.evaluate(stage, t, flat, bool(self.vjp.tensors))
        decays = self.problem.layout.entries(decay)[: self.problem.layout.num_entries]
        found = gradients or [None] * len(self.vjp.tensors)
        sums = [
            torch.zeros(shape, dtype=flat.dtype, device=flat.device)
            if g is None
            else -real(g).to(flat.dtype)
            for g, shape in zip(found, self.shapes, strict=True)
        ]
        return [*rates, *decays, *sums]

    def state(self, y_and_a: Tensor) -> Tensor:
        return torch.cat([y_and_a, y_and_a.new_zeros(sum(map(prod, self.shapes)))])

    def layout(self, y_and_a: tuple[Tensor, ...]) -> Layout:
        sums = [Quadrature(y_and_a[0].new_zeros(shape)) for shape in self.shapes]
        return Layout(y_and_a, sums)

    def accept(self, dt: float) -> None:
        """Nothing: the solve itself sums."""

    def finish(self, state: Tensor) -> None:
        if not self.shapes:
            return
        sizes = [prod(shape) for shape in self.shapes]
        parts = zip(state[-sum(sizes) :].split(sizes), self.shapes, self.vjp.tensors, strict=True)
        add(self.totals, [back(part.view(shape), x.is_complex()) for part, shape, x in parts])


def real(x: Tensor) -> Tensor:
    """x, with the parts of a complex tensor last."""
    return torch.view_as_real(x.resolve_conj()) if x.is_complex() else x


def back(x: Tensor, is_complex: bool) -> Tensor:
    """The inverse of ``real``."""
    return torch.complex(*x.unbind(-1)) if is_complex else x
