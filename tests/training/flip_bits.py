"""Single bits of a checkpoint are changed, and each is noticed.

    .venv/bin/python tests/training/flip_bits.py 10000

makes a small checkpoint, changes that many bits of it, one at a time, and prints how many were
refused, made no difference, were loaded as other numbers, or ended in another exception than
CheckpointError. The exit code is 0 if there are none of the last two.
"""

from __future__ import annotations

import random
import sys
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import nn

from node_runner.training import CheckpointError, load_checkpoint, save_checkpoint
from node_runner.training.state import TrainingState


def checkpoint(path: Path) -> dict:
    """A state after a step of Adam, as a run writes it. Returns what is loaded again."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(5, 16), nn.Tanh(), nn.Linear(16, 5))
    optimizer = torch.optim.Adam(net.parameters())
    state = TrainingState.begin(net, optimizer, ema_decay=0.9)
    net(torch.randn(3, 5)).square().sum().backward()
    optimizer.step()
    save_checkpoint(path, state.state_dict())
    return load_checkpoint(path)


def same(one: object, two: object) -> bool:
    """Equal to the last bit, in structure and dtype too."""
    if type(one) is not type(two):
        return False
    if isinstance(one, torch.Tensor):
        return one.dtype == two.dtype and torch.equal(one, two)
    if isinstance(one, dict):
        return list(one) == list(two) and all(same(one[key], two[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(two) and all(map(same, one, two))
    return one == two


def flip(count: int, seed: int, folder: Path) -> Counter:
    """What came of ``count`` changed bits."""
    good, path, found = checkpoint(folder / "good.pt"), folder / "flipped.pt", Counter()
    content, draw = (folder / "good.pt").read_bytes(), random.Random(seed)
    for _ in range(count):
        changed = bytearray(content)
        changed[draw.randrange(len(changed))] ^= 1 << draw.randrange(8)
        path.write_bytes(changed)
        try:
            found["no difference" if same(load_checkpoint(path), good) else "other numbers"] += 1
        except CheckpointError:
            found["refused"] += 1
        except Exception as error:
            found[f"another exception: {type(error).__name__}"] += 1
    return found


if __name__ == "__main__":
    with TemporaryDirectory() as made:
        counts = flip(int(sys.argv[1]), seed=1, folder=Path(made))
    print(dict(counts))
    sys.exit(any(what not in ("refused", "no difference") for what in counts))
