"""No gradient is dropped silently: what f's graph reaches must be known to the strategy."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from torch import Tensor


def refuse_unknown_leaves(results: Iterable[Tensor], known: Sequence[Tensor]) -> None:
    """Walk the graph behind ``results`` down to its leaves.

    Raises:
        ValueError: if it ends in a tensor that requires a gradient and is none of ``known``,
            because the caller would compute no gradient for it.
    """
    leaves = {id(tensor) for tensor in known if tensor.is_leaf}
    stops = {tensor.grad_fn for tensor in known if not tensor.is_leaf}
    pending = [result.grad_fn for result in results if result.grad_fn is not None]
    seen = set(pending)
    while pending:
        node = pending.pop()
        if node in stops:
            continue
        leaf = getattr(node, "variable", None)
        if leaf is not None and id(leaf) not in leaves:
            raise ValueError(
                f"f uses a tensor of shape {tuple(leaf.shape)} that requires a gradient and is "
                "neither in y0 nor in "
                "the parameters, so its gradient would be lost: make f an nn.Module that owns it, "
                "name it in params=, "
                "or use gradient=direct"
            )
        for following, _ in node.next_functions:
            if following is not None and following not in seen:
                seen.add(following)
                pending.append(following)


def add(totals: list[Tensor | None], more: Sequence[Tensor | None], factor: float = 1.0) -> None:
    """totals += factor * more, entry by entry; None stands for zero."""
    for i, tensor in enumerate(more):
        if tensor is not None:
            totals[i] = (
                tensor * factor if totals[i] is None else totals[i].add_(tensor, alpha=factor)
            )
