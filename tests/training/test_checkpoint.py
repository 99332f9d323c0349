import io
import os
import zipfile

import pytest
import torch
from flip_bits import checkpoint, flip
from torch import nn

from node_runner.training import CheckpointError, Checkpoints, load_checkpoint, save_checkpoint
from node_runner.training.checkpoint import check_tensors
from node_runner.training.digest import DamagedError, add_digest, verify
from node_runner.training.state import TrainingState

CPU = torch.device("cpu")


def test_what_is_saved_is_loaded_without_running_code(tmp_path):
    state = {"weights": {"w": torch.arange(3.0)}, "step": 7, "rng": torch.get_rng_state()}
    save_checkpoint(tmp_path / "last.pt", state)
    loaded = load_checkpoint(tmp_path / "last.pt")
    assert torch.equal(loaded["weights"]["w"], torch.arange(3.0))
    assert loaded["step"] == 7
    assert [file.name for file in tmp_path.iterdir()] == ["last.pt"]


def test_a_failed_write_leaves_the_old_file_good_and_nothing_beside_it(tmp_path, monkeypatch):
    path = tmp_path / "last.pt"
    save_checkpoint(path, {"step": 1})

    def full_disk(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full_disk)
    with pytest.raises(OSError, match="last.pt: No space left on device; the one there stays"):
        save_checkpoint(path, {"step": 2})
    assert load_checkpoint(path)["step"] == 1
    assert [file.name for file in tmp_path.iterdir()] == ["last.pt"]


@pytest.mark.parametrize("content", [{"code": Exception}, {"step": 3}, [1, 2]])
def test_what_is_no_checkpoint_of_ours_is_refused(content, tmp_path):
    torch.save(content, tmp_path / "foreign.pt")
    with pytest.raises(CheckpointError, match="foreign.pt is not a checkpoint of node_runner"):
        load_checkpoint(tmp_path / "foreign.pt")


def whole(step):
    buffer = io.BytesIO()
    torch.save({"format": 1, "step": step, "w": torch.randn(100)}, buffer)
    return buffer.getvalue()


@pytest.mark.parametrize("kept", [0.0, 0.01, 0.5, 0.99])
def test_a_checkpoint_cut_short_gives_way_to_the_one_before(kept, tmp_path, caplog):
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    checkpoints.save({"step": 1})
    checkpoints.save({"step": 2})
    assert checkpoints.newest(CPU)["step"] == 2
    content = whole(2)
    checkpoints.last.write_bytes(content[: int(kept * len(content))])
    assert checkpoints.newest(CPU)["step"] == 1
    assert "last.pt is " in caplog.text
    assert "going on from the one before it" in caplog.text
    checkpoints.save({"step": 3})
    assert load_checkpoint(checkpoints.previous)["step"] == 1  # the damaged one has not taken over
    checkpoints.last.write_bytes(content[: int(kept * len(content))])
    checkpoints.previous.unlink()
    with pytest.raises(CheckpointError, match=r"last\.pt is"):
        checkpoints.newest(CPU)


def test_the_three_checkpoints_of_a_run(tmp_path):
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    for step, best in ((1, True), (2, True), (3, False), (4, False)):
        checkpoints.save({"step": step}, best)
    files = (checkpoints.last, checkpoints.previous, checkpoints.best)
    assert [load_checkpoint(path)["step"] for path in files] == [4, 3, 2]
    assert len(list(checkpoints.folder.iterdir())) == 3


def test_a_checkpoint_of_another_net_is_told_apart_by_name():
    own = {"w": torch.zeros(3, 2), "b": torch.zeros(3)}
    check_tensors(own, own, "here")
    for found, message in (
        ({"w": torch.zeros(3, 2)}, "last.pt has no b, which"),
        ({**own, "c": torch.zeros(1)}, "last.pt has c, which the configuration does not"),
        ({**own, "w": torch.zeros(2, 3)}, r"w has shape \(2, 3\), not \(3, 2\) as configured"),
    ):
        with pytest.raises(CheckpointError, match=message):
            check_tensors(own, found, "last.pt")


def test_a_changed_bit_is_noticed_wherever_it_is(tmp_path):
    assert set(flip(150, seed=2, folder=tmp_path)) == {"refused"}


def test_each_byte_of_headers_padding_directory_and_digest_counts(tmp_path):
    checkpoint(tmp_path / "good.pt")
    content = (tmp_path / "good.pt").read_bytes()
    inside = set()
    with zipfile.ZipFile(tmp_path / "good.pt") as archive:  # still an archive like any other
        assert archive.comment.startswith(b"node_runner sha256 ")
        for record in archive.infolist():
            start = content.index(archive.read(record), record.header_offset)
            inside |= set(range(start, start + record.file_size))
    outside = [at for at in range(len(content)) if at not in inside]
    for at in outside[::97]:
        changed = bytearray(content)
        changed[at] ^= 0x10
        (tmp_path / "changed.pt").write_bytes(changed)
        with pytest.raises(CheckpointError, match="changed.pt is (damaged|not a checkpoint)"):
            load_checkpoint(tmp_path / "changed.pt")


def test_a_checkpoint_of_an_earlier_version_is_loaded_and_its_records_are_checked(tmp_path, caplog):
    path = tmp_path / "old.pt"
    caplog.set_level("INFO")
    path.write_bytes(whole(7))
    for _ in range(2):
        assert load_checkpoint(path)["step"] == 7
    assert caplog.text.count("old.pt has no digest") == 1
    changed = bytearray(path.read_bytes())
    changed[changed.index(load_checkpoint(path)["w"].numpy().tobytes()) + 5] ^= 1
    path.write_bytes(changed)
    with pytest.raises(CheckpointError, match="old.pt is damaged: the digest of .*data/0"):
        load_checkpoint(path)


