"""MNIST from its original files, held on the device as bytes."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from .randomness import stream

FILES = (
    "train-images-idx3-ubyte.gz",
    "train-labels-idx1-ubyte.gz",
    "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte.gz",
)

Batch = tuple[Tensor, Tensor]


class MNIST:
    """60,000 training and 10,000 test images of 28 x 28 pixels in [0, 1], with labels 0 to 9.

    Args:
        root: folder that holds ``MNIST/raw``; downloaded there if absent. The archives' md5 sums
            are verified when they are unpacked.
        batch_size: of training; the last, smaller batch of an epoch is dropped.
        evaluation_size: batch size of evaluation.
        crop_padding: training images are cropped at random, one offset each, from a frame of this
            many zero pixels.
        held_out: training images kept for validation, the last ones.
    """

    name, part = "mnist", "whole"

    def __init__(
        self,
        seed: int,
        device: torch.device,
        root: str = "data",
        batch_size: int = 128,
        evaluation_size: int = 1000,
        crop_padding: int = 4,
        held_out: int = 5000,
    ) -> None:
        if not 0 <= held_out < 60_000:
            raise ValueError(f"data.held_out is {held_out}, must be from 0 to 59999")
        if not 1 <= batch_size <= 60_000 - held_out:
            raise ValueError(f"data.batch_size is {batch_size}, must be 1 to {60_000 - held_out}")
        if evaluation_size < 1 or crop_padding < 0:
            raise ValueError(
                "data.evaluation_size must be at least 1, data.crop_padding at least 0"
            )
        self.seed, self.device, self.batch_size = seed, device, batch_size
        self.evaluation_size, self.padding = evaluation_size, crop_padding
        train, test = load(Path(root), train=True), load(Path(root), train=False)
        kept = 60_000 - held_out
        self.splits = {
            split: (images.to(device), labels.to(device))
            for split, (images, labels) in (
                ("train", (train[0][:kept], train[1][:kept])),
                ("validation", (train[0][kept:], train[1][kept:])),
                ("test", test),
            )
        }
        self.sizes = {split: len(labels) for split, (_, labels) in self.splits.items()}
        self.steps_per_epoch = kept // batch_size
        self.order = lru_cache(maxsize=2)(self.shuffle)

    def shuffle(self, epoch: int) -> Tensor:
        """The order of an epoch, a function of (seed, epoch) alone, so that a resumed run sees it
        too.
        """
        generator = stream(torch.device("cpu"), self.seed, "order", epoch)
        return torch.randperm(self.sizes["train"], generator=generator).to(self.device)

    def train_batch(self, step: int) -> Batch:
        """Images (batch_size, 1, 28, 28), cropped at random, and labels (batch_size,)."""
        epoch, i = divmod(step, self.steps_per_epoch)
        chosen = self.order(epoch)[i * self.batch_size : (i + 1) * self.batch_size]
        images, labels = self.splits["train"]
        generator = stream(self.device, self.seed, "crop", step)
        return crop(to_float(images[chosen]), self.padding, generator), labels[chosen]

    def batches(self, split: str) -> Iterator[Batch]:
        """ "validation" or "test" in order, uncropped."""
        images, labels = self.splits[split]
        for some, answers in zip(
            images.split(self.evaluation_size), labels.split(self.evaluation_size), strict=True
        ):
            yield to_float(some), answers


def to_float(images: Tensor) -> Tensor:
    """Bytes (B, 28, 28) to (B, 1, 28, 28) in [0, 1]."""
    return images[:, None].float() / 255


def crop(images: Tensor, padding: int, generator: torch.Generator) -> Tensor:
    """Each image (B, C, H, W) shifted by up to ``padding`` pixels both ways, zeros coming in."""
    if padding == 0:
        return images
    b, _, h, w = images.shape
    windows = F.pad(images, (padding,) * 4).unfold(2, h, 1).unfold(3, w, 1)
    shifts = torch.randint(2 * padding + 1, (2, b), generator=generator, device=images.device)
    return windows[torch.arange(b, device=images.device), :, shifts[0], shifts[1]]


def load(root: Path, train: bool) -> tuple[Tensor, Tensor]:
    """Images (N, 28, 28) as bytes and labels (N,), read by torchvision.

    Raises:
        FileNotFoundError: naming the files and where to put them, if they are absent and cannot be
            downloaded.
    """
    from torchvision.datasets import MNIST as Reader  # takes seconds to import

    try:
        # download=True also unpacks verified .gz files that are there already, without a network.
        found = Reader(root, train=train, download=True)
    except (RuntimeError, OSError) as error:
        raise FileNotFoundError(
            f"MNIST is neither whole in {root / 'MNIST' / 'raw'} nor to be downloaded; place "
            f"{', '.join(FILES)} there, or set paths.data or NODE_RUNNER_DATA to the folder that "
            f"holds MNIST/raw ({str(error).partition(':')[0]})"
        ) from error
    return found.data, found.targets
