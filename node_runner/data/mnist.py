"""MNIST from its original files, held on the device as bytes."""

from __future__ import annotations

import gzip
import os
from collections.abc import Sequence
from http.client import HTTPException
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
import torch.nn.functional as F
from torch import Tensor

from .files import check_sum
from .randomness import stream
from .sampler import IndexedData

# The original files, and as they are distributed.
MD5 = {
    "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
    "train-images-idx3-ubyte.gz": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
    "train-labels-idx1-ubyte.gz": "d53e105ee54ea40749a09fcbcd1e9432",
    "t10k-images-idx3-ubyte.gz": "9fb629c4189551a2d022fa330f9573f3",
    "t10k-labels-idx1-ubyte.gz": "ec29112dd5afa0611ce80d1b7f02629c",
}
FILES = [name for name in MD5 if not name.endswith(".gz")]

Batch = tuple[Tensor, Tensor]


class MNIST(IndexedData):
    """60,000 training and 10,000 test images of 28 x 28 pixels in [0, 1], with labels 0 to 9.

    Args:
        root: folder that holds ``MNIST/raw``, with the four files or their .gz; what is absent is
            downloaded there. The md5 sum of every file is verified.
        batch_size: of training; the last, smaller batch of an epoch is dropped.
        evaluation_size: batch size of evaluation.
        crop_padding: training images are cropped at random, one offset each, from a frame of this
            many zero pixels.
        held_out: training images kept for validation, the last ones.
    """

    name, part, shape, classes = "mnist", "whole", (1, 28, 28), 10

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
            raise ValueError(f"held_out is {held_out}, must be from 0 to 59999")
        if crop_padding < 0:
            raise ValueError(f"crop_padding is {crop_padding}, must be at least 0")
        kept = 60_000 - held_out
        sizes = {"train": kept, "validation": held_out, "test": 10_000}
        super().__init__(seed, device, sizes, batch_size, evaluation_size)
        self.padding = crop_padding
        images, labels, test_images, test_labels = load(Path(root))
        self.splits = {
            split: (some.to(device), answers.to(device))
            for split, some, answers in (
                ("train", images[:kept], labels[:kept]),
                ("validation", images[kept:], labels[kept:]),
                ("test", test_images, test_labels),
            )
        }

    def batch(self, split: str, indices: Tensor, step: int) -> Batch:
        """Return images (B, 1, 28, 28), in training cropped at random, and labels (B,)."""
        images, labels = (values[indices] for values in self.splits[split])
        images = to_float(images)
        if split == "train":
            images = crop(images, self.padding, stream(self.device, self.seed, "crop", step))
        return images, labels


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


def load(root: Path) -> list[Tensor]:
    """Images (N, 28, 28) as bytes and labels (N,) for training, then those of the test.

    Raises:
        ValueError: for a damaged file.
        FileNotFoundError: for files that are absent and cannot be downloaded.
    """
    raw = root / "MNIST" / "raw"
    found = {name: read(raw, name) for name in FILES}
    absent = [name for name, content in found.items() if content is None]
    if absent:
        try:
            download(raw, absent)
        except (RuntimeError, OSError, HTTPException) as error:
            reason = str(error).strip().rpartition("\n")[2]
            raise FileNotFoundError(
                f"{raw} lacks {', '.join(absent)}, and they cannot be downloaded ({reason}); run "
                "node-run mode=fetch task=odenet_mnist on a machine with a network and place them, "
                "or their .gz, there, or set NODE_RUNNER_DATA or paths.data to the folder that "
                "holds MNIST/raw"
            ) from error
        found |= {name: read(raw, name) for name in absent}
    return [parse(name, content) for name, content in found.items() if content is not None]


def read(raw: Path, name: str) -> bytes | None:
    """The content of a file, unpacked from its .gz if need be; None if both are absent. Both are
    verified: a bad copy should not wait for the day it is needed.
    """
    plain, packed = verified(raw / name), verified(raw / f"{name}.gz")
    return gzip.decompress(packed) if plain is None and packed is not None else plain


def verified(path: Path) -> bytes | None:
    """The content of one of the files of ``MD5``; None if it is absent.

    Raises:
        ValueError: if it has another sum.
    """
    if not path.exists():
        return None
    content = path.read_bytes()
    remedy = "delete it and run again with a network, or place a good copy there"
    check_sum(path, content, MD5[path.name], remedy)
    return content


def parse(name: str, content: bytes) -> Tensor:
    """What follows the header of an IDX file; its size is known by its sum."""
    values = torch.frombuffer(bytearray(content), dtype=torch.uint8)
    return values[16:].view(-1, 28, 28) if "images" in name else values[8:].long()


def download(raw: Path, names: Sequence[str]) -> None:
    """Fetch files through torchvision; each appears whole, so that two runs may do it at once."""
    from torchvision.datasets import MNIST as Reader  # takes seconds to import

    raw.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=raw) as folder:
        Reader(folder, download=True)
        for name in names:
            os.replace(Path(folder) / "MNIST" / "raw" / name, raw / name)
