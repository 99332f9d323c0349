"""No gradient is dropped silently: what f's graph reaches must be known to the strategy."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor
from torch.autograd.graph import get_gradient_edge

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
    # Edges of the graph, not tensors: a saved-tensor hook hands back another object for the same
    # leaf, and the two halves of a split are outputs of one node.
    stops = {get_gradient_edge(tensor)[:2] for tensor in known if tensor.requires_grad}
    pending = [get_gradient_edge(result)[:2] for result in results if result.requires_grad]
    seen = set(pending)
    while pending:
        edge = pending.pop()
        if edge in stops:
            continue
        leaf = getattr(edge[0], "variable", None)
        if leaf is not None:
            raise ValueError(
                f"f uses a tensor of shape {tuple(leaf.shape)} that requires a gradient and is "
                "neither in y0 nor in the parameters, so its gradient would be lost: make f an "
                "nn.Module that owns it, name it in params=, or use gradient=direct"
            )
        for following in edge[0].next_functions:
            if following[0] is not None and following not in seen:
                seen.add(following)
                pending.append(following)


def add(totals: list[Tensor | None], more: Sequence[Tensor | None], factor: float = 1.0) -> None:
    """totals += factor * more, entry by entry; None stands for zero."""
    for i, tensor in enumerate(more):
        if tensor is not None:
            totals[i] = (
                tensor * factor if totals[i] is None else totals[i].add_(tensor, alpha=factor)
            )
