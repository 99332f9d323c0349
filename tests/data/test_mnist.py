import pytest
import torch
from real_data import ROOT, needs_mnist

from node_runner.data.mnist import MD5, MNIST, crop, load

CPU = torch.device("cpu")


def test_a_crop_is_the_image_shifted_with_zeros_coming_in():
    images = torch.rand(64, 1, 6, 5, generator=torch.Generator().manual_seed(0))
    generator = torch.Generator().manual_seed(1)
    cropped = crop(images, 2, generator)
    shifts = torch.randint(5, (2, 64), generator=torch.Generator().manual_seed(1))
    frame = torch.nn.functional.pad(images, (2, 2, 2, 2))
    for i in range(64):
        row, column = shifts[0, i], shifts[1, i]
        assert torch.equal(cropped[i], frame[i, :, row : row + 6, column : column + 5])
    assert len({tuple(shift) for shift in shifts.T.tolist()}) > 15


def test_no_padding_leaves_the_images():
    images = torch.rand(3, 1, 4, 4)
    assert crop(images, 0, torch.Generator()) is images


@pytest.fixture(scope="module")
def mnist():
    return MNIST(0, CPU, str(ROOT))


@needs_mnist
def test_the_real_files_are_whole(mnist):
    assert mnist.sizes == {"train": 55_000, "validation": 5_000, "test": 10_000}
    images, labels = mnist.splits["test"]
    assert images.shape == (10_000, 28, 28)
    assert labels[:5].tolist() == [7, 2, 1, 0, 4]
    assert torch.bincount(labels).tolist()[:3] == [980, 1135, 1032]


@needs_mnist
def test_an_epoch_sees_each_image_once_and_each_epoch_another_order(mnist):
    first, second = mnist.sampler.epochs.epoch(0), mnist.sampler.epochs.epoch(1)
    assert torch.equal(first.sort().values, torch.arange(55_000))
    assert not torch.equal(first, second)
    assert mnist.steps_per_epoch == 55_000 // 128


@needs_mnist
def test_a_batch_can_be_drawn_again_without_those_before_it(mnist):
    step = mnist.steps_per_epoch + 3
    images, labels = mnist.train_batch(step)
    again = MNIST(0, CPU, str(ROOT)).train_batch(step)
    assert torch.equal(images, again[0])
    assert torch.equal(labels, again[1])
    assert images.shape == (128, 1, 28, 28)
    assert 0 <= images.min() and images.max() <= 1


@needs_mnist
def test_evaluation_covers_the_split_in_order(mnist):
    labels = torch.cat([labels for _, labels in mnist.batches("validation")])
    assert torch.equal(labels, mnist.splits["validation"][1])


@needs_mnist
def test_torchvision_reads_the_same_from_the_real_files(tmp_path):
    """Two readers, one set of files."""
    from torchvision.datasets import MNIST as Reader

    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name in MD5:
        if (ROOT / "MNIST" / "raw" / name).exists():
            (raw / name).symlink_to((ROOT / "MNIST" / "raw" / name).absolute())
    train, test = (Reader(tmp_path, train=train, download=True) for train in (True, False))
    expected = [train.data, train.targets, test.data, test.targets]
    assert all(torch.equal(a, b) for a, b in zip(load(tmp_path), expected, strict=True))
