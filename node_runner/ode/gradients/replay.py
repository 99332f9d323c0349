"""Record the accepted steps, then recompute them one at a time on the way back."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from ..loop import Step, interpolate
from ..problem import Problem
from ..step import Tape, take_step
from ..tableau import Tableau
from .leaves import LeafGuard, add, refuse_unknown_leaves
from .protocol import Integrator


class Replay:
    """The gradient of ``Direct``, to rounding, in the memory of one step and one state a step.

    The forward solve keeps no graph, only (t, dt, y) of each accepted step; the backward pass
    rebuilds one step's graph at a time: adaptive checkpointing (Zhuang et al. 2020,
    arXiv:2006.02493, algorithm 2) without its second forward solve. It costs about one more forward
    pass. f must give the same values when called again: no dropout inside it.

    Raises:
        ValueError: if f uses a tensor that requires a gradient and is not in ``params``; seen at
        its first evaluation, and once a step on the way back.
    """

    def check(self, tableau: Tableau) -> None:
        """Every method can be replayed."""

    def __call__(self, solver: Integrator, problem: Problem) -> Tensor:
        return ReplayFunction.apply(solver, problem, problem.y0, *problem.params)


class Record(NamedTuple):
    """One accepted step: its ends, the output times strictly inside it, and whether it ends on
    one.
    """

    t0: float
    t1: float
    inside: list[float]
    lands: bool


class ReplayFunction(torch.autograd.Function):
    """The solve as one node of the graph."""

    @staticmethod
    def forward(
        ctx: Any, solver: Integrator, problem: Problem, y0: Tensor, *params: Tensor
    ) -> Tensor:
        ctx.records, states = [], []

        def keep(step: Step, inside: list[float], lands: bool) -> None:
            ctx.records.append(Record(step.t0, step.t1, inside, lands))
            states.append(step.y0)

        outputs = solver.integrate(replace(problem, y0=y0.detach(), guard=LeafGuard), keep)
        ctx.tableau, ctx.problem, ctx.params = (
            solver.tableau,
            replace(problem, y0=None, params=()),
            len(params),
        )
        ctx.save_for_backward(*states, *params)
        return outputs

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, cotangents: Tensor) -> tuple[Tensor | None, ...]:
        saved = ctx.saved_tensors
        states, params = saved[: len(ctx.records)], saved[len(ctx.records) :]
        pending = list(cotangents.unbind())
        wanted = [i for i, p in enumerate(params) if p.requires_grad]
        totals: list[Tensor | None] = [None] * len(wanted)
        carry = torch.zeros_like(pending[-1])
        for record, y in zip(reversed(ctx.records), reversed(states), strict=True):
            if record.lands:
                carry = carry + pending.pop()
            inside = [pending.pop() for _ in record.inside][::-1]
            with torch.enable_grad():
                y = y.detach().requires_grad_()
                inputs = [y, *(params[i] for i in wanted)]
                results = replay_step(ctx, record, inputs)
                known = [carry] if not inside else [carry, torch.stack(inside)]
                carry, *gradients = torch.autograd.grad(results, inputs, known, allow_unused=True)
            add(totals, gradients)
        gradients = [None] * len(params)
        for i, total in zip(wanted, totals, strict=True):
            gradients[i] = total
        return None, None, carry, *gradients


def replay_step(ctx: Any, record: Record, inputs: list[Tensor]) -> list[Tensor]:
    """[y1] of one step with its graph, or [y1, outputs inside] where there are any.

    ``inputs`` are y at its start and all that a gradient will be taken for.
    """
    y = inputs[0]
    tableau, problem = ctx.tableau, ctx.problem
    f = problem.right_side(problem.stats.backward)
    stages = Tape(tableau, problem.layout)
    stages.put(0, f(0, record.t0, y))
    refuse_unknown_leaves(stages.k[:1], inputs)
    # The last FSAL stage serves the error estimate, the next step and the interpolant; here only
    # the interpolant.
    spare = tableau.fsal and not record.inside
    y1 = take_step(f, tableau, stages, record.t0, record.t1, y, tableau.stages - spare)
    if not record.inside:
        return [y1]
    if tableau.rates > tableau.stages:
        stages.put(tableau.stages, f(0, record.t1, y1))
    return [y1, interpolate(tableau, stages, record.t0, record.t1, y, record.inside)]
