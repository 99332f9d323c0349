"""CIFAR-10's files: either version, parts, damage, absence. Small ones in the place of the real."""

import bz2
import hashlib
import pickle
import tarfile
import threading
import warnings
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
import torch
from real_data import ROOT

from node_runner.data import cifar as module
from node_runner.data.cifar import BINARY, CIFAR10, MD5, PYTHON

CPU = torch.device("cpu")
NAMES = [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]
BATCH, FIRST = 4, 2  # images of a batch, and of the first part of the test
IMAGES = {
    name: np.random.default_rng(i).integers(0, 256, (BATCH, 3, 32, 32), dtype=np.uint8)
    for i, name in enumerate(NAMES)
}


def python_version(images):
    """A pickle as Python 2 and the NumPy of 2009 wrote it: bytes are strings, flags of a dtype are
    integers, and the modules have other names.
    """
    n, pixels = bytes([len(images)]), images.tobytes()
    array = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
    shape = b"K" + n + b"M\x00\x0c\x86"  # (n, 3072)
    dtype = b"cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R"
    dtype += b"(K\x03U\x01|NNN" + b"J\xff\xff\xff\xff" * 2 + b"K\x00tb"
    state = b"(K\x01" + shape + dtype + b"\x89T" + len(pixels).to_bytes(4, "little") + pixels
    return b"\x80\x02}U\x04data" + array + state + b"tbsU\x06labels]s."


def binary_version(images):
    labels = np.full((len(images), 1), 7, np.uint8)
    return np.concatenate((labels, images.reshape(len(images), -1)), axis=1).tobytes()


CONTENT = {name: python_version(images) for name, images in IMAGES.items()}
CONTENT |= {f"{name}.bin": binary_version(images) for name, images in IMAGES.items()}
CONTENT["test_batch_first1000.bin"] = binary_version(IMAGES["test_batch"][:FIRST])


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """The published sums, those of the small files; nothing is downloaded."""
    sums = {name: hashlib.md5(content).hexdigest() for name, content in CONTENT.items()}
    monkeypatch.setattr(module, "MD5", sums)
    monkeypatch.setattr(module, "TEST_IMAGES", BATCH)
    monkeypatch.setattr("torchvision.datasets.CIFAR10.url", "http://127.0.0.1:1/none.tar.gz")
    monkeypatch.setenv("no_proxy", "*")


def place(root, *names, packed=False):
    for name in names:
        path = root / (BINARY if name.endswith(".bin") else PYTHON) / name
        path.parent.mkdir(exist_ok=True)
        if packed:
            path.with_name(f"{name}.bz2").write_bytes(bz2.compress(CONTENT[name]))
        else:
            path.write_bytes(CONTENT[name])


def data(root, **options):
    return CIFAR10(0, CPU, str(root), **({"batch_size": 2, "evaluation_size": 3} | options))


def expected(*names):
    return torch.from_numpy(np.concatenate([IMAGES[name] for name in names]))


@pytest.mark.parametrize(
    ("end", "packed"), [("", False), (".bin", False), (".bin", True)], ids=["py", "bin", "bz2"]
)
def test_either_version_packed_or_not_gives_the_same_images(end, packed, tmp_path):
    place(tmp_path, *(f"{name}{end}" for name in NAMES), packed=packed)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        made = data(tmp_path)
    assert torch.equal(made.splits["train"], expected(*NAMES[:5]))
    assert torch.equal(torch.cat(list(made.batches("test"))), expected("test_batch"))
    assert (made.name, made.part, made.shape) == ("cifar10", "whole", (3, 32, 32))
    assert made.sizes == {"train": 20, "validation": 0, "test": 4}
    assert made.flips


PARTS = [
    ("1", "first1000", {}, "training batch 1 of 5; first 2 test images"),
    ("3", "", {}, "training batch 3 of 5; all test images"),
    ("42", "", {}, "training batches 2, 4 of 5; all test images"),
    ("12345", "first1000", {}, "all training images; first 2 test images"),
    ("12345", "", {"test_size": 3}, "all training images; first 3 test images"),
    ("1", "first1000", {"test_size": 1}, "training batch 1 of 5; first 1 test images"),
    ("1", "", {"train_size": 3}, "first 3 images of training batch 1 of 5; all test images"),
    ("12345", "", {"train_size": 20, "test_size": 4}, "whole"),
]


@pytest.mark.parametrize(("batches", "end", "options", "part"), PARTS)
def test_a_part_is_used_and_named(batches, end, options, part, tmp_path):
    test = f"test_batch{'_' * bool(end)}{end}.bin"
    place(tmp_path, *(f"data_batch_{i}.bin" for i in batches), test)
    made = data(tmp_path, **options)
    assert made.part == part
    train = expected(*(f"data_batch_{i}" for i in sorted(batches)))[: options.get("train_size")]
    assert torch.equal(made.splits["train"], train)
    tested = expected("test_batch")[: FIRST if end else BATCH][: options.get("test_size")]
    assert torch.equal(made.splits["test"], tested)


def test_the_versions_complete_each_other_and_the_whole_test_comes_first(tmp_path):
    place(tmp_path, "data_batch_2", "test_batch_first1000.bin")
    place(tmp_path, "data_batch_1.bin", "test_batch.bin", packed=True)
    made = data(tmp_path)
    assert made.part == "training batches 1, 2 of 5; all test images"
    assert torch.equal(made.splits["train"], expected("data_batch_1", "data_batch_2"))


