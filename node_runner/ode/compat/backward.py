"""The adjoint equations as an ordinary problem of their own, for any method."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ..gradients.again import Once
from ..gradients.leaves import LeafGuard, refuse_unknown_leaves
from ..problem import Problem
from ..protocol import Integrator
from ..state import Layout, rates
from .form import Form, inside, outside
from .means import means_of
from .norm import Tolerance, default_norm
from .options import ADAPTIVE
from .setting import Means, Setting

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

    def check(self, tableau: object) -> None:
        """Every method will do."""

    def __call__(self, solver: Integrator, problem: Problem) -> Tensor:
        return AugmentedFunction.apply(self, problem, problem.y0, *problem.params)

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
    def forward(
        ctx: Any, policy: Augmented, problem: Problem, y0: Tensor, *params: Tensor
    ) -> Tensor:
        guard = LeafGuard if policy.strict else None
        outputs = policy.forward.integrate(replace(problem, y0=y0.detach(), guard=guard))
        ctx.policy, ctx.problem = policy, replace(problem, y0=None, params=())
        ctx.save_for_backward(outputs, *params)
        return outputs

    @staticmethod
    def backward(ctx: Any, cotangents: Tensor) -> tuple[Tensor | None, ...]:
        outputs, *params = ctx.saved_tensors
        with torch.no_grad():
            found = backward_solve(ctx, cotangents, outputs, params)
        if not torch.is_grad_enabled():
            return None, None, *found
        # With the outputs among them, so that all are a part of the graph.
        known = iter(Once.apply(REFUSAL, *(g for g in found if g is not None), outputs))
        return None, None, *(None if g is None else next(known) for g in found)


def backward_solve(
    ctx: Any, cotangents: Tensor, outputs: Tensor, params: Sequence[Tensor]
) -> list[Tensor | None]:
    """Gradients of y0 and of each parameter, None for one that requires none."""
    policy, problem = ctx.policy, ctx.problem
    layout, ts = problem.layout, problem.ts
    wanted = [p for p in params if p.requires_grad and p.numel()]
    sums = [inside(torch.zeros_like(p), p.dtype, layout.dtype) for p in wanted]
    field, zero = AdjointField(policy, problem, wanted), outputs.new_zeros(())
    carry, n = torch.zeros_like(cotangents[-1]), len(layout.sizes)
    for i in range(len(ts) - 1, 0, -1):
        carry = carry + cotangents[i - 1]
        state = (zero, *layout.entries(outputs[i - 1]), *layout.entries(carry), *sums)
        means = policy.means(layout, wanted, state)
        t = torch.tensor([ts[i], ts[i - 1]], dtype=policy.time, device=outputs.device)
        ends = [entry[1] for entry in means.solve(field, state, t)]
        carry, sums = layout.flatten(ends[1 + n : 1 + 2 * n]), ends[1 + 2 * n :]
    totals = iter(outside(total, p.dtype) for total, p in zip(sums, wanted, strict=True))
    gradients = [
        (next(totals) if p.numel() else torch.zeros_like(p)) if p.requires_grad else None
        for p in params
    ]
    return [carry, *gradients]


class AdjointField:
    """Rates of (t, y, a, *sums).

    Where a graph is wanted, by an implicit method for its Jacobians, the rates carry it.
    """

    def __init__(self, policy: Augmented, problem: Problem, params: list[Tensor]) -> None:
        self.policy, self.problem, self.params = policy, problem, params
        self.looked = not policy.strict

    def __call__(self, t: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        layout, n = self.problem.layout, len(self.problem.layout.sizes)
        entries, adjoint = state[1 : 1 + n], state[1 + n : 1 + 2 * n]
        self.problem.stats.backward.nfe += 1
        again = torch.is_grad_enabled() and any(y.requires_grad for y in entries)
        with torch.enable_grad():
            y = [e if again else e.detach().requires_grad_() for e in entries]
            found = rates(self.problem.f(t, y[0] if layout.single else tuple(y)), layout)
            if not self.looked and not again:
                refuse_unknown_leaves(found, [*y, *self.params])
                self.looked = True
            inputs = [*y, *self.params]
            pairs = [(r, a) for r, a in zip(found, adjoint, strict=True) if r.requires_grad]
            results: Sequence[Tensor | None] = [None] * len(inputs)
            if pairs:
                live, known = zip(*pairs, strict=True)
                results = torch.autograd.grad(
                    live, inputs, known, allow_unused=True, create_graph=again
                )
        gradients = [
            torch.zeros_like(x) if g is None else -g for g, x in zip(results, inputs, strict=True)
        ]
        dy = found if again else [rate.detach() for rate in found]
        sums = [
            inside(g, p.dtype, layout.dtype)
            for g, p in zip(gradients[n:], self.params, strict=True)
        ]
        return (torch.zeros_like(state[0]), *dy, *gradients[:n], *sums)
