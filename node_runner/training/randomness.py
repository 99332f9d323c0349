"""Global random number generators: seeds and states of all of them."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy
import torch

__all__ = ["random_state", "seed_all", "set_random_state", "unchanged_randomness"]


def seed_all(seed: int) -> None:
    """Seed torch on every device, numpy and Python."""
    torch.manual_seed(seed)
    numpy.random.seed(seed % 2**32)
    random.seed(seed)


def random_state() -> dict[str, Any]:
    """Return the state of torch on every device, numpy and Python, as tensors and plain values."""
    of_numpy = numpy.random.get_state(legacy=False)
    key = torch.from_numpy(of_numpy["state"]["key"].astype("int64"))
    of_numpy["state"] = {**of_numpy["state"], "key": key}
    version, internal, gauss = random.getstate()
    state = {
        "torch": torch.get_rng_state(),
        "numpy": of_numpy,
        "python": [version, list(internal), gauss],
    }
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state_all()
    return state


def set_random_state(state: dict[str, Any]) -> None:
    """Restore what ``random_state`` returned, except for devices that are absent here."""
    torch.set_rng_state(state["torch"].cpu())
    key = state["numpy"]["state"]["key"].cpu().numpy().astype("uint32")
    numpy.random.set_state({**state["numpy"], "state": {**state["numpy"]["state"], "key": key}})
    version, internal, gauss = state["python"]
    random.setstate((version, tuple(internal), gauss))
    for device, of_cuda in enumerate(state.get("cuda", ())[: torch.cuda.device_count()]):
        torch.cuda.set_rng_state(of_cuda.cpu(), device)


@contextmanager
def unchanged_randomness(seed: int) -> Iterator[None]:
    """Seed all generators inside with ``seed``, and restore their states afterwards."""
    state = random_state()
    seed_all(seed)
    try:
        yield
    finally:
        set_random_state(state)
