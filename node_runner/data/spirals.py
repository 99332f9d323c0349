"""Spirals in the plane, observed at irregular times with noise (Chen et al. 2018, section 5.1)."""

from __future__ import annotations

from collections.abc import Sequence
from math import pi
from typing import Any

import torch
from torch import Tensor

from .randomness import stream
from .sampler import IndexedData, check_positive
from .series import Batch, Series, draw_subset, full, take

POINTS, END = 500, 6 * pi  # of a curve
WINDOW = 100  # points of a curve from which the observed ones are drawn


class Spirals(IndexedData):
    """Half of the spirals turn one way, r = 0.3 t around (5, 0), half the other, r = 15 / s around
    (-5, 0) with s = 6 pi + 1 - t, t in [0, 6 pi]. Each series is a window of 100 of a curve's 500
    evenly spaced points; its times count from the window's start, so that where on the curve it
    lies is for the model to find out. ``observed`` of the points, drawn once without replacement,
    carry noise; test and validation ask for the curve without it, in the window and at the next
    100 points.

    The curves, noise and windows are those of the authors' released example; the paper states
    none of them. The example observes all 100 points (``data=spirals_released``).

    Args:
        observed: points of the 100 that the model is told.
        noise: standard deviation.
        start: first and last (exclusive) of the points at which a window may begin; from 301 on the
            points beyond it are fewer than 100, the curve being at its end.
        train_size, validation_size, test_size: series.
        batch_size: of training; as large as ``train_size``, every step sees all.
        evaluation_size: batch size of evaluation.

    Raises:
        ValueError: for a value out of range.
    """

    name, part, shape = "spirals", "generated", (2,)

    def __init__(
        self,
        seed: int,
        device: torch.device,
        observed: int = 30,
        noise: float = 0.3,
        start: Sequence[int] = (0, 200),
        train_size: int = 1000,
        validation_size: int = 200,
        test_size: int = 1000,
        batch_size: int = 1000,
        evaluation_size: int = 1000,
    ) -> None:
        if not 1 <= observed <= WINDOW:
            raise ValueError(f"observed is {observed}, must be from 1 to {WINDOW}")
        if noise < 0:
            raise ValueError(f"noise is {noise}, must not be negative")
        if len(start) != 2 or not 0 <= start[0] < start[1] <= POINTS - WINDOW:
            raise ValueError(
                f"start is {list(start)}, must be two increasing numbers from 0 to "
                f"{POINTS - WINDOW}"
            )
        sizes = {"train": train_size, "validation": validation_size, "test": test_size}
        check_positive(**{f"{split}_size": size for split, size in sizes.items()})
        super().__init__(seed, device, sizes, batch_size, evaluation_size)
        self.observed, self.noise, self.start = observed, noise, start
        self.splits = {
            split: self.draw(size, stream(device, seed, split)) for split, size in sizes.items()
        }

    def draw(self, n: int, generator: torch.Generator) -> tuple[Series, Series, Series]:
        """What is observed of n series, the curve in the window, and beyond it."""
        device = generator.device
        kind: dict[str, Any] = {"generator": generator, "device": device}
        begin = torch.randint(self.start[0], self.start[1], (n,), **kind)
        clockwise = torch.rand(n, **kind) < 0.5
        index = begin[:, None] + torch.arange(2 * WINDOW, device=device)
        exists = index < POINTS
        index = index.clamp(max=POINTS - 1)
        points = curve(index * (END / (POINTS - 1)), clockwise[:, None])
        times = (index - begin[:, None]) * (END / (POINTS - 1))
        inside = full(times[:, :WINDOW], points[:, :WINDOW])
        mask = exists[:, WINDOW:, None].expand(-1, -1, 2)
        beyond = Series(times[:, WINDOW:], points[:, WINDOW:] * mask, mask)
        noisy = inside._replace(
            values=inside.values + self.noise * torch.randn(n, WINDOW, 2, **kind)
        )
        return take(noisy, draw_subset(WINDOW, self.observed, n, generator)), inside, beyond

    def batch(self, split: str, indices: Tensor, step: int = 0) -> Batch:
        """Return noisy observations, which are also the target in training; in evaluation the curve
        without noise inside and beyond their range.
        """
        observed, inside, beyond = (
            Series(*(values[indices] for values in series)) for series in self.splits[split]
        )
        return Batch(observed, observed) if split == "train" else Batch(observed, inside, beyond)


def curve(t: Tensor, clockwise: Tensor) -> Tensor:
    """Points (..., 2) of the two curves at t in [0, 6 pi]."""
    s = END + 1 - t
    outward = torch.stack((0.3 * t * t.cos() + 5, 0.3 * t * t.sin()), dim=-1)
    inward = torch.stack((15 / s * s.cos() - 5, 15 / s * s.sin()), dim=-1)
    return torch.where(clockwise[..., None], inward, outward)
