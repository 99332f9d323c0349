"""Replay: accepted steps are recorded, then recomputed one at a time in the backward pass."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor

from .. import observation
from ..dynamo import run_eagerly
from ..engine import ENGINES
from ..error_norm import ErrorNorm
from ..integration import OneSidedRates
from ..problem import Problem
from ..protocol import AcceptedStep, Integrator
from ..stepper import Method, Rates, Stepper
from ..transforms import refuse_tangents
from .captured_tensors import CapturedTensors, add, solve_without_graph
from .double_backward import GradientAlias
from .vjp import CapturedVJP


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

    >>> import torch
    >>> from node_runner.ode import Replay, Solver
    >>> y0 = torch.ones(2, requires_grad=True)
    >>> Solver(gradient=Replay())(lambda t, y: -y, y0, [0.0, 1.0]).final.sum().backward()
    >>> [round(g, 3) for g in y0.grad.tolist()]
    [0.368, 0.368]

    Args:
        states: Number of states to store (default: one per step).

    Raises:
        ValueError: for less than one state; if f uses a leaf that requires a gradient and is not
        in ``params``, seen at its first evaluation, and once a step on the way back.
        NotImplementedError: inside a transform of torch.func, and in forward mode.
    """

    def __init__(self, states: int | None = None) -> None:
        if states is not None and not states >= 1:
            raise ValueError(
                f"states is {states!r}, must be at least 1, or null to keep every step's"
            )
        self.states = states

    def check(self, method: Method) -> None:
        """Refuse a method whose steps depend on those before."""
        if not method.one_step:
            raise ValueError(
                "gradient=replay takes each step again by itself, and a multistep method makes it "
                "of those before: choose gradient=direct or gradient=adjoint, or a one-step solver"
            )

    def __call__(self, solver: Integrator, problem: Problem) -> Tensor:
        trail = StepHistory(self.states)
        outputs, captured = solve_without_graph(
            "Replay()", problem, lambda inner: solver.integrate(inner, trail.keep)
        )
        return ReplayFunction.apply(
            solver, problem, trail, captured, outputs, problem.y0, *captured.tensors
        )


class StepRecord(NamedTuple):
    """One accepted step: its ends, the output times strictly inside it, and whether it ends on
    one.
    """

    t0: float
    t1: float
    inside: list[float]
    lands: bool


class StepHistory:
    """The accepted steps of a solve, and y at the start of every ``stride``-th of them.

    How many steps there will be is not known: when more than ``most`` states have come, every
    second one is dropped and the stride doubles.
    """

    def __init__(self, most: int | None) -> None:
        self.most, self.stride = most, 1
        self.records: list[StepRecord] = []
        self.states: list[Tensor] = []

    def keep(self, step: AcceptedStep, inside: list[float], lands: bool) -> None:
        if len(self.records) % self.stride == 0:
            if len(self.states) == self.most:
                self.states, self.stride = self.states[::2], 2 * self.stride
        if len(self.records) % self.stride == 0:
            self.states.append(step.y0)
        self.records.append(StepRecord(step.t0, step.t1, inside, lands))

    def back(self, context: Any, states: tuple[Tensor, ...]) -> Iterator[tuple[StepRecord, Tensor]]:
        """Each step and y at its start, the last first."""
        for i in reversed(range(len(states))):
            stretch = self.records[i * self.stride : (i + 1) * self.stride]
            ys = [states[i]]
            for record in stretch[:-1]:
                ys.append(recompute_state(context, record, ys[-1]))
            while ys:
                yield stretch.pop(), ys.pop()


class ReplayFunction(torch.autograd.Function):
    """The solve as one node of the graph."""

    @staticmethod
    @run_eagerly
    def forward(
        ctx: Any,
        solver: Integrator,
        problem: Problem,
        trail: StepHistory,
        captured: CapturedTensors,
        outputs: list[Tensor],
        y0: Tensor,
        *tensors: Tensor,
    ) -> Tensor:
        ctx.solver, ctx.trail, ctx.captured = solver, trail, captured
        ctx.engine = ENGINES[solver.engine]
        ctx.problem = replace(problem, y0=y0[:0], params=(), given=())
        ctx.save_for_backward(y0, *tensors, *trail.states)
        trail.states = []  # autograd holds them, and frees them
        return outputs.pop()

    @staticmethod
    @run_eagerly
    def backward(ctx: Any, cotangents: Tensor) -> tuple[Tensor | None, ...]:
        y0, *saved = ctx.saved_tensors  # refused if one has been changed in place
        refuse_tangents("a gradient by Replay()", cotangents)
        states = saved[len(ctx.captured.tensors) :]
        vjp = CapturedVJP(ctx.captured, one_graph=torch.is_grad_enabled())
        layout, solver = ctx.problem.layout, ctx.solver
        ctx.norm = ErrorNorm(layout, solver.rtol, solver.atol, ctx.problem.weights)
        with ctx.captured.snapshot.restored(), ctx.problem.rhs.arithmetic(ctx.engine is not None):
            if torch.is_grad_enabled():
                carry, gradients = backward_with_graph(ctx, y0, vjp, cotangents)
            else:
                carry, gradients = backward_by_steps(ctx, states, vjp, cotangents)
        vjp.check_reached()
        return None, None, None, None, None, carry, *gradients


