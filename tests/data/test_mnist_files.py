"""MNIST's files: whole, damaged, absent, downloaded. Small ones in the place of the real."""

import gzip
import hashlib
import os
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest
import torch

from node_runner.data import mnist as module
from node_runner.data.mnist import FILES, MD5, load


def idx(*shape):
    """A small IDX file of random bytes."""
    values = torch.randint(256, shape, dtype=torch.uint8).numpy().tobytes()
    sizes = b"".join(n.to_bytes(4, "big") for n in shape)
    return bytes([0, 0, 8, len(shape)]) + sizes + values


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A folder and the address at which it is served."""
    folder = tmp_path_factory.mktemp("mirror")
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=folder)) as http:
        threading.Thread(target=http.serve_forever, daemon=True).start()
        yield folder, f"http://127.0.0.1:{http.server_port}/"
        http.shutdown()


@pytest.fixture
def mirror(server):
    """The one folder that MNIST is downloaded from, empty."""
    for path in server[0].iterdir():
        path.unlink()
    return server[0]


@pytest.fixture
def raw(tmp_path, monkeypatch, server, mirror):
    """The eight files, small ones, in the place of MNIST's."""
    from torchvision.datasets import MNIST as Reader

    folder = tmp_path / "data" / "MNIST" / "raw"
    folder.mkdir(parents=True)
    shapes = [(3, 28, 28), (3,), (2, 28, 28), (2,)]
    for name, shape in zip(FILES, shapes, strict=True):
        content = idx(*shape)
        (folder / name).write_bytes(content)
        (folder / f"{name}.gz").write_bytes(gzip.compress(content))
    sums = {name: hashlib.md5((folder / name).read_bytes()).hexdigest() for name in MD5}
    monkeypatch.setattr(module, "MD5", sums)
    monkeypatch.setattr(Reader, "resources", [(f"{n}.gz", sums[f"{n}.gz"]) for n in FILES])
    monkeypatch.setattr(Reader, "mirrors", [server[1]])
    monkeypatch.setenv("no_proxy", "*")
    return folder


def root_of(raw):
    return raw.parents[1]


def same(some, others):
    return all(torch.equal(a, b) for a, b in zip(some, others, strict=True))


def test_either_form_of_each_file_is_enough(raw):
    whole = load(root_of(raw))
    assert [tuple(values.shape) for values in whole] == [(3, 28, 28), (3,), (2, 28, 28), (2,)]
    for i in range(2 ** len(FILES)):
        hidden = [raw / (name + ".gz" * (i >> bit & 1)) for bit, name in enumerate(FILES)]
        for path in hidden:
            path.rename(path.with_suffix(".hidden"))
        assert same(load(root_of(raw)), whole)
        for path in hidden:
            path.with_suffix(".hidden").rename(path)


@pytest.mark.parametrize("name", MD5)
def test_one_flipped_bit_or_another_length_of_any_file_is_refused(raw, name):
    path = raw / name
    good = path.read_bytes()
    generator = torch.Generator().manual_seed(0)
    bad = [b"", good[:-1], good + b"\0", good[: len(good) // 2]]
    for i in (0, len(good) - 1, *torch.randint(len(good), (5,), generator=generator).tolist()):
        bit = 1 << int(torch.randint(8, (), generator=generator))
        bad.append(good[:i] + bytes([good[i] ^ bit]) + good[i + 1 :])
    for content in bad:
        path.write_bytes(content)
        with pytest.raises(ValueError) as caught:
            load(root_of(raw))
        message = str(caught.value)
        assert message.startswith(f"{path} is damaged")
        assert hashlib.md5(content).hexdigest() in message
        assert module.MD5[name] in message
        assert "delete it" in message
        assert "\n" not in message
        assert path.read_bytes() == content  # it is the user's: nothing overwrites it


@pytest.mark.parametrize("reached", [True, False])
def test_absent_files_are_named_with_where_to_put_them_and_how_to_fetch_them(
    raw, reached, monkeypatch
):
    """Whether the mirror can be reached, and has nothing, or not."""
    if not reached:
        monkeypatch.setattr("torchvision.datasets.MNIST.mirrors", ["http://127.0.0.1:1/"])
    gone, rest = FILES[1:3], [FILES[0], FILES[3]]
    for name in gone:
        (raw / name).unlink()
        (raw / f"{name}.gz").unlink()
    left = sorted(raw.iterdir())
    with pytest.raises(FileNotFoundError) as caught:
        load(root_of(raw))
    message = str(caught.value)
    for text in (*gone, str(raw), "NODE_RUNNER_DATA", "paths.data"):
        assert text in message
    assert "node-run mode=fetch task=odenet_mnist" in message
    assert not any(name in message for name in rest)
    assert "\n" not in message
    assert sorted(raw.iterdir()) == left  # nothing half done


def test_what_is_absent_is_downloaded_and_the_rest_left_alone(raw, mirror):
    whole = load(root_of(raw))
    for name in FILES:
        (mirror / f"{name}.gz").write_bytes((raw / f"{name}.gz").read_bytes())
    kept = raw / FILES[0]
    for path in raw.iterdir():
        if path != kept:
            path.unlink()
    before = kept.stat()
    assert same(load(root_of(raw)), whole)
    assert sorted(path.name for path in raw.iterdir()) == sorted(FILES)
    assert kept.stat().st_mtime_ns == before.st_mtime_ns


def test_a_download_that_arrives_damaged_leaves_nothing(raw, mirror):
    for path in list(raw.iterdir()):
        if path.suffix == ".gz":
            (mirror / path.name).write_bytes(path.read_bytes()[:-1])
        path.unlink()
    with pytest.raises(FileNotFoundError, match="corrupted"):
        load(root_of(raw))
    assert not list(raw.iterdir())


@pytest.mark.parametrize("depth", [0, 1, 2, 3])
def test_a_root_that_is_no_folder_or_a_file_that_is_one_is_told_in_one_line(depth, tmp_path, raw):
    parts = ["other", "MNIST", "raw", FILES[0]]
    path = tmp_path.joinpath(*parts[: depth + 1])
    path.parent.mkdir(parents=True, exist_ok=True)
    if depth < 3:
        path.write_text("not a folder")
    else:
        path.mkdir()
    with pytest.raises(OSError) as caught:
        load(tmp_path / "other")
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written_or_read_is_told_in_one_line(raw):
    for path in list(raw.iterdir()):
        path.unlink()
    for mode in (0o500, 0o000):
        raw.chmod(mode)
        try:
            with pytest.raises(OSError, match="Permission denied"):
                load(root_of(raw))
        finally:
            raw.chmod(0o700)


def test_the_sums_of_the_archives_are_those_of_torchvision():
    from torchvision.datasets import MNIST as Reader

    assert dict(Reader.resources) == {n: md5 for n, md5 in MD5.items() if n.endswith(".gz")}
