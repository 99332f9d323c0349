"""Random streams named by what they are for."""

from __future__ import annotations

import random

import torch


def stream(device: torch.device, *name: object) -> torch.Generator:
    """A generator seeded by its name, such as (seed, "train", step): any batch can be drawn again
    without drawing those before it, whatever else has used the global generators.
    """
    key = "/".join(str(part) for part in name)
    return torch.Generator(device).manual_seed(random.Random(key).getrandbits(63))
