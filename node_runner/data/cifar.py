"""CIFAR-10 (Krizhevsky 2009), from either of its published versions."""

from __future__ import annotations

import bz2
import os
import pickle
import warnings
from http.client import HTTPException
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from .files import check_sum, damaged, find
from .pixels import Pixels, Split, Splits

# The folders of the python version, which torchvision reads too, and of the binary version.
PYTHON, BINARY = "cifar-10-batches-py", "cifar-10-batches-bin"

# A .bin.bz2 depends on who packed it: it is the unpacked content that must have the sum.
MD5 = {
    "data_batch_1": "c99cafc152244af753f735de768cd75f",
    "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
    "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
    "data_batch_4": "634d18415352ddfa80567beed471001a",
    "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
    "test_batch": "40351d587109b95175f43aff81a1287e",
    "data_batch_1.bin": "5dd7e06a14cb22eb9f671a540d1b7c25",
    "data_batch_2.bin": "5ea93a67294ea407fff1d09f752e9692",
    "data_batch_3.bin": "942cd6a4bcdd0dd3c604fbe906cb4421",
    "data_batch_4.bin": "ae636b3ba5c66a11e91e8cb52e771fcb",
    "data_batch_5.bin": "53f37980c15c3d472c316c40844f3f0d",
    "test_batch.bin": "803d5f7f4d78ea53de84dbe85f74fb6d",
    "test_batch_first1000.bin": "371f65da31ad652f5e24b3699a3e6515",
}
SHAPE = (3, 32, 32)
TRAIN_BATCHES = 5
TEST_IMAGES = 10_000


class CIFAR10(Pixels):
    """50,000 training and 10,000 test images of 32 x 32 pixels in three colours.

    Args:
        root: folder that holds ``cifar-10-batches-py``, with the pickles data_batch_1 to 5 and
            test_batch, or ``cifar-10-batches-bin``, with data_batch_1.bin to 5 and test_batch.bin
            or test_batch_first1000.bin, or their .bz2. What is there is used and ``part`` says how
            much that is; where there is no training batch or no test batch the python version is
            downloaded. The md5 sum of every file is verified.
        seed, device, batch_size, evaluation_size, bits, flips, held_out, train_size, test_size: as
            for ``Pixels``.

    Raises:
        ValueError: for a damaged file.
        FileNotFoundError: for files that are absent and cannot be downloaded.
    """

    name, flipped = "cifar10", True

    @staticmethod
    def load(root: Path) -> Splits:
        train, test = find_batches(root)
        if not train or test is None:
            try:
                download(root)
            except (RuntimeError, OSError, HTTPException) as error:
                lacking = " and no ".join(
                    ["training batch"] * (not train) + ["test batch"] * (not test)
                )
                raise FileNotFoundError(_absent(root, lacking, error)) from error
            train, test = find_batches(root)
            assert test is not None  # torchvision has verified the archive
        source = ""
        if len(train) < TRAIN_BATCHES:
            word = "batch" if len(train) == 1 else "batches"
            source = f"training {word} {', '.join(map(str, train))} of {TRAIN_BATCHES}"
        images = np.concatenate([read(path) for path in train.values()])
        return Splits(Split(images, len(images), source), Split(read(test), TEST_IMAGES))


def find_batches(root: Path) -> tuple[dict[int, Path], Path | None]:
    """The training batches that lie there, by number, and the test batch."""
    train = {i: batch(root, f"data_batch_{i}") for i in range(1, TRAIN_BATCHES + 1)}
    test = batch(root, "test_batch") or batch(root, "test_batch_first1000")
    return {i: path for i, path in train.items() if path is not None}, test


def batch(root: Path, name: str) -> Path | None:
    """The file of a batch, in whichever version."""
    names = [file for file in (name, f"{name}.bin", f"{name}.bin.bz2") if unpacked(file) in MD5]
    return find((root / PYTHON, root / BINARY), names)


def unpacked(name: str) -> str:
    return name.removesuffix(".bz2")


def read(path: Path) -> np.ndarray:
    """The images of a batch, (N, 3, 32, 32).

    Raises:
        ValueError: if it has another sum.
    """
    content, packed = path.read_bytes(), path.suffix == ".bz2"
    if packed:
        try:
            content = bz2.decompress(content)
        except (OSError, ValueError) as error:
            raise damaged(path, error) from error
    remedy = "place a good copy there" + " (the sum is of the unpacked file)" * packed
    check_sum(path, content, MD5[unpacked(path.name)], remedy)
    return (binary(content) if path.suffix else pickled(content)).reshape(-1, *SHAPE)


def binary(content: bytes) -> np.ndarray:
    """Rows of a label and the pixels: red, green and blue planes."""
    return np.frombuffer(content, np.uint8).reshape(-1, 1 + np.prod(SHAPE))[:, 1:]


def pickled(content: bytes) -> np.ndarray:
    """The pixels of a batch of the python version. Its sum must be known to be right: a pickle can
    run anything.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of NumPy 2.4.0 to 2.4.4, at pickles as old as these
        return pickle.loads(content, encoding="latin1")["data"]


def _absent(root: Path, lacking: str, error: Exception) -> str:
    """What to say where nothing can be downloaded."""
    reason = str(error).strip().rpartition("\n")[2]
    return (
        f"{root} holds no {lacking} of CIFAR-10, and it cannot be downloaded ({reason}); run "
        "node-run mode=fetch data=cifar on a machine with a network, or place data_batch_1 to "
        f"data_batch_5 and test_batch in {root / PYTHON}, or data_batch_1.bin to data_batch_5.bin "
        f"and test_batch.bin, or their .bz2, in {root / BINARY}, or set NODE_RUNNER_DATA or "
        "paths.data to the folder that holds one of these"
    )


def download(root: Path) -> None:
    """Fetch the python version through torchvision; each file appears whole, so that two runs may
    do it at once. What lies there already stays.
    """
    from torchvision.datasets import CIFAR10 as Reader  # takes seconds to import

    root.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=root) as folder:
        Reader(folder, train=False, download=True)
        target = root / PYTHON
        target.mkdir(exist_ok=True)
        for path in (Path(folder) / PYTHON).iterdir():
            if not (target / path.name).exists():
                os.replace(path, target / path.name)
