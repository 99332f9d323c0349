"""The adjoint equations as an ordinary problem of their own, for any method."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ..dynamo import run_eagerly
from ..gradients.again import Once
from ..gradients.captured_tensors import CapturedTensors, solve_without_graph
from ..gradients.drift import Drift, Kept, backward_failure_explained, warn_of_drift
from ..gradients.vjp import CapturedVJP
from ..problem import Problem
from ..protocol import Integrator
from ..state import Layout, rates
from ..transforms import refuse_batched, refuse_tangents
from .form import Form, inside, outside
from .means import means_of
from .norm import Tolerance, default_norm
from .options import ADAPTIVE
from .setting import Means, Setting

NAME = "odeint_adjoint"  # in messages
REFUSAL = (
    "a gradient by odeint_adjoint cannot be differentiated again; one by odeint can, but through "
    "implicit steps"
)


@dataclass(frozen=True)
class Augmented:
    """Solve (t, y, a, dL/dtheta) backwards from each output to the one before, as one state,

        y' = f,    a' = -a^T df/dy,    (dL/dtheta)' = -a^T df/dtheta

    (Chen et al. 2018, arXiv:1806.07366, algorithm 1). What the core's ``Adjoint`` does in one solve
    and without the parameters in the state, this does for every method, and for norms and callbacks
    that want to see them. The entry for t stays zero: dL/dt is known from f and a at the outputs.

    Args:
        forward: the solve forwards.
        method, options: of the backward solve.
        rtol, atol: of y, or of every entry of the state here where ``whole``.
        norm: of (t, y, a, *params), y and a spread out where they are tuples; None for the largest
            RMS of any of them.
        state_norm: of y and a, in place of their RMS.
        seminorm: leaves the parameters out.
        called: callbacks by their event; they see the state here.
        time: dtype of the times.
        strict: see ``Adjoint``.
        tolerances: of y in both solves; none where one has fixed steps.
    """

    forward: Means
    form: Form
    method: str
    options: dict
    rtol: object
    atol: object
    norm: Callable | None
    state_norm: Callable | None
    seminorm: bool
    called: dict[str, Callable]
    time: torch.dtype
    strict: bool
    tolerances: list[tuple[object, object]]

    def check(self, tableau: object) -> None:
        """Every method will do."""

    def __call__(self, solver: Integrator, problem: Problem) -> Tensor:
        outputs, captured = solve_without_graph(NAME, problem, self.forward.integrate, self.strict)
        return AugmentedFunction.apply(
            self, problem, captured, outputs, problem.y0, *captured.tensors
        )

    def means(self, layout: Layout, params: Sequence[Tensor], state: tuple) -> Means:
        """How the augmented state is solved."""
        dtypes = self.form.dtypes
        form = Form(
            (self.form.time, *dtypes, *dtypes, *(p.dtype for p in params)), layout.dtype, False
        )
        whole = Layout(state)
        spread = [self.spread(each, layout, whole) for each in (self.rtol, self.atol)]
        options = dict(self.options)
        if self.method in ADAPTIVE:
            options["norm"] = self.measure
        return means_of(Setting(self.method, options, *spread, form, whole, self.called))

    def spread(self, tolerance: Tolerance, layout: Layout, whole: Layout) -> Tolerance:
        """The tolerance of y for y and a, its smallest for the rest; or, given for every entry, as
        it is.
        """
        if isinstance(tolerance, tuple):
            return torch.cat(
                [
                    torch.as_tensor(each, dtype=whole.dtype, device=whole.device).expand(size)
                    for each, size in zip(tolerance, whole.sizes, strict=True)
                ]
            )
        if not isinstance(tolerance, Tensor):
            return tolerance
        least = tolerance.min()
        rest = least.expand(whole.width - 2 * layout.width - 1)
        return torch.cat([least[None], tolerance, tolerance, rest])

    def measure(self, state: tuple[Tensor, ...]) -> object:
        """The norm of (t, y, a, *params)."""
        if self.norm is not None:
            return self.norm(state)
        n, of_state = len(self.form.dtypes), self.state_norm or default_norm
        halves = state[1 : 1 + n], state[1 + n : 1 + 2 * n]
        found = [torch.as_tensor(of_state(h[0] if self.form.single else h)) for h in halves]
        params = () if self.seminorm else state[1 + 2 * n :]
        found += [default_norm(params)] if params else []
        return torch.stack([each.to(state[0].device).abs() for each in found]).max()


class AugmentedFunction(torch.autograd.Function):
    """The solve as one node of the graph; only its outputs are kept."""

    @staticmethod
    @run_eagerly
    def forward(
        ctx: Any,
        policy: Augmented,
        problem: Problem,
        captured: CapturedTensors,
        outputs: list[Tensor],
        y0: Tensor,
        *tensors: Tensor,
    ) -> Tensor:
        ctx.policy, ctx.captured = policy, captured
        ctx.problem = replace(problem, y0=None, params=(), given=())
        ctx.start = Kept(y0)
        ctx.save_for_backward(outputs[0], *tensors)
        return outputs.pop()

    @staticmethod
    @run_eagerly
    def backward(ctx: Any, cotangents: Tensor) -> tuple[Tensor | None, ...]:
        outputs, *_ = ctx.saved_tensors  # refused if a tensor has been changed in place
        refuse_batched(NAME, cotangents)
        refuse_tangents(f"a gradient by {NAME}", cotangents)
        circumstances = ctx.captured.snapshot.restored(), ctx.problem.rhs.arithmetic()
        norm = "state" if ctx.policy.seminorm else "full"
        explained = backward_failure_explained(ctx.policy.method, norm)
        with torch.no_grad(), circumstances[0], circumstances[1], explained:
            found = backward_solve(ctx, cotangents, outputs)
        if not torch.is_grad_enabled():
            return None, None, None, None, *found
        # With the outputs among them, so that all are a part of the graph.
        known = iter(Once.apply(REFUSAL, *(g for g in found if g is not None), outputs))
        return None, None, None, None, *(None if g is None else next(known) for g in found)


def backward_solve(ctx: Any, cotangents: Tensor, outputs: Tensor) -> list[Tensor | None]:
    """Gradients of y0 and of each captured tensor, None for one that requires none."""
    policy, problem, vjp = ctx.policy, ctx.problem, CapturedVJP(ctx.captured)
    layout, ts = problem.layout, problem.ts
    wanted = [i for i, p in enumerate(vjp.tensors) if p.requires_grad and p.numel()]
    params = [vjp.tensors[i] for i in wanted]
    sums = [inside(torch.zeros_like(p), p.dtype, layout.dtype) for p in params]
    field, zero = AdjointField(policy, problem, vjp, wanted), outputs.new_zeros(())
    carry, n = torch.zeros_like(cotangents[-1]), len(layout.sizes)
    drift = Drift(problem, ctx.start.tensor(), outputs, policy.tolerances)
    for i in range(len(ts) - 1, 0, -1):
        carry = carry + cotangents[i - 1]
        state = (zero, *layout.entries(outputs[i - 1]), *layout.entries(carry), *sums)
        means = policy.means(layout, params, state)
        t = torch.tensor([ts[i], ts[i - 1]], dtype=policy.time, device=outputs.device)
        ends = [entry[1] for entry in means.solve(field, state, t)]
        drift.compare(i - 1, layout.flatten(ends[1 : 1 + n]), carry)
        carry, sums = layout.flatten(ends[1 + n : 1 + 2 * n]), ends[1 + 2 * n :]
    _, harmful = drift.read(torch.isfinite(carry).all())
    if harmful is not None:
        warn_of_drift(problem, harmful, (policy.method, outputs.dtype))
    totals: list[Tensor | None] = [None] * len(vjp.tensors)
    for i, p, total in zip(wanted, params, sums, strict=True):
        totals[i] = outside(total, p.dtype)
    return [carry, *vjp.totals(totals, zeros=True)]


class AdjointField:
    """Rates of (t, y, a, *sums).

    Where a graph is wanted, by an implicit method for its Jacobians, the rates carry it.
    """

    def __init__(
        self, policy: Augmented, problem: Problem, vjp: CapturedVJP, wanted: list[int]
    ) -> None:
        self.policy, self.problem, self.vjp, self.wanted = policy, problem, vjp, wanted

    def __call__(self, t: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        layout, n = self.problem.layout, len(self.problem.layout.sizes)
        entries, adjoint = state[1 : 1 + n], state[1 + n : 1 + 2 * n]
        self.problem.stats.backward.nfe += 1
        again = torch.is_grad_enabled() and any(y.requires_grad for y in entries)
        with torch.enable_grad():
            y = [e if again else e.detach().requires_grad_() for e in entries]
            found = rates(self.problem.rhs(t, y[0] if layout.single else tuple(y)), layout)
            if not again:
                self.vjp.look(found, y)
            pairs = [(r, a) for r, a in zip(found, adjoint, strict=True) if r.requires_grad]
            decay: Sequence[Tensor | None] = [None] * n
            sums: Sequence[Tensor | None] = [None] * len(self.vjp.tensors)
            if pairs:
                live, known = zip(*pairs, strict=True)
                decay, sums = self.vjp(live, y, known, create_graph=again)
        dy = found if again else [rate.detach() for rate in found]
        params = [self.vjp.tensors[i] for i in self.wanted]
        return (
            torch.zeros_like(state[0]),
            *dy,
            *map(negative, decay, y),
            *(
                inside(negative(sums[i], p), p.dtype, layout.dtype)
                for i, p in zip(self.wanted, params, strict=True)
            ),
        )


def negative(gradient: Tensor | None, like: Tensor) -> Tensor:
    """-gradient; None is zero."""
    return torch.zeros_like(like) if gradient is None else -gradient
