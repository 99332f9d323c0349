"""Small files of rows, and what a set that was read from them must be."""

import gzip

import numpy as np
import torch

CPU = torch.device("cpu")
SPLITS = ("train", "validation", "test")


def rows(n, d, seed=0):
    return np.random.default_rng(seed).normal(size=(n, d))


def placed(folder, **arrays):
    """Arrays as .npy files in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, x in arrays.items():
        np.save(folder / f"{name}.npy", x)
    return folder


def as_text(path, x, delimiter, header):
    """A text file, packed if its name says so."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [*header, *(delimiter.join(repr(float(v)) for v in row) for row in x)]
    content = "".join(f"{line}\r\n" for line in lines).encode()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


def agree(data, expected):
    """The splits, and what is said of them, are those expected."""
    assert data.sizes == {split: len(x) for split, x in zip(SPLITS, expected, strict=True)}
    for split, x in zip(SPLITS, expected, strict=True):
        assert data.splits[split].dtype == torch.float32
        np.testing.assert_allclose(data.splits[split].numpy(), x, rtol=2e-5, atol=2e-5)
    assert data.shape == (expected[0].shape[1],)


def cut(x):
    """Tail splits with the arithmetic of MAF's code."""
    x, test = x[: -int(0.1 * len(x))], x[-int(0.1 * len(x)) :]
    return x[: -int(0.1 * len(x))], x[-int(0.1 * len(x)) :], test