def backward_by_steps(
    ctx: Any, states: list[Tensor], vjp: CapturedVJP, cotangents: Tensor
) -> tuple[Tensor, list[Tensor | None]]:
    """The gradients of y0 and the captured tensors, one step at a time, without a graph of their
    own.
    """
    pending = list(cotangents.unbind())
    totals: list[Tensor | None] = [None] * len(vjp.tensors)
    carry = torch.zeros_like(pending[-1])
    for record, y in ctx.trail.back(ctx, tuple(states)):
        if observation.watcher is not None:
            observation.watcher.look(record.t1, ctx.problem.stats.backward.nfe, backward=True)
        if record.lands:
            carry = carry + pending.pop()
        inside = [pending.pop() for _ in record.inside][::-1]
        with torch.enable_grad():
            y = y.detach().requires_grad_()
            compiled = compiled_step(ctx, record, y, vjp)
            results = compiled or replay_step(ctx, record, y, vjp)
            known = [carry] if not inside else [carry, torch.stack(inside)]
            (change,), gradients = vjp(results, [y], known, once=compiled is not None)
            carry = cast(Tensor, change)  # y1 depends on y
        add(totals, gradients)
    return carry, vjp.totals(totals)


def backward_with_graph(
    ctx: Any, y0: Tensor, vjp: CapturedVJP, cotangents: Tensor
) -> tuple[Tensor | None, list[Tensor | None]]:
    """The same gradients, differentiable: all recorded steps in one graph."""
    alias = GradientAlias(y0)
    y, outputs = alias.tensor, []
    for record in ctx.trail.records:
        y, *between = replay_step(ctx, record, y, vjp)
        outputs += between
        if record.lands:
            outputs.append(y[None])
    with alias.closing():
        (carry,), gradients = vjp(
            [torch.cat(outputs)], [alias.tensor], [cotangents], create_graph=True
        )
    return carry, gradients


def recompute_state(ctx: Any, record: StepRecord, y: Tensor) -> Tensor:
    """y at the end of a step, without graph, as the forward solve found it."""
    return stepper(ctx, record, graph=False).attempt(record.t0, record.t1, y).y1


def compiled_step(ctx: Any, record: StepRecord, y: Tensor, vjp: CapturedVJP) -> list[Tensor] | None:
    """What ``replay_step`` returns, by an engine that can; only to be differentiated once."""
    if ctx.engine is None or record.inside:
        return None
    y1 = ctx.engine.replay(ctx.problem, ctx.solver.scheme, record.t0, record.t1, y)
    if y1 is None:
        return None
    vjp.look([y1], [y])
    return [y1]


def replay_step(ctx: Any, record: StepRecord, y: Tensor, vjp: CapturedVJP) -> list[Tensor]:
    """[y1] of one step with its graph, or [y1, outputs inside] where there are any."""
    again = stepper(ctx, record, graph=True, vjp=vjp)
    y1 = again.attempt(record.t0, record.t1, y).y1
    if not record.inside:
        return [y1]
    again.accept()
    return [y1, again.interpolant().at(record.inside)]


def stepper(ctx: Any, record: StepRecord, graph: bool, vjp: CapturedVJP | None = None) -> Stepper:
    """Takes one step again. What its first evaluation with a graph uses is looked at."""
    problem, solver = ctx.problem, ctx.solver
    f = problem.right_side(problem.stats.backward)
    if solver.jumps:
        t0, direction = record.t0, record.t1 - record.t0
        f = OneSidedRates(f, solver.jumps, problem.layout.dtype, lambda: (t0, direction))
    right = f if vjp is None else CheckedRates(f, vjp)
    return solver.scheme.start(right, problem.layout, ctx.norm, graph, judged=False)


class CheckedRates:
    """Rates, of which the first evaluation with a graph is looked at."""

    def __init__(self, f: Rates, vjp: CapturedVJP) -> None:
        self.f, self.vjp, self.seen = f, vjp, False

    def __call__(self, stage: int | None, t: float, y: Tensor) -> list[Tensor]:
        found = self.f(stage, t, y)
        if not self.seen and torch.is_grad_enabled():
            self.seen = True
            self.vjp.look(found, [y])
        return found
