"""MNIST for density models."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import torch

from . import mnist
from .pixels import Pixels, Split, Splits


class MNISTPixels(Pixels):
    """60,000 training and 10,000 test images of 28 x 28 pixels.

    Args:
        root: as for ``MNIST``, and its errors.
        batch_size, evaluation_size, bits, flips, held_out, train_size, test_size: as for
            ``Pixels``. FFJORD and RNODE hold no images out.
    """

    def __init__(
        self,
        seed: int,
        device: torch.device,
        root: str = "data",
        batch_size: int = 200,
        evaluation_size: int = 200,
        bits: int = 8,
        flips: bool = False,
        held_out: int = 0,
        train_size: int | None = None,
        test_size: int | None = None,
    ) -> None:
        sizes = (held_out, train_size, test_size)
        give = partial(load, Path(root))
        super().__init__(
            "mnist", give, seed, device, batch_size, evaluation_size, bits, flips, *sizes
        )


def load(root: Path) -> Splits:
    train, _, test, _ = (values.numpy() for values in mnist.load(root))
    return Splits(Split(train[:, None], len(train)), Split(test[:, None], len(test)))
