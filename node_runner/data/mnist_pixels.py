"""MNIST for density models."""

from __future__ import annotations

from pathlib import Path

from . import mnist
from .pixels import Pixels, Split, Splits

__all__ = ["MNISTPixels"]


class MNISTPixels(Pixels):
    """60,000 training and 10,000 test images of 28 x 28 pixels; no images are held out by FFJORD
    and RNODE.

    Args:
        root: as for ``MNIST``, and its errors.
        seed, device, batch_size, evaluation_size, bits, flips, held_out, train_size, test_size: as
            for ``Pixels``.
    """

    name = "mnist"

    @staticmethod
    def load(root: Path) -> Splits:
        train, _, test, _ = (values.numpy() for values in mnist.load(root))
        return Splits(Split(train[:, None], len(train)), Split(test[:, None], len(test)))
