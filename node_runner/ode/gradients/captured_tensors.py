"""Tensors that f captures: every one that requires a gradient gets it, or the solve is refused."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import Node
from torch.utils._python_dispatch import TorchDispatchMode

from ..problem import Problem
from ..rhs import Rhs
from ..state import RightSide
from ..transforms import refuse_functorch, refuse_tangents
from .snapshot import TensorSnapshot

# An edge of the graph stands for a tensor: a saved-tensor hook hands back another object for the
# same leaf, and the two halves of a split are outputs of one node.
Edge = tuple[Node, int]
_HALVES = (torch.float16, torch.bfloat16)


class CapturedTensors:
    """The tensors that gradients are computed for besides y0.

    These are ``params``, and whatever else f's first evaluation finds to have been computed with a
    graph before the solve (the output of a hypernetwork, an encoding): as inputs of the solve's
    node in the graph they pass their gradient on to what they were computed from. A leaf that is
    not in ``params`` is refused.

    Args:
        rhs: f.
        params: Tensors named by the caller.
        start: Entries of y0, which f may use as well.
        strict: If False, what is not computed from ``params`` or y0 is a constant.

    Attributes:
        tensors: All that a gradient is returned for, ``params`` first.
        used: Edges of those that the first evaluation of f has used.
        shared_graph: Whether f's graph has a part that outlives an evaluation, so that a
            backward pass must not free it.
    """

    def __init__(
        self, rhs: Rhs, params: Sequence[Tensor], start: Sequence[Tensor] = (), strict: bool = True
    ) -> None:
        self.rhs, self.strict = rhs, strict
        self.tensors = list(params)
        self.edges = {_edge(p): p for p in params if p.requires_grad}
        self.start = {_edge(y): y for y in start if y.requires_grad}
        self.ancestors: dict[Edge, set[Edge]] = {}
        self.used: set[Edge] = set()
        self.shared_graph = False
        self.snapshot: TensorSnapshot | None = None

    def find(
        self, rates: Sequence[Tensor], y: Tensor, oldest: int, again: Callable[[], object]
    ) -> None:
        """Look at the graph of the first evaluation.

        Args:
            rates: The result of f.
            y: The state that f was given.
            oldest: Sequence number of the graph before that evaluation: nodes below are older.
            again: Evaluates f once more.

        Raises:
            ValueError: if f uses a leaf that is not known, or both a tensor and another that it is
                computed from.
        """
        self.used, leaves, before = self._walk(_edges(rates), [y], oldest)
        if before:
            seen = _tensors_of(before, again)
            for edge in before & seen.keys():
                if self.strict or edge in self.start or self._ancestors(edge, seen[edge]):
                    self._add(edge, seen[edge])
            constants = set() if self.strict else seen.keys() - self.edges.keys()
            # What no operation of f has shown is looked at down to its leaves.
            used, others, _ = self._walk(before - constants, [y])
            self.used |= used
            leaves |= others
        for edge in leaves & self.start.keys():
            self._add(edge, self.start[edge])
        self._refuse(leaves - self.edges.keys())
        self.independent(self.used)

    def check(self, rates: Sequence[Tensor], ys: Sequence[Tensor], oldest: int = 0) -> set[Edge]:
        """Look at a later evaluation, and return the edges that it has used.

        Raises:
            ValueError: if f uses a leaf that is not known.
        """
        used, leaves, before = self._walk(_edges(rates), ys, oldest)
        if before:
            self.shared_graph = True
            more, others, _ = self._walk(before, ys)
            used, leaves = used | more, leaves | others
        self._refuse(leaves)
        return used

    def independent(self, used: set[Edge]) -> list[int]:
        """Indices of the tensors whose gradient is taken where f has used ``used``: all that
        require one, except what a used one is computed from, which gets its gradient from that.

        Raises:
            ValueError: if f has used both.
        """
        hidden: set[Edge] = set()
        for edge in used:
            above = self._ancestors(edge, self.edges[edge])
            if above & used:
                raise ValueError(
                    f"f uses a tensor of shape {tuple(self.edges[edge].shape)} and another that it "
                    "is computed from, whose gradient would count twice: let f compute the first "
                    "from it, or use gradient=Direct()"
                )
            hidden |= above
        return [
            i
            for i, x in enumerate(self.tensors)
            if x.requires_grad and not (hidden and _edge(x) in hidden)
        ]

    def misses(self, tensor: Tensor, others: Sequence[Tensor]) -> bool:
        """Whether the first evaluation of f has used the tensor, and none of ``others`` is what it
        is computed from: f may compute it anew.
        """
        if not tensor.requires_grad or _edge(tensor) not in self.used:
            return False
        return not self._ancestors(_edge(tensor), tensor) & _edges(others)

    def _ancestors(self, edge: Edge, tensor: Tensor) -> set[Edge]:
        """Edges of the known tensors that a tensor is computed from."""
        if tensor.grad_fn is None:
            return set()
        if edge not in self.ancestors:
            known = self.edges.keys() | self.start.keys()
            self.ancestors[edge] = _walk(set(_next(edge[0])), known)[0]
        return self.ancestors[edge]

    def _add(self, edge: Edge, tensor: Tensor) -> None:
        if edge not in self.edges:
            self.tensors.append(tensor)
            self.edges[edge] = tensor
            self.ancestors.clear()
        self.used.add(edge)

    def _walk(
        self, edges: set[Edge], ys: Sequence[Tensor], oldest: int = 0
    ) -> tuple[set[Edge], set[Edge], set[Edge]]:
        """Walk down to the known tensors, leaves and nodes older than ``oldest``."""
        given = _edges([*ys, *self._times()])
        used, leaves, before = _walk(edges - given, self.edges, oldest, given)
        return used, leaves, before

    def _times(self) -> list[Tensor]:
        """The t that f was given; f may have marked it."""
        times = (self.rhs.time, getattr(self.rhs.f, "converted_time", None))
        return [t for t in times if t is not None]

    def _refuse(self, leaves: set[Edge]) -> None:
        if not self.strict:
            return
        for node, _ in leaves:
            shape = tuple(getattr(node, "variable").shape)  # noqa: B009
            raise ValueError(
                f"f uses a tensor of shape {shape} that requires a gradient "
                "and is neither in y0 nor in the parameters, so its gradient would be lost: make f "
                "an nn.Module that owns it, name it in params=, or use gradient=Direct()"
            )


def solve_without_graph(
    name: str, problem: Problem, integrate: Callable[[Problem], Tensor], strict: bool = True
) -> tuple[list[Tensor], CapturedTensors]:
    """The outputs, in a list so that a node of the graph may return them as its own, and what f
    captures.

    Args:
        name: The gradient strategy, for messages.
        problem: The problem.
        integrate: SolverProtocol a problem.
        strict: See ``CapturedTensors``.

    Raises:
        ValueError: as ``CapturedTensors``.
        NotImplementedError: inside a transform of torch.func, or where a forward-mode derivative
            would be lost.
    """
    refuse_functorch(name)
    refuse_tangents(name, problem.y0)
    rhs = problem.rhs
    if rhs.captured is None:
        rhs.captured = CapturedTensors(rhs, problem.params, problem.given, strict)
    captured = rhs.captured

    def wrap_rhs(f: RightSide, params: Sequence[Tensor]) -> CapturedTensorCheck:
        return CapturedTensorCheck(captured, f, name)

    with torch.no_grad():
        outputs = integrate(replace(problem, y0=problem.y0.detach(), wrap_rhs=wrap_rhs))
    refuse_tangents(name, outputs)
    captured.snapshot = TensorSnapshot(rhs.f)
    return [outputs], captured


class CapturedTensorCheck:
    """f, whose first evaluation is looked at with its graph: a solve is refused before any work,
    and also where no gradient would come back through it.
    """

    def __init__(self, captured: CapturedTensors, f: RightSide, name: str) -> None:
        self.captured, self.f, self.name, self.looked = captured, f, name, False

    def __call__(self, stage: int | None, t: float, y: Tensor) -> list[Tensor]:
        if self.looked:
            return self.f(stage, t, y)
        self.looked = True
        with torch.enable_grad():
            y = y.detach().requires_grad_()
            oldest = newest_node()
            rates = self.f(stage, t, y)
            refuse_tangents(self.name, *rates)
            self.captured.find(rates, y, oldest, lambda: self.f(stage, t, y))
        return [rate.detach() for rate in rates]


def newest_node() -> int:
    """The sequence number that the next node of this thread's graph gets."""
    with torch.enable_grad():
        node: Any = torch.empty(0, requires_grad=True).view(0).grad_fn
        return node._sequence_nr()


