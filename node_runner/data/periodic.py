"""Sines of unknown frequency and phase (Rubanova et al. 2019, section 4.1)."""

from __future__ import annotations

from math import pi
from typing import Any, Literal

import torch
from torch import Tensor

from .randomness import stream
from .sampler import IndexedData, check_positive
from .series import Batch, Series, draw_subset, full, take

END = 5.0
TASKS = ("interpolation", "extrapolation")


class Periodic(IndexedData):
    """y(t) = sin(2 pi w t + p) + c with w ~ U(0.4, 0.8), p ~ U(0, 2 pi), c ~ N(1, 0.1^2), one
    feature, at 100 times in [0, 5] that all series share: 0, and 99 drawn from U(0, 5).

    To interpolate, ``observed`` of the 100 points, drawn anew in each epoch of training, are what
    the model is told, and all 100 what it is asked for. To extrapolate, they are drawn from the
    points before 2.5; it is asked for those, and for what comes after, of which it learns nothing.

    The released code's noise is 0.01 U(0, 1), its mean included, and none at the first point; here
    it is normal, as the paper says, with deviation 0.01. Tests ask for the curve without it.

    Args:
        observed: points that the model is told.
        noise: standard deviation.
        task: "interpolation" or "extrapolation".
        train_size, validation_size, test_size: series.
        batch_size: of training.
        evaluation_size: batch size of evaluation.

    Raises:
        ValueError: for a value out of range.
    """

    name, part, shape = "periodic", "generated", (1,)

    def __init__(
        self,
        seed: int,
        device: torch.device,
        observed: int = 30,
        noise: float = 0.01,
        task: Literal["interpolation", "extrapolation"] = "interpolation",
        train_size: int = 800,
        validation_size: int = 100,
        test_size: int = 200,
        batch_size: int = 50,
        evaluation_size: int = 200,
    ) -> None:
        sizes = {"train": train_size, "validation": validation_size, "test": test_size}
        check_positive(**{f"{split}_size": size for split, size in sizes.items()})
        if noise < 0:
            raise ValueError(f"noise is {noise}, must not be negative")
        if task not in TASKS:
            raise ValueError(f"task is {task!r}; choose from {', '.join(TASKS)}")
        super().__init__(seed, device, sizes, batch_size, evaluation_size)
        self.count = observed
        times = END * torch.rand(99, generator=stream(device, seed, "times"), device=device)
        self.times = torch.cat((times.new_zeros(1), times.sort().values))
        self.inside = len(self.times)  # points of which the observed are drawn
        if task == "extrapolation":
            self.inside = int((self.times < END / 2).sum())
        if not 1 <= observed <= self.inside:
            raise ValueError(f"observed is {observed}, must be from 1 to {self.inside}")
        self.splits = {split: self.draw(n, noise, split) for split, n in sizes.items()}
        self.observed = {
            split: self.observations(self.splits[split][0], split)
            for split in ("validation", "test")
        }

    def draw(self, n: int, noise: float, split: str) -> tuple[Tensor, Tensor]:
        """Noisy values and the curve, (n, 100, 1) each."""
        generator = stream(self.device, self.seed, split)
        kind: dict[str, Any] = {"generator": generator, "device": self.device}
        frequency = 0.4 + 0.4 * torch.rand(n, 1, **kind)
        phase = 2 * pi * torch.rand(n, 1, **kind)
        offset = 1 + 0.1 * torch.randn(n, 1, **kind)
        y = ((2 * pi * frequency * self.times + phase).sin() + offset)[:, :, None]
        return y + noise * torch.randn(y.shape, **kind), y

    def observations(self, noisy: Tensor, *name: object) -> Series:
        """Draw the observed points of series (B, 100, 1), without replacement."""
        generator = stream(self.device, self.seed, *name)
        indices = draw_subset(self.inside, self.count, len(noisy), generator)
        return take(full(self.times, noisy), indices)

    def batch(self, split: str, indices: Tensor, step: int) -> Batch:
        """Return some of the points; in training all points up to the end of what may be observed,
        noisy; in evaluation the curve without noise.
        """
        n, (noisy, curve) = self.inside, (values[indices] for values in self.splits[split])
        if split == "train":
            observed = self.observations(noisy, "observed", step)
            return Batch(observed, full(self.times[:n], noisy[:, :n]))
        observed = Series(*(values[indices] for values in self.observed[split]))
        later = full(self.times[n:], curve[:, n:]) if n < len(self.times) else None
        return Batch(observed, full(self.times[:n], curve[:, :n]), later)
