"""Images as integers for density models, held on the device as bytes. The model adds the noise that
makes them continuous.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from .randomness import stream
from .sampler import IndexedData, check_positive


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


class Pixels(IndexedData):
    """Images of shape (C, H, W) as bytes, pixels from 0 to 2^bits - 1.

    A subclass defines ``name`` and ``load``, which is called once the options have been checked.

    Args:
        seed, device, batch_size, evaluation_size: as for ``BatchSampler``.
        root: Folder that holds that of the set.
        bits: Bits of a pixel; if fewer than 8, a byte x becomes floor(x / 2^(8 - bits)) (Kingma and
            Dhariwal 2018, Glow).
        flips: Mirror training images left to right with probability 1/2 (default: as in the
            released code of FFJORD and RNODE for this set).
        held_out: Number of training images kept for validation, the last ones.
        train_size, test_size: Use only the first so many images (default: all).

    Raises:
        ValueError: for sizes out of range and for another bit depth.
    """

    flipped = False  # in the released code of FFJORD and RNODE

    def __init__(
        self,
        seed: int,
        device: torch.device,
        root: str = "data",
        batch_size: int = 200,
        evaluation_size: int = 200,
        bits: int = 8,
        flips: bool | None = None,
        held_out: int = 0,
        train_size: int | None = None,
        test_size: int | None = None,
    ) -> None:
        if not 1 <= bits <= 8:
            raise ValueError(f"bits is {bits}, wrong bit depth: must be 1 to 8")
        check_positive(evaluation_size=evaluation_size)
        splits = self.load(Path(root))
        train = splits.train.first(train_size, "train_size")
        test = splits.test.first(test_size, "test_size")
        kept = _remaining(len(train.images), held_out, splits.validation is not None)
        images, own = _quantised(train.images, bits).to(device), splits.validation
        self.splits = {
            "train": images[:kept],
            "validation": images[kept:] if own is None else _quantised(own, bits).to(device),
            "test": _quantised(test.images, bits).to(device),
        }
        sizes = {split: len(some) for split, some in self.splits.items()}
        super().__init__(seed, device, sizes, batch_size, evaluation_size)
        self.bits, self.flips = bits, self.flipped if flips is None else flips
        self.shape = tuple(images.shape[1:])
        parts = (train.part("training"), test.part("test"))
        everything = ("all training images", "all test images")
        self.part = "whole" if parts == everything else "; ".join(parts)

    @staticmethod
    def load(root: Path) -> Splits:
        """Return the images that lie below a folder."""
        raise NotImplementedError

    def batch(self, split: str, indices: Tensor, step: int) -> Tensor:
        """Return images, bytes (B, C, H, W); those of training may be mirrored."""
        images = self.splits[split][indices]
        if split != "train" or not self.flips:
            return images
        generator = stream(self.device, self.seed, "flip", step)
        mirrored = torch.rand(len(images), 1, 1, 1, generator=generator, device=self.device) < 0.5
        return torch.where(mirrored, images.flip(3), images)


def _remaining(size: int, held_out: int, has_own: bool) -> int:
    """Images left to train on.

    Args:
        has_own: whether the set has images for validation besides.

    Raises:
        ValueError: if there are none left, or none need to be held out.
    """
    if has_own and held_out:
        raise ValueError(
            f"held_out is {held_out}, must be 0: this set has its own validation images"
        )
    if not 0 <= held_out < size:
        raise ValueError(f"held_out is {held_out}, must be 0 to {size - 1}")
    return size - held_out


def _quantised(images: np.ndarray, bits: int) -> Tensor:
    """Bytes (N, C, H, W) to their leading bits, in memory of its own."""
    return torch.from_numpy(np.asarray(np.right_shift(images, 8 - bits, order="C")))