class _Finder(TorchDispatchMode):
    """Collects the tensors of some edges that operations are called with."""

    def __init__(self, edges: set[Edge]) -> None:
        super().__init__()
        self.edges = edges
        self.found: dict[Edge, Tensor] = {}

    def __torch_dispatch__(
        self, func: Callable, types: object, args: tuple = (), kwargs: dict | None = None
    ) -> object:
        self._look(args)
        if kwargs:
            self._look(kwargs.values())
        return func(*args, **(kwargs or {}))

    def _look(self, values: Iterable[object]) -> None:
        for value in values:
            if isinstance(value, (list, tuple)):
                self._look(value)
            elif isinstance(value, Tensor) and value.grad_fn is not None:
                edge = _edge(value)
                if edge in self.edges:
                    self.found[edge] = value


def _tensors_of(edges: set[Edge], evaluate: Callable[[], object]) -> dict[Edge, Tensor]:
    """The tensors behind ``edges`` that an evaluation of f uses, as far as its operations show."""
    with torch.compiler.set_stance("force_eager"), _Finder(edges) as finder:
        evaluate()
    return finder.found


def _edge(tensor: Tensor) -> Edge:
    return torch.autograd.graph.get_gradient_edge(tensor)[:2]


def _edges(tensors: Iterable[Tensor]) -> set[Edge]:
    return {_edge(tensor) for tensor in tensors if tensor.requires_grad}


