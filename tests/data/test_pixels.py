"""Images as integers, whatever files they come from, and those of NumPy."""

from pathlib import Path

import numpy as np
import pytest
import torch
from real_data import ROOT, needs_mnist
from support.errors import refused

from node_runner.data import mnist
from node_runner.data.mnist_pixels import MNISTPixels
from node_runner.data.npy_pixels import NpyPixels

CPU = torch.device("cpu")


def drawn(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def placed(folder, **arrays):
    folder.mkdir(exist_ok=True)
    for name, x in arrays.items():
        np.save(folder / f"{name}.npy", x)
    return str(folder)


@pytest.fixture
def folder(tmp_path):
    """20 training, 6 validation and 7 test images of 3 x 4 x 5, all different."""
    sizes = {"train": 20, "val": 6, "test": 7}
    arrays = {name: drawn(n, 3, 4, 5, seed=n) for name, n in sizes.items()}
    return placed(tmp_path / "set", **arrays)


@pytest.fixture
def halves(folder):
    """Without val.npy."""
    Path(folder, "val.npy").unlink()
    return folder


def data(folder, seed=0, **options):
    return NpyPixels(seed, CPU, folder, **({"batch_size": 6, "evaluation_size": 3} | options))


def of_file(folder, name):
    return torch.from_numpy(np.load(f"{folder}/{name}.npy"))


def all_of(data, split):
    return torch.cat(list(data.batches(split)))


def epoch(data, number=0):
    n = data.steps_per_epoch
    return torch.cat([data.train_batch(step) for step in range(number * n, number * n + n)])


def as_set(images):
    return {image.numpy().tobytes() for image in images}


def test_a_set_says_what_it_is_and_evaluates_its_files_in_order_never_mirrored(folder):
    made = data(folder, flips=True)
    assert made.sizes == {"train": 20, "validation": 6, "test": 7}
    assert (made.shape, made.bits, made.steps_per_epoch) == ((3, 4, 5), 8, 3)
    assert (made.name, made.part) == ("npy_pixels", "set, as it is")
    assert made.train_batch(0).shape == (6, 3, 4, 5)
    for split, name in (("validation", "val"), ("test", "test")):
        assert torch.equal(all_of(made, split), of_file(folder, name))
    assert [len(batch) for batch in made.batches("test")] == [3, 3, 1]


def test_an_epoch_sees_each_image_once_but_for_the_last_smaller_batch(folder):
    made = data(folder)
    for number in (0, 1):
        seen = epoch(made, number)
        assert len(seen) == len(as_set(seen)) == 18
        assert as_set(seen) < as_set(of_file(folder, "train"))
    assert not torch.equal(epoch(made, 0), epoch(made, 1))


@pytest.mark.parametrize("flips", [False, True])
def test_a_batch_is_a_function_of_the_seed_and_the_step(folder, flips):
    one, same, other = (data(folder, seed, flips=flips) for seed in (1, 1, 2))
    late = one.train_batch(5)
    epoch(same)
    assert torch.equal(same.train_batch(5), late)
    assert not torch.equal(other.train_batch(5), late)


def test_half_of_the_images_are_mirrored_left_to_right_and_nothing_else(tmp_path):
    folder = placed(tmp_path / "set", train=drawn(1000, 1, 2, 6), test=drawn(1, 1, 2, 6))
    one, other = (data(folder, batch_size=1000, flips=flips) for flips in (False, True))
    masks = []
    for step in (0, 1):
        plain, mirrored = one.train_batch(step), other.train_batch(step)
        masks.append((mirrored != plain).flatten(1).any(1))
        assert torch.equal(mirrored[masks[-1]], plain[masks[-1]].flip(3))
        assert 400 < masks[-1].sum() < 600
    assert not torch.equal(*masks)  # each step draws its own


@pytest.mark.parametrize("bits", range(1, 9))
def test_fewer_bits_are_the_floor_of_the_quotient(bits, tmp_path):
    every = np.arange(256, dtype=np.uint8).reshape(1, 1, 16, 16)
    folder = placed(tmp_path / "set", train=every, val=every, test=every)
    made = data(folder, batch_size=1, bits=bits)
    expected = torch.from_numpy(np.floor(every / 2 ** (8 - bits)).astype(np.uint8))
    for images in (made.train_batch(0), all_of(made, "validation"), all_of(made, "test")):
        assert torch.equal(images, expected)
        assert images.dtype == torch.uint8
    assert made.bits == bits


def test_the_last_training_images_are_held_out(halves):
    made = data(halves, held_out=5)
    assert made.sizes == {"train": 15, "validation": 5, "test": 7}
    last = of_file(halves, "train")[15:]
    assert torch.equal(all_of(made, "validation"), last)
    assert not as_set(epoch(made)) & as_set(last)
    assert data(halves).sizes["validation"] == 0
    assert list(data(halves).batches("validation")) == []


@pytest.mark.parametrize(
    ("sizes", "part"),
    [
        ({"train_size": 12}, "set, first 12 training images; all test images"),
        ({"train_size": 9, "test_size": 1}, "set, first 9 training images; first 1 test images"),
        ({"train_size": 20, "test_size": 7}, "set, as it is"),
    ],
)
def test_the_first_so_many_are_used_and_the_part_says_so(sizes, part, halves):
    made = data(halves, held_out=2, **sizes)
    n, m = sizes.get("train_size", 20), sizes.get("test_size", 7)
    assert made.sizes == {"train": n - 2, "validation": 2, "test": m}
    assert made.part == part
    images = of_file(halves, "train")
    assert torch.equal(all_of(made, "validation"), images[n - 2 : n])
    assert torch.equal(all_of(made, "test"), of_file(halves, "test")[:m])


LAYOUTS = {
    "channels first": lambda x: x,
    "channels last": lambda x: x.transpose(0, 2, 3, 1),
    "order of Fortran": np.asfortranarray,
}


@pytest.mark.parametrize("c", [1, 3])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_same_images(layout, c, tmp_path):
    x = drawn(4, c, 6, 5)
    folder = placed(tmp_path / "set", train=LAYOUTS[layout](x), test=x)
    made = data(folder, batch_size=4)
    assert made.shape == (c, 6, 5)
    assert torch.equal(made.splits["train"], torch.from_numpy(x))
    assert made.splits["train"].is_contiguous()


def test_images_without_channels_have_one(tmp_path):
    made = data(placed(tmp_path / "set", train=drawn(6, 6, 5), test=drawn(6, 6, 5)))
    assert torch.equal(made.splits["test"], torch.from_numpy(drawn(6, 1, 6, 5)))


OPTIONS = [
    ({"bits": 0}, "bits is 0, wrong bit depth: must be 1 to 8"),
    ({"batch_size": 21}, "batch_size is 21, must be 1 to 20"),
    ({"batch_size": 16, "held_out": 5}, "batch_size is 16, must be 1 to 15"),
    ({"evaluation_size": 0}, "evaluation_size is 0"),
    ({"held_out": 20}, "held_out is 20, must be 0 to 19"),
    ({"held_out": 12, "train_size": 12}, "held_out is 12, must be 0 to 11"),
    ({"train_size": 0}, "train_size is 0, must be 1 to 20"),
    ({"train_size": 21}, "train_size is 21"),
    ({"test_size": 8}, "test_size is 8, must be 1 to 7"),
]


@pytest.mark.parametrize(("options", "message"), OPTIONS)
def test_options_out_of_range_are_refused_by_name(options, message, halves):
    refused(lambda: data(halves, **options), message)


def test_nothing_is_held_out_of_a_set_that_has_its_own_validation_images(folder):
    refused(lambda: data(folder, held_out=2), "held_out is 2, must be 0")


@pytest.mark.parametrize("name", ["train", "test"])
def test_an_absent_file_is_named_with_the_option_that_says_where(name, folder):
    Path(folder, f"{name}.npy").unlink()
    what = f"{folder} lacks {name}.npy"
    refused(lambda: data(folder), what, "set folder", kind=FileNotFoundError)


ARRAYS = [
    (drawn(4, 3, 4, 5) / 255, ("type float64, must be uint8",)),
    (drawn(4, 5), ("shape [4, 5], must be [N, C, H, W]",)),
    (drawn(4, 2, 4, 5), ("shape [4, 2, 4, 5]", "C 1 or 3")),
    (drawn(0, 3, 4, 5), ("no images", "[0, 3, 4, 5]")),
    (drawn(4, 1, 4, 5), ("images of shape [1, 4, 5], must be that of train.npy, [3, 4, 5]",)),
    (np.array([{}]), ("no whole .npy file",)),
]


@pytest.mark.parametrize(("array", "parts"), ARRAYS, ids=[parts[0] for _, parts in ARRAYS])
@pytest.mark.parametrize("name", ["val", "test"])
def test_a_file_of_something_else_is_named(array, parts, name, folder):
    path = Path(folder, f"{name}.npy")
    np.save(path, array, allow_pickle=True)
    refused(lambda: data(folder), str(path), *parts)


@pytest.mark.parametrize("length", [0, 5, 100, 400, -1])
def test_a_truncated_file_is_named(length, folder):
    path = Path(folder, "train.npy")
    path.write_bytes(path.read_bytes()[:length])
    refused(lambda: data(folder), f"{path} is no whole .npy file")


def test_the_pixels_of_mnist_are_those_of_its_files(monkeypatch):
    images, test = (torch.from_numpy(drawn(n, 28, 28)) for n in (9, 4))
    monkeypatch.setattr(mnist, "load", lambda _: [images, torch.ones(9), test, torch.ones(4)])
    made = MNISTPixels(0, CPU, batch_size=2, held_out=3)
    assert (made.name, made.part, made.shape) == ("mnist", "whole", (1, 28, 28))
    assert torch.equal(made.splits["train"], images[:6, None])
    assert torch.equal(all_of(made, "validation"), images[6:, None])
    assert torch.equal(all_of(made, "test"), test[:, None])
    assert not made.flips
    monkeypatch.setattr(mnist, "load", pytest.fail)
    refused(lambda: MNISTPixels(0, CPU, bits=9), "bits is 9")  # before anything is read


@needs_mnist
def test_the_real_mnist_is_whole():
    made = MNISTPixels(0, CPU, str(ROOT), bits=5)
    assert made.sizes == {"train": 60_000, "validation": 0, "test": 10_000}
    assert made.splits["test"].max() == 31
