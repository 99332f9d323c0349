"""A bound on the memory that the graph of a solve holds."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from math import inf, nan
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from torch import Tensor

from .errors import SolverError
from .transforms import transformed

SHARE = (
    0.5  # of what is free at the start; allocators lose a third of it, the backward pass needs some
)
# A step is measured when the solve has taken this long or so many steps: the walk through its graph
# takes about half the time of the step.
AFTER_SECONDS, AFTER_STEPS = 0.2, 64
BYTES_OF_A_NODE = 1000  # a guess at node and saved tensors themselves, which no count shows


class GraphMemory:
    """Counts accepted steps, and fails where their graphs exceed the bound.

    What one step holds is measured once, on two steps in a row: of the second, all that the first
    has not. Rejected steps leave nothing.

    Args:
        max_mib: bound in MiB; None for a share of what is free on the device at the start.
    """

    def __init__(self, max_mib: float | None = None) -> None:
        self.max_mib = max_mib
        self.steps, self.most = 0, inf
        self.started = perf_counter()
        self.seen: tuple[set, set] | None = None  # nodes, storages of the first step measured
        self.pending = True

    def count(self, y: Tensor, method: str, t: float, dt: float, rejected: int = 0) -> None:
        """Count the accepted step that ended at t with y.

        Raises:
            SolverError: if the graph exceeds the bound.
        """
        self.steps += 1
        if self.steps > self.most:
            self.fail(method, t, dt, rejected)
        if not self.pending:
            return
        if self.seen is not None:
            self.measure(y, *self.seen)
        elif self.steps >= AFTER_STEPS or perf_counter() - self.started > AFTER_SECONDS:
            if y.grad_fn is None or transformed():
                self.pending = False
                return
            nodes, storages = self.seen = set(), set()
            graph_bytes(y, nodes, storages)

    def measure(self, y: Tensor, nodes: set, storages: set[int]) -> None:
        """Find how many steps fit, from the one that ended with y."""
        self.step_bytes = graph_bytes(y, nodes, storages) or 1
        if self.max_mib is None:
            self.bound = SHARE * (free_bytes(y.device) + self.steps * self.step_bytes)
        else:
            self.bound = self.max_mib * 2**20
        self.most, self.pending, self.seen = self.bound / self.step_bytes, False, None

    def fail(self, method: str, t: float, dt: float, rejected: int) -> None:
        bound = f"{self.bound / 2**20:.4g} MiB"
        share = f", {SHARE:.0%} of what was free" if self.max_mib is None else ""
        raise SolverError(
            method=method,
            t=t,
            dt=dt,
            error_ratio=nan,
            component="no component: memory is at its end, not accuracy",
            steps=(self.steps, rejected),
            cause=f"the graph of {self.steps} steps, of {self.step_bytes / 2**20:.3g} MiB each, "
            f"exceeds max_mib of {bound}{share}",
            advice=(
                "gradient=replay (Replay()), which holds one state a step",
                "a smaller learning rate, a larger tolerance or a larger step_size, if so many "
                "steps are not meant",
            ),
        )


def graph_bytes(y: Tensor, nodes: set, storages: set[int]) -> int:
    """Bytes of the graph behind y that are in neither set, and are put there."""
    total, pending = 0, [y.grad_fn]
    while pending:
        node = pending.pop()
        if node is None or node in nodes:
            continue
        nodes.add(node)
        total += BYTES_OF_A_NODE
        for tensor in saved_tensors(node):
            try:
                storage = tensor.untyped_storage()
                pointer = storage.data_ptr()
            except RuntimeError:  # no storage: a zero of forward mode, a sparse tensor
                continue
            if pointer not in storages:
                storages.add(pointer)
                total += storage.nbytes()
        pending += [following for following, _ in node.next_functions]
    return total


def saved_tensors(node: Any) -> Iterator[Tensor]:
    """Tensors that a node of the graph has saved, whether it was written in C++ or in Python."""
    kind: Any = type(node)
    for name in saved_names(kind):
        try:
            value = getattr(node, name)
        except RuntimeError:  # freed, or overwritten since
            continue
        for item in value if isinstance(value, (tuple, list)) else (value,):
            if isinstance(item, Tensor):
                yield item


@cache
def saved_names(kind: Any) -> list[str]:
    return [name for name in dir(kind) if name.startswith("_saved_") or name == "saved_tensors"]


def free_bytes(device: torch.device) -> float:
    """Memory that is free on the device; infinite where it is not known."""
    if device.type == "cuda":
        free = torch.cuda.mem_get_info(device)[0]
        return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return min(free_of_machine(), free_of_group())


def free_of_machine() -> float:
    """Linux: proc(5)."""
    try:
        text = Path("/proc/meminfo").read_text()
        return int(text.partition("MemAvailable:")[2].split()[0]) * 1024
    except (OSError, IndexError, ValueError):
        return inf


def free_of_group() -> float:
    """Linux: what a container's limit leaves."""
    group = Path("/sys/fs/cgroup")
    try:
        most, used = ((group / name).read_text() for name in ("memory.max", "memory.current"))
        return int(most) - int(used)
    except (OSError, ValueError):  # none, or "max"
        return inf
