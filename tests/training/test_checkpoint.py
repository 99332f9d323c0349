import io

import pytest
import torch

from node_runner.training import CheckpointError, Checkpoints, load_checkpoint, save_checkpoint
from node_runner.training.checkpoint import check_tensors

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
    with pytest.raises(CheckpointError, match="foreign.pt is no checkpoint of node_runner"):
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