def text(path):
    path.write_text("not a checkpoint")


def device(path):
    path.symlink_to("/dev/zero")


NOT_CHECKPOINTS = {
    "text": (text, "is not a checkpoint of node_runner"),
    "empty": (lambda path: path.touch(), "is empty"),
    "folder": (lambda path: path.mkdir(), "cannot be read"),
    "fifo": (os.mkfifo, "is not a file"),
    "device": (device, "is not a file"),
    "absent": (lambda path: None, "is absent"),
    "archive": (lambda path: zipfile.ZipFile(path, "w").close(), "is not a checkpoint"),
    "other archive": (
        lambda path: zipfile.ZipFile(path, "w").writestr("a", "b"),
        "is damaged: it is cut short|directory",
    ),
}


@pytest.mark.parametrize("kind", NOT_CHECKPOINTS)
def test_what_is_not_a_checkpoint_is_refused_at_once(kind, tmp_path):
    make, message = NOT_CHECKPOINTS[kind]
    make(tmp_path / "x.pt")
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(tmp_path / "x.pt")


def net():
    return nn.Linear(2, 2)


def training(ema=0.9):
    task = net()
    state = TrainingState.begin(task, torch.optim.Adam(task.parameters()), ema)
    task(torch.ones(1, 2)).sum().backward()
    state.optimizer.step()
    state.means.add({"train/loss": torch.zeros(())}, {})
    state.progress.step = 1
    state.optimizer.param_groups[0]["initial_lr"] = 1e-3
    return state


def spoil(state, *path, value=None):
    """The state with one of its parts replaced, or taken away if ``value`` is None."""
    node = state
    for key in path[:-1]:
        node = node[key]
    if value is None:
        del node[path[-1]]
    else:
        node[path[-1]] = value
    return state


PARTS = ["task", "optimizer", "ema", "progress", "means", "random"]
SPOILT = [(part,) for part in PARTS]
SPOILT += [("progress", name) for name in ("step", "seconds", "best", "best_step", "waited")]
SPOILT += [("random", "torch"), ("random", "numpy"), ("random", "python"), ("means", "count")]
SPOILT += [("optimizer", "state", 0, "exp_avg"), ("optimizer", "param_groups", 0, "lr")]
SPOILT += [("optimizer", "param_groups", 0, "betas"), ("optimizer", "param_groups", 0, "params")]
SPOILT += [("optimizer", "param_groups", 0), ("task", "weight"), ("ema", "module.bias")]
SHORT = [
    (path, torch.zeros(3)) for path in (("task", "weight"), ("optimizer", "state", 0, "exp_avg"))
]
SHORT += [(("random", "torch"), torch.zeros(7, dtype=torch.uint8)), (("progress", "step"), -1)]
SHORT += [(("random", "torch"), torch.zeros(5056)), (("task", "weight"), torch.eye(2).double())]
SHORT += [(("random", "python"), [3, [1, 2], None]), (("random", "python"), [3, [-1] * 625, None])]
SHORT += [(("random", "numpy", "state", "key"), torch.zeros(3, dtype=torch.int64))]
SHORT += [(("means", "tensors"), {"a": torch.zeros(3)}), (("progress", "more"), 1)]


@pytest.mark.parametrize(
    ("path", "value"),
    [*((path, None) for path in SPOILT), *((path, "odd") for path in SPOILT), *SHORT],
    ids=str,
)
def test_a_part_that_is_missing_or_of_another_kind_is_refused(path, value):
    state = spoil(training().state_dict(), *path, value=value)
    with pytest.raises(CheckpointError, match="here"):
        training().load_state_dict(state, "here")


@pytest.mark.parametrize("kept", [None, 0.5])
def test_a_moving_average_that_is_missing_or_not_asked_for_is_refused(kept):
    other = 0.5 if kept is None else None
    with pytest.raises(CheckpointError, match="moving average"):
        training(kept).load_state_dict(training(other).state_dict(), "here")


def test_best_weights_that_a_kill_left_in_last_pt_alone_are_put_into_best_pt(tmp_path):
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    for step in (1, 2):
        checkpoints.save({"progress": {"step": step, "best_step": step}}, best=step == 1)
    checkpoints.mend_best(load_checkpoint(checkpoints.last))
    assert load_checkpoint(checkpoints.best)["progress"]["step"] == 2


def test_best_pt_stands_in_where_the_two_others_are_damaged(tmp_path, caplog):
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    for step in (1, 2):
        checkpoints.save({"step": step}, best=step == 1)
    for path in (checkpoints.last, checkpoints.previous):
        path.unlink()
        os.mkfifo(path)
    assert checkpoints.newest(CPU)["step"] == 1
    assert "best.pt" in caplog.text
    checkpoints.save({"step": 3})
    assert load_checkpoint(checkpoints.last)["step"] == 3


def test_an_archive_with_numbers_of_64_bits_is_verified(monkeypatch):
    monkeypatch.setattr("zipfile.ZIP64_LIMIT", 50)  # as if it held more than 4 GiB
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as made:
        for name in ("a", "b"):
            made.writestr(name, 100 * name)
    add_digest(archive)
    content = archive.getvalue()
    assert verify(content)
    for at in (60, 200, len(content) - 100):
        changed = bytearray(content)
        changed[at] ^= 1
        with pytest.raises(DamagedError):
            verify(bytes(changed))