def _next(node: Node) -> list[Edge]:
    return [(following, i) for following, i in node.next_functions if following is not None]


def _walk(
    start: set[Edge], stops: Collection[Edge], oldest: int = 0, given: Collection[Edge] = ()
) -> tuple[set[Edge], set[Edge], set[Edge]]:
    """Where the graph behind ``start`` ends: those of ``stops`` that it meets, other leaves, and
    the first nodes of each path with a sequence number below ``oldest``. ``given`` end a path
    without a word.
    """
    met, leaves, before = set(), set(), set()
    pending, seen = list(start), {*start, *given}
    while pending:
        edge = pending.pop()
        node = edge[0]
        if edge in stops:
            met.add(edge)
        elif hasattr(node, "variable"):
            leaves.add(edge)
        elif oldest and node._sequence_nr() < oldest:
            before.add(edge)
        else:
            for following in _next(node):
                if following not in seen:
                    seen.add(following)
                    pending.append(following)
    return met, leaves, before


def add(totals: list[Tensor | None], more: Sequence[Tensor | None], factor: float = 1.0) -> None:
    """totals += factor * more, entry by entry; None stands for zero. Half precision is summed in
    float32: many small terms would be lost against a large total.
    """
    for i, tensor in enumerate(more):
        if tensor is not None:
            if tensor.dtype in _HALVES:
                tensor = tensor.float()
            total = totals[i]
            totals[i] = tensor * factor if total is None else total.add_(tensor, alpha=factor)
