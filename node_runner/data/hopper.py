"""A simulated hopper, thrown and falling (Rubanova et al. 2019, section 4.2)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from .files import find, missing_file_error
from .irregular import SparseSeries, by_range, released_scaling
from .randomness import stream
from .sampler import IndexedData
from .scaling import scaling_of
from .series import Batch, draw_subset, full, take

SOURCE = "http://www.cs.toronto.edu/~rtqichen/datasets/HopperPhysics/training.pt"
SHAPE, WINDOW = (10_000, 200, 14), 100  # series, times, features; times of an interpolation
NAMES = tuple(f"feature {i}" for i in range(SHAPE[2]))
SEED = 42  # of the split, the same for every seed of a run


class Hopper(IndexedData):
    """Series of 14 features, seven positions and seven velocities, at 200 even times in [0, 1).

    To interpolate, ``observed`` (a share) of the times of a random window of 100 are what the model
    is told, drawn anew at each step of training, and the window what it is asked for. To
    extrapolate, it is told the first third and asked for the rest, as in the released code (the
    paper: half and half).

    A seeded fifth of the series is the test set, a tenth is for validation. Each feature is scaled
    to [0, 1] by its range in the training series; with ``released`` as in ``PhysioNet``.

    Args:
        root: folder that holds ``HopperPhysics/training.pt``, the released tensor.
        task: "interpolation" or "extrapolation".
        observed: share of the times that the model is told.
        released: scale as the released code.
        batch_size: of training; the last, smaller batch of an epoch is dropped.
        evaluation_size: batch size of evaluation.
        state: ``state_dict()`` of the run that is evaluated or resumed, whose scaling is then used.

    Raises:
        FileNotFoundError: saying what to place where.
        ValueError: for a value out of range and a file that holds something else.
    """

    name, shape = "hopper", (SHAPE[2],)

    def __init__(
        self,
        seed: int,
        device: torch.device,
        root: str = "data",
        task: Literal["interpolation", "extrapolation"] = "interpolation",
        observed: float = 0.1,
        released: bool = False,
        batch_size: int = 50,
        evaluation_size: int = 200,
        state: Mapping[str, Any] | None = None,
    ) -> None:
        if not 0 < observed <= 1:
            raise ValueError(f"observed is {observed}, must be above 0, at most 1 (a share)")
        x, path = load(Path(root))
        x = x[np.random.RandomState(SEED).permutation(len(x))]
        test, held_out = len(x) // 5, len(x) // 10
        if held_out < 1:
            raise ValueError(f"{path} holds {len(x)} series, must be at least 10")
        sizes = {"train": len(x) - test - held_out, "validation": held_out, "test": test}
        super().__init__(seed, device, sizes, batch_size, evaluation_size)
        self.task, self.observed = task, observed
        times = np.arange(x.shape[1]) / x.shape[1]
        scale = released_scaling if released else by_range
        series = [SparseSeries(times, one, np.ones(one.shape, bool)) for one in x]
        self.scaling = scaling_of(state) or scale(series, self.sizes["train"], NAMES, str(path))
        values = torch.from_numpy(self.scaling(x)).to(device, torch.float32)
        parts = values.split(list(self.sizes.values()))
        self.splits = dict(zip(self.sizes, parts, strict=True))
        self.times = torch.from_numpy(times).to(device, torch.float32)
        scaling = "as released" if released else "by training range"
        self.part = f"{'whole' if x.shape == SHAPE else f'{len(x)} series'}, scaled {scaling}"

    def batch(self, split: str, indices: Tensor, step: int) -> Batch:
        """Return what is observed of series, and the target, both drawn by split and step."""
        values = self.splits[split][indices]
        generator = stream(self.device, self.seed, split, step)
        known = len(self.times) // 3
        target = full(self.times[known:], values[:, known:])
        if self.task == "interpolation":
            known = WINDOW
            shape, device = (len(values), 1, 1), self.device
            shifts = len(self.times) - WINDOW + 1
            start = torch.randint(shifts, shape, generator=generator, device=device)
            index = start + torch.arange(WINDOW, device=device)[:, None]
            values = values.gather(1, index.expand(-1, -1, values.shape[2]))
            target = full(self.times[:WINDOW], values)
        count = max(1, round(self.observed * known))
        series = full(self.times[:known], values[:, :known])
        return Batch(take(series, draw_subset(known, count, len(values), generator)), target)


def load(root: Path) -> tuple[np.ndarray, Path]:
    """The series, (N, 200, 14), and the file they are from.

    Raises:
        FileNotFoundError, ValueError: as ``Hopper``.
    """
    folder = root / "HopperPhysics"
    path = find([folder, folder / "processed"], ("training.pt",))
    if path is None:
        raise missing_file_error(folder, "training.pt", SOURCE, root)
    try:
        x = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises anything, IndexError and nameless OSErrors too
        reason = str(error).partition("\n")[0]
        raise ValueError(f"{path} is no file of torch tensors ({reason})") from error
    if not isinstance(x, Tensor) or x.layout != torch.strided or x.is_complex():
        seen = f"{x.layout}, {x.dtype}" if isinstance(x, Tensor) else type(x).__name__
        raise ValueError(f"{path} holds {seen}, must be a tensor of real numbers")
    if x.shape[1:] != SHAPE[1:]:
        raise ValueError(f"{path} holds {list(x.shape)}, must be [N, {SHAPE[1]}, {SHAPE[2]}]")
    if not bool(x.isfinite().all()):
        i, t, j = (~x.isfinite()).nonzero()[0].tolist()
        raise ValueError(f"{path}: series {i}, time {t}, feature {j} is no finite number")
    return x.detach().double().numpy(), path
