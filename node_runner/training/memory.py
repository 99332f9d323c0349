"""Memory that a training step uses."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

__all__ = ["peak_mib", "reset_peak", "saved_bytes"]


def saved_bytes(loss: Tensor) -> int:
    """Return the bytes that the graph of ``loss`` keeps for its backward pass, parameters excluded.

    Walks the graph rather than using saved-tensor hooks, which torch.func does not support. Each
    storage counts once; tensors without a dense storage count as nothing.
    """
    storages: dict[int, int] = {}
    parameters: set[int] = set()
    pending, seen = [loss.grad_fn], {loss.grad_fn}
    while pending:
        node = pending.pop()
        leaf = getattr(node, "variable", None)
        if leaf is not None:
            parameters.add(leaf.untyped_storage().data_ptr())
        for tensor in _saved_tensors(node):
            try:
                storage = tensor.untyped_storage()
                storages[storage.data_ptr()] = storage.nbytes()
            except RuntimeError:  # no storage: a zero of forward mode, a sparse tensor
                continue
        for following, _ in getattr(node, "next_functions", ()):
            if following is not None and following not in seen:
                seen.add(following)
                pending.append(following)
    return sum(size for pointer, size in storages.items() if pointer not in parameters)


def _saved_tensors(node: object) -> Iterator[Tensor]:
    """Yield the tensors that a node of the graph, written in C++ or in Python, has saved."""
    found = [getattr(node, name) for name in dir(node) if name.startswith("_saved_")]
    found.append(getattr(node, "saved_tensors", ()))
    for value in found:
        for item in value if isinstance(value, (tuple, list)) else (value,):
            if isinstance(item, Tensor):
                yield item


def reset_peak(device: torch.device) -> None:
    """Reset the peak memory, which otherwise includes earlier runs of the same process."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return
    try:
        Path("/proc/self/clear_refs").write_text("5")  # Linux: proc(5)
    except OSError:
        pass  # elsewhere the peak is that of the process


def peak_mib(device: torch.device) -> float:
    """Return the peak memory in MiB: of the accelerator since the start, else of this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    try:
        status = Path("/proc/self/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) / 2**10
    except (OSError, IndexError, ValueError):
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak / (2**20 if sys.platform == "darwin" else 2**10)
