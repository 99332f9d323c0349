"""Vector-Jacobian products of f's graph in a backward pass."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor

from .captured_tensors import CapturedTensors, Edge, newest_node


class CapturedVJP:
    """Gradients in y and in the captured tensors, of one backward pass.

    Hooks of a captured tensor do not run here, but once, when autograd has its whole gradient.

    Args:
        captured: The tensors.
        one_graph: Whether all evaluations of f are in one graph, rather than one after another.

    Attributes:
        reached: Indices of the tensors that have been given a gradient.
    """

    def __init__(self, captured: CapturedTensors, one_graph: bool = False) -> None:
        self.captured, self.tensors, self.one_graph = captured, captured.tensors, one_graph
        self.used: set[Edge] = set()
        self.reached: set[int] = set()
        self.indices = captured.independent(set())
        self.computed = any(x.grad_fn is not None for x in self.tensors)
        self.hooked = [x for x in self.tensors if x._backward_hooks or x.retains_grad]
        self.looks, self.oldest = 0, newest_node()

    def look(self, rates: Sequence[Tensor], ys: Sequence[Tensor]) -> None:
        """Check what an evaluation of f at ``ys`` has used.

        Raises:
            ValueError: as ``CapturedTensors``.
        """
        # A tensor that f keeps from its first evaluation on is seen at the second.
        used = self.captured.check(rates, ys, self.oldest if self.looks < 2 else 0)
        if self.computed:
            self.used = self.used | used if self.one_graph else used
            self.indices = self.captured.independent(self.used)
        if self.looks < 2:
            self.looks, self.oldest = self.looks + 1, newest_node()

    def __call__(
        self,
        outputs: Sequence[Tensor],
        ys: Sequence[Tensor],
        cotangents: Sequence[Tensor],
        *,
        tensors: bool = True,
        create_graph: bool = False,
        once: bool = False,
    ) -> tuple[list[Tensor | None], list[Tensor | None]]:
        """sum <cotangents, d outputs / d .> for ``ys`` and, where asked for, for each captured
        tensor; None where there is no dependence. ``once``: the graph is compiled, and allows one
        backward pass.

        Raises:
            ValueError: if f keeps a graph between evaluations that cannot be used twice.
        """
        indices = self.indices if tensors else []
        keep = create_graph or self.captured.shared_graph or (self.looks < 2 and not once)
        with self._without_hooks():
            try:
                found = torch.autograd.grad(
                    outputs,
                    [*ys, *(self.tensors[i] for i in indices)],
                    cotangents,
                    retain_graph=keep,
                    create_graph=create_graph,
                    allow_unused=True,
                )
            except RuntimeError as error:
                if "second time" not in str(error):
                    raise
                raise ValueError(
                    "f uses a tensor that an earlier evaluation has computed with a graph, which "
                    "is gone: compute it before the solve and name it in params=, or use "
                    "gradient=Direct()"
                ) from error
        gradients: list[Tensor | None] = [None] * len(self.tensors)
        for i, gradient in zip(indices, found[len(ys) :], strict=True):
            gradients[i] = gradient
            if gradient is not None:
                self.reached.add(i)
        return list(found[: len(ys)]), gradients

    def totals(self, totals: Sequence[Tensor | None], zeros: bool = False) -> list[Tensor | None]:
        """Sums of gradients in their tensors' dtypes; None for a tensor that requires none, or,
        unless ``zeros`` is asked for, that has been given none.
        """
        return [
            None
            if not x.requires_grad or (total is None and not zeros)
            else torch.zeros_like(x)
            if total is None
            else total.to(x.dtype)
            for total, x in zip(totals, self.tensors, strict=True)
        ]

    def check_reached(self) -> None:
        """Check that what f used at the start of the solve has been given a gradient there.

        Raises:
            ValueError: if it has not, so that f is not what it was.
        """
        reached = [self.tensors[i] for i in self.reached]
        for i, x in enumerate(self.tensors):
            if i not in self.reached and self.captured.misses(x, reached):
                raise ValueError(
                    f"f used a tensor of shape {tuple(x.shape)} in the solve and does not on the "
                    "way back, so its gradient would be lost: take the gradient while f is as it "
                    "was, or use gradient=Direct()"
                )

    def _without_hooks(self) -> AbstractContextManager:
        return _without_hooks(self.hooked) if self.hooked else nullcontext()


@contextmanager
def _without_hooks(tensors: Sequence[Tensor]) -> Iterator[None]:
    """Tensors whose hooks do not run, and whose ``retain_grad`` does not see what is computed."""
    hooks = [dict(x._backward_hooks or ()) for x in tensors]
    retained = [x.grad if x.retains_grad else None for x in tensors]
    try:
        for x in tensors:
            if x._backward_hooks:
                x._backward_hooks.clear()
        yield
    finally:
        for x, its_hooks, gradient in zip(tensors, hooks, retained, strict=True):
            if its_hooks and x._backward_hooks is not None:
                x._backward_hooks.update(its_hooks)
            if x.retains_grad:
                x.grad = gradient
