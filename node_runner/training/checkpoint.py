"""Checkpoints that are either whole or absent."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write ``state`` beside ``path`` and move it there: a crash leaves the old file as it was."""
    partial = path.with_name(path.name + ".partial")
    with open(partial, "wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)


def load_checkpoint(path: Path, device: torch.device | None = None) -> dict[str, Any]:
    """What ``save_checkpoint`` wrote; tensors and plain values only, no code is run."""
    return torch.load(path, map_location=device, weights_only=True)
