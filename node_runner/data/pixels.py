"""Images as integers for density models, held on the device as bytes. The model adds the noise that
makes them continuous.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from .order import Order
from .randomness import stream


class Split(NamedTuple):
    """The first images of a source.

    Attributes:
        images: bytes, (N, C, H, W).
        whole: how many images the source has.
        source: what it is, where it is itself a part.
    """

    images: np.ndarray
    whole: int
    source: str = ""

    def first(self, size: int | None, option: str) -> Split:
        """So many of them; all if None.

        Raises:
            ValueError: naming the option, if there are fewer.
        """
        n = len(self.images)
        if size is not None and not 1 <= size <= n:
            raise ValueError(f"{option} is {size}, must be 1 to {n}")
        return self._replace(images=self.images[:size])

    def part(self, kind: str) -> str:
        """What of the ``kind`` images this is, in words."""
        n = len(self.images)
        if n == self.whole:
            return self.source or f"all {kind} images"
        return f"first {n} {f'images of {self.source}' if self.source else f'{kind} images'}"


class Splits(NamedTuple):
    """Images of one shape. ``validation``: (N, C, H, W), of a set that has its own."""

    train: Split
    test: Split
    validation: np.ndarray | None = None


class Pixels:
    """Images of shape (C, H, W), pixels from 0 to 2^bits - 1.

    Args:
        load: gives the images; called once the options are known to be good.
        batch_size: of training; the last, smaller batch of an epoch is dropped.
        evaluation_size: batch size of evaluation.
        bits: of a pixel; if fewer than 8, a byte x becomes floor(x / 2^(8 - bits)) (Kingma and
            Dhariwal 2018, Glow).
        flips: training images are mirrored left to right with probability 1/2.
        held_out: training images kept for validation, the last ones.
        train_size, test_size: use only the first so many; all if None.

    Raises:
        ValueError: for sizes out of range and for another bit depth.
    """

    def __init__(
        self,
        name: str,
        load: Callable[[], Splits],
        seed: int,
        device: torch.device,
        batch_size: int,
        evaluation_size: int,
        bits: int,
        flips: bool,
        held_out: int,
        train_size: int | None,
        test_size: int | None,
    ) -> None:
        if not 1 <= bits <= 8:
            raise ValueError(f"data.bits is {bits}, wrong bit depth: must be 1 to 8")
        if evaluation_size < 1:
            raise ValueError(f"data.evaluation_size is {evaluation_size}, must be at least 1")
        splits = load()
        train = splits.train.first(train_size, "data.train_size")
        test = splits.test.first(test_size, "data.test_size")
        kept = remaining(len(train.images), held_out, splits.validation is not None)
        self.order = Order(seed, kept, batch_size, device)
        self.name, self.seed, self.device, self.bits = name, seed, device, bits
        self.evaluation_size, self.flips = evaluation_size, flips
        parts = (train.part("training"), test.part("test"))
        everything = ("all training images", "all test images")
        self.part = "whole" if parts == everything else "; ".join(parts)
        images = quantised(train.images, bits).to(device)
        own = splits.validation
        self.splits = {
            "train": images[:kept],
            "validation": images[kept:] if own is None else quantised(own, bits).to(device),
            "test": quantised(test.images, bits).to(device),
        }
        self.sizes = {split: len(some) for split, some in self.splits.items()}
        self.shape = tuple(images.shape[1:])
        self.steps_per_epoch = self.order.steps_per_epoch

    def train_batch(self, step: int) -> Tensor:
        """Bytes (batch_size, C, H, W), a function of the seed and the step alone."""
        images = self.splits["train"][self.order.batch(step)]
        if not self.flips:
            return images
        generator = stream(self.device, self.seed, "flip", step)
        mirrored = torch.rand(len(images), 1, 1, 1, generator=generator, device=self.device) < 0.5
        return torch.where(mirrored, images.flip(3), images)

    def batches(self, split: str) -> Iterator[Tensor]:
        """ "validation" or "test" in order, none of them mirrored."""
        if self.sizes[split]:  # to split nothing would give one empty batch
            yield from self.splits[split].split(self.evaluation_size)


def remaining(size: int, held_out: int, has_own: bool) -> int:
    """Images left to train on.

    Args:
        has_own: whether the set has images for validation besides.

    Raises:
        ValueError: if there are none left, or none need to be held out.
    """
    if has_own and held_out:
        raise ValueError(
            f"data.held_out is {held_out}, must be 0: this set has its own validation images"
        )
    if not 0 <= held_out < size:
        raise ValueError(f"data.held_out is {held_out}, must be 0 to {size - 1}")
    return size - held_out


def quantised(images: np.ndarray, bits: int) -> Tensor:
    """Bytes (N, C, H, W) to their leading bits, in memory of its own."""
    return torch.from_numpy(np.asarray(np.right_shift(images, 8 - bits, order="C")))
