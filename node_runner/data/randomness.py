"""Random streams named by their purpose."""

from __future__ import annotations

import random

import torch

__all__ = ["stream"]


def stream(device: torch.device, *name: object) -> torch.Generator:
    """Return a generator seeded by its name, such as (seed, "train", step).

    Any batch can be drawn again without drawing those before it, whatever else has used the global
    generators.
    """
    key = "/".join(str(part) for part in name)
    return torch.Generator(device).manual_seed(random.Random(key).getrandbits(63))