@pytest.mark.parametrize("name", CONTENT)
def test_a_damaged_file_is_refused_unread_and_left_alone(name, tmp_path, monkeypatch):
    other = "data_batch_1.bin" if name.startswith("test") else "test_batch.bin"
    place(tmp_path, name, other)
    path = next(tmp_path.rglob(name))
    monkeypatch.setattr(module.pickle, "loads", pytest.fail)
    good = path.read_bytes()
    for content in (b"", good[:-1], good + b"\0", good[:99] + b"?" + good[100:]):
        path.write_bytes(content)
        with pytest.raises(ValueError) as caught:
            data(tmp_path)
        message = str(caught.value)
        assert message.startswith(f"{path} is damaged")
        assert hashlib.md5(content).hexdigest() in message
        assert module.MD5[name] in message
        assert "\n" not in message
        assert path.read_bytes() == content


def test_a_damaged_archive_is_refused(tmp_path):
    place(tmp_path, "data_batch_1.bin", "test_batch.bin", packed=True)
    path = tmp_path / BINARY / "test_batch.bin.bz2"
    good = path.read_bytes()
    other = bz2.compress(CONTENT["data_batch_1.bin"])
    for content in (b"", good[:-1], good[:40] + b"?" + good[41:], b"text", other):
        path.write_bytes(content)
        with pytest.raises(ValueError) as caught:
            data(tmp_path)
        assert str(caught.value).startswith(f"{path} is damaged")
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("there", "lacking"),
    [
        ([], "no training batch and no test batch"),
        (["data_batch_1.bin"], "no test batch"),
        (["test_batch"], "no training batch"),
    ],
)
def test_what_is_absent_and_cannot_be_downloaded_is_told_in_one_line(there, lacking, tmp_path):
    place(tmp_path, *there)
    left = sorted(tmp_path.rglob("*"))
    with pytest.raises(FileNotFoundError) as caught:
        data(tmp_path)
    message = str(caught.value)
    assert f"{tmp_path} holds {lacking} of CIFAR-10" in message
    for text in (str(tmp_path / PYTHON), str(tmp_path / BINARY), "NODE_RUNNER_DATA", "paths.data"):
        assert text in message
    assert "node-run mode=fetch data=cifar" in message
    assert "\n" not in message
    assert sorted(tmp_path.rglob("*")) == left  # nothing half done


@pytest.fixture
def archive(tmp_path, monkeypatch):
    """The python version where torchvision looks for it."""
    from torchvision.datasets import CIFAR10 as Reader

    source, path = tmp_path / "source", tmp_path / "cifar-10-python.tar.gz"
    source.mkdir()
    place(source, *NAMES)
    labels = pickle.dumps({"label_names": ["airplane"]})
    (source / PYTHON / "batches.meta").write_bytes(labels)
    with tarfile.open(path, "w:gz") as tar:
        tar.add(source / PYTHON, PYTHON)
    lists = [[name, module.MD5[name]] for name in NAMES]
    monkeypatch.setattr(Reader, "tgz_md5", hashlib.md5(path.read_bytes()).hexdigest())
    monkeypatch.setattr(Reader, "train_list", lists[:5])
    monkeypatch.setattr(Reader, "test_list", lists[5:])
    monkeypatch.setattr(Reader, "meta", Reader.meta | {"md5": hashlib.md5(labels).hexdigest()})
    with ThreadingHTTPServer(
        ("127.0.0.1", 0), partial(SimpleHTTPRequestHandler, directory=tmp_path)
    ) as http:
        threading.Thread(target=http.serve_forever, args=(0.01,), daemon=True).start()
        monkeypatch.setattr(Reader, "url", f"http://127.0.0.1:{http.server_port}/{path.name}")
        yield path
        http.shutdown()


def test_what_is_absent_is_downloaded_and_the_rest_left_alone(archive, tmp_path):
    root = tmp_path / "data"
    root.mkdir()
    place(root, "data_batch_1")
    kept = root / PYTHON / "data_batch_1"
    before = kept.stat()
    assert data(root).part == "whole"
    assert sorted(path.name for path in root.iterdir()) == [PYTHON]
    assert {path.name for path in (root / PYTHON).iterdir()} == {*NAMES, "batches.meta"}
    assert (kept.stat().st_ino, kept.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_a_download_that_arrives_damaged_leaves_nothing(archive, tmp_path):
    archive.write_bytes(archive.read_bytes()[:-1])
    with pytest.raises(FileNotFoundError, match="corrupted"):
        data(tmp_path / "data")
    assert not list((tmp_path / "data").iterdir())


def test_the_sums_of_the_python_version_are_those_of_torchvision():
    from torchvision.datasets import CIFAR10 as Reader

    listed = dict(Reader.train_list + Reader.test_list)
    assert listed == {name: md5 for name, md5 in MD5.items() if not name.endswith(".bin")}


def real():
    """The batches that are there of the real set."""
    train, test = module.find_batches(ROOT)
    if 1 not in train or test is None:
        pytest.skip("no CIFAR-10, or no first batch, under NODE_RUNNER_DATA or ./data")
    return train[1], test


def test_the_first_real_images_are_those_published(monkeypatch):
    """A frog and a cat: the first pixels of both and the label of neither."""
    monkeypatch.setattr(module, "MD5", MD5)
    train, test = (module.read(path) for path in real())
    assert train.shape == (10_000, 3, 32, 32)
    assert len(test) in (1000, 10_000)
    assert train[0, :, 0, 0].tolist() == [59, 62, 63]
    assert test[0, 0, 0, :3].tolist() == [158, 159, 165]
