"""No gradient is dropped silently: what f's graph reaches must be known to the strategy."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor
from torch.autograd.graph import Node, get_gradient_edge

from ..state import RightSide


class LeafGuard:
    """f, whose first evaluation is looked at with its graph: so a solve is refused before any work,
    and also where no gradient would come back through it. Costs no further evaluation.
    """

    def __init__(self, f: RightSide, known: Sequence[Tensor]) -> None:
        self.f, self.known, self.looked = f, known, False

    def __call__(self, stage: int | None, t: float, y: Tensor) -> list[Tensor]:
        if self.looked:
            return self.f(stage, t, y)
        self.looked = True
        with torch.enable_grad():
            y = y.detach().requires_grad_()
            rates = self.f(stage, t, y)
            refuse_unknown_leaves(rates, [y, *self.known])
        return [rate.detach() for rate in rates]


def refuse_unknown_leaves(results: Iterable[Tensor], known: Sequence[Tensor]) -> None:
    """Walk the graph behind ``results`` down to its leaves.

    Raises:
        ValueError: if it ends in a tensor that requires a gradient and is none of ``known``,
            because the caller would compute no gradient for it.
    """
    stops = edges(known)
    for edge in ends(edges(results), stops):
        if edge not in stops:
            shape = tuple(edge[0].variable.shape)
            raise ValueError(
                f"f uses a tensor of shape {shape} that requires a gradient and is neither in y0 "
                "nor in the parameters, so its gradient would be lost: make f an nn.Module that "
                "owns it, name it in params=, or use gradient=direct"
            )


def refuse_nested(params: Sequence[Tensor]) -> None:
    """Walk the graph behind those of ``params`` that have one.

    Raises:
        ValueError: if one is computed from another, whose gradient would hold the way through it a
            second time.
    """
    stops = edges(params)
    for param in params:
        if param.grad_fn is not None:
            for edge in ends(set(next_edges(param.grad_fn)), stops):
                if edge in stops:
                    raise ValueError(
                        f"params names a tensor of shape {tuple(param.shape)} and another that it "
                        "is computed from, whose gradient would count twice: let f compute "
                        "the first from it, or use gradient=direct"
                    )


# Edges of the graph, not tensors: a saved-tensor hook hands back another object for the same leaf,
# and the two halves of a split are outputs of one node.
Edge = tuple[Node, int]


def edges(tensors: Iterable[Tensor]) -> set[Edge]:
    return {get_gradient_edge(tensor)[:2] for tensor in tensors if tensor.requires_grad}


def next_edges(node: Node) -> list[Edge]:
    return [edge for edge in node.next_functions if edge[0] is not None]


def ends(start: set[Edge], stops: set[Edge]) -> Iterator[Edge]:
    """Where the graph behind ``start`` ends: those of ``stops`` that it comes to, and leaves."""
    pending, seen = list(start), set(start)
    while pending:
        edge = pending.pop()
        if edge in stops or hasattr(edge[0], "variable"):
            yield edge
            continue
        for following in next_edges(edge[0]):
            if following not in seen:
                seen.add(following)
                pending.append(following)


def add(totals: list[Tensor | None], more: Sequence[Tensor | None], factor: float = 1.0) -> None:
    """totals += factor * more, entry by entry; None stands for zero."""
    for i, tensor in enumerate(more):
        if tensor is not None:
            totals[i] = (
                tensor * factor if totals[i] is None else totals[i].add_(tensor, alpha=factor)
            )
