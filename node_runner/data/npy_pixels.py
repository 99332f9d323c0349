"""Any images, such as those of ImageNet64 or CelebA, from files of NumPy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from .files import not_npy
from .pixels import Pixels, Split, Splits

SHAPES = "[N, C, H, W] or [N, H, W, C] with C 1 or 3, or [N, H, W]"


class NpyPixels(Pixels):
    """The images of train.npy and test.npy and, if it is there, of val.npy, bytes of one shape.

    Args:
        folder: that holds them. A file's shape is (N, C, H, W) or (N, H, W, C) with C 1 or 3, the
            former if it could be either, or (N, H, W). Only what is used of a file is read.
        batch_size, evaluation_size, bits, flips, train_size, test_size: as for ``Pixels``.
        held_out: training images kept for validation, the last ones, where there is no val.npy.

    Raises:
        FileNotFoundError: naming the file that is absent.
        ValueError: for files that hold something else.
    """

    name = "npy_pixels"

    def __init__(
        self,
        seed: int,
        device: torch.device,
        folder: str = "data/npy_pixels",
        batch_size: int = 200,
        evaluation_size: int = 200,
        bits: int = 8,
        flips: bool | None = None,
        held_out: int = 0,
        train_size: int | None = None,
        test_size: int | None = None,
    ) -> None:
        sizes = (held_out, train_size, test_size)
        super().__init__(seed, device, folder, batch_size, evaluation_size, bits, flips, *sizes)
        self.part = f"{Path(folder).name}, {'as it is' if self.part == 'whole' else self.part}"

    @staticmethod
    def load(root: Path) -> Splits:
        paths = {split: root / f"{split}.npy" for split in ("train", "test", "val")}
        for split in ("train", "test"):
            if not paths[split].is_file():
                raise FileNotFoundError(
                    f"{root} lacks {split}.npy; place train.npy, test.npy and, unless held_out "
                    f"is to give one, val.npy there, bytes of shape {SHAPES}, or set folder to "
                    "the one that holds them"
                )
        images = {split: read(path) for split, path in paths.items() if path.is_file()}
        shape = images["train"].shape[1:]
        for split, some in images.items():
            if some.shape[1:] != shape:
                raise ValueError(
                    f"{paths[split]} holds images of shape {list(some.shape[1:])}, must be that of "
                    f"train.npy, {list(shape)}"
                )
        train, test = (Split(images[split], len(images[split])) for split in ("train", "test"))
        return Splits(train, test, images.get("val"))


def read(path: Path) -> np.ndarray:
    """The images of a file, (N, C, H, W), still on the disk.

    Raises:
        ValueError: for another type or shape, and for a file that is damaged or empty.
    """
    try:
        x = np.lib.format.open_memmap(path, mode="r")
    except OSError:
        raise
    except Exception as error:  # as in ``read_array``
        raise not_npy(path, "bytes", error) from error
    if x.dtype != np.uint8:
        raise ValueError(f"{path} holds values of type {x.dtype}, must be uint8")
    images = x[:, None] if x.ndim == 3 else x
    if images.ndim == 4 and images.shape[1] not in (1, 3):
        images = images.transpose(0, 3, 1, 2)
    if images.ndim != 4 or images.shape[1] not in (1, 3):
        raise ValueError(f"{path} has shape {list(x.shape)}, must be {SHAPES}")
    if x.size == 0:
        raise ValueError(f"{path} holds no images: its shape is {list(x.shape)}")
    return images
