"""Record the accepted steps, then recompute them one at a time on the way back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..engine import ENGINES
from ..loop import Step, interpolate
from ..problem import Problem
from ..protocol import Integrator
from ..step import Buffer, Tape, take_step
from ..tableau import Tableau
from .again import Alias
from .leaves import LeafGuard, add, refuse_nested, refuse_unknown_leaves


class Replay:
    """The gradient of ``Direct``, to rounding, in the memory of one step and one state a step.

    The forward solve keeps no graph, only (t, dt, y) of each accepted step; the backward pass
    rebuilds one step's graph at a time: adaptive checkpointing (Zhuang et al. 2020,
    arXiv:2006.02493, algorithm 2) without its second forward solve. It costs about one more forward
    pass. f must give the same values when called again: no dropout inside it.

    With ``states``, no more than so many y are kept, evenly over the N steps; those between two of
    them are recomputed, without graph, when the way back comes there, and are held for that stretch
    alone: at most about ``states`` + 2 N / ``states`` of them at one time, for at most one more
    forward pass.

    With ``create_graph=True`` the recorded steps are taken once more with their graph, as
    ``Direct`` takes them, so that gradients of gradients are exact, in the memory of ``Direct``.

    Args:
        states: y to keep; one for each step unless given.

    Raises:
        ValueError: for less than one state; if f uses a tensor that requires a gradient and is not
        in ``params``, seen at its first evaluation, and once a step on the way back.
    """

    def __init__(self, states: int | None = None) -> None:
        if states is not None and not states >= 1:
            raise ValueError(
                f"gradient.states is {states!r}, must be at least 1, or null to keep every step's"
            )
        self.states = states

    def check(self, tableau: Tableau) -> None:
        """Every method can be replayed."""

    def __call__(self, solver: Integrator, problem: Problem) -> Tensor:
        refuse_nested(problem.params)
        return ReplayFunction.apply(
            solver, problem, Trail(self.states), problem.y0, *problem.params
        )


class Record(NamedTuple):
    """One accepted step: its ends, the output times strictly inside it, and whether it ends on
    one.
    """

    t0: float
    t1: float
    inside: list[float]
    lands: bool


class Trail:
    """The accepted steps of a solve, and y at the start of every ``stride``-th of them.

    How many steps there will be is not known: when more than ``most`` states have come, every
    second one is dropped and the stride doubles.
    """

    def __init__(self, most: int | None) -> None:
        self.most, self.stride = most, 1
        self.records: list[Record] = []
        self.states: list[Tensor] = []

    def keep(self, step: Step, inside: list[float], lands: bool) -> None:
        if len(self.records) % self.stride == 0:
            if len(self.states) == self.most:
                self.states, self.stride = self.states[::2], 2 * self.stride
        if len(self.records) % self.stride == 0:
            self.states.append(step.y0)
        self.records.append(Record(step.t0, step.t1, inside, lands))

    def back(self, context: Any, states: tuple[Tensor, ...]) -> Iterator[tuple[Record, Tensor]]:
        """Each step and y at its start, the last first."""
        for i in reversed(range(len(states))):
            stretch = self.records[i * self.stride : (i + 1) * self.stride]
            ys = [states[i]]
            for record in stretch[:-1]:
                ys.append(retake(context, record, ys[-1]))
            while ys:
                yield stretch.pop(), ys.pop()


class ReplayFunction(torch.autograd.Function):
    """The solve as one node of the graph."""

    @staticmethod
    def forward(
        ctx: Any, solver: Integrator, problem: Problem, trail: Trail, y0: Tensor, *params: Tensor
    ) -> Tensor:
        guarded = replace(problem, y0=y0.detach(), guard=LeafGuard)
        outputs = solver.integrate(guarded, trail.keep)
        ctx.tableau, ctx.trail, ctx.params = solver.tableau, trail, len(params)
        ctx.engine = ENGINES[solver.engine]
        ctx.problem = replace(problem, y0=None, params=())
        ctx.save_for_backward(y0, *params, *trail.states)
        trail.states = []  # autograd holds them, and frees them
        return outputs

    @staticmethod
    def backward(ctx: Any, cotangents: Tensor) -> tuple[Tensor | None, ...]:
        y0, *saved = ctx.saved_tensors
        params, states = saved[: ctx.params], saved[ctx.params :]
        wanted = [i for i, p in enumerate(params) if p.requires_grad]
        way = way_with_graph if torch.is_grad_enabled() else way_back
        start = y0 if torch.is_grad_enabled() else states
        carry, totals = way(ctx, start, [params[i] for i in wanted], cotangents)
        gradients: list[Tensor | None] = [None] * len(params)
        for i, total in zip(wanted, totals, strict=True):
            gradients[i] = total
        return None, None, None, carry, *gradients


def way_back(
    ctx: Any, states: list[Tensor], params: list[Tensor], cotangents: Tensor
) -> tuple[Tensor, list[Tensor | None]]:
    """The gradients of y0 and the parameters, one step at a time, without a graph of their own."""
    pending = list(cotangents.unbind())
    totals: list[Tensor | None] = [None] * len(params)
    carry = torch.zeros_like(pending[-1])
    for record, y in ctx.trail.back(ctx, tuple(states)):
        if record.lands:
            carry = carry + pending.pop()
        inside = [pending.pop() for _ in record.inside][::-1]
        with torch.enable_grad():
            y = y.detach().requires_grad_()
            inputs = [y, *params]
            results = compiled_step(ctx, record, inputs) or replay_step(ctx, record, inputs)
            known = [carry] if not inside else [carry, torch.stack(inside)]
            carry, *gradients = torch.autograd.grad(results, inputs, known, allow_unused=True)
        add(totals, gradients)
    return carry, totals


def way_with_graph(
    ctx: Any, y0: Tensor, params: list[Tensor], cotangents: Tensor
) -> tuple[Tensor, tuple[Tensor | None, ...]]:
    """The same gradients, differentiable: all recorded steps in one graph."""
    alias = Alias(y0)
    y, outputs = alias.tensor, []
    for record in ctx.trail.records:
        y, *between = replay_step(ctx, record, [y, *params])
        outputs += between
        if record.lands:
            outputs.append(y[None])
    found = alias.gradients(torch.cat(outputs), params, cotangents)
    return found[0], found[1:]


def retake(ctx: Any, record: Record, y: Tensor) -> Tensor:
    """y at the end of a step, without graph, as the forward solve found it to the last bit."""
    tableau, problem = ctx.tableau, ctx.problem
    f = problem.right_side(problem.stats.backward)
    stages = Buffer(tableau, problem.layout)
    stages.put(0, f(0, record.t0, y))
    return take_step(f, tableau, stages, record.t0, record.t1, y, tableau.stages - tableau.fsal)


def compiled_step(ctx: Any, record: Record, inputs: list[Tensor]) -> list[Tensor] | None:
    """What ``replay_step`` returns, by an engine that can; only to be differentiated once."""
    if ctx.engine is None or record.inside:
        return None
    y1 = ctx.engine.replay(ctx.problem, ctx.tableau, record.t0, record.t1, inputs[0])
    if y1 is None:
        return None
    refuse_unknown_leaves([y1], inputs)
    return [y1]


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
