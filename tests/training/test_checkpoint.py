import pytest
import torch

from node_runner.training import load_checkpoint, save_checkpoint


def test_what_is_saved_is_loaded_without_running_code(tmp_path):
    state = {"weights": {"w": torch.arange(3.0)}, "step": 7, "rng": torch.get_rng_state()}
    save_checkpoint(tmp_path / "last.pt", state)
    loaded = load_checkpoint(tmp_path / "last.pt")
    assert torch.equal(loaded["weights"]["w"], torch.arange(3.0))
    assert loaded["step"] == 7
    assert [file.name for file in tmp_path.iterdir()] == ["last.pt"]


def test_a_failed_write_leaves_the_old_file_good(tmp_path, monkeypatch):
    path = tmp_path / "last.pt"
    save_checkpoint(path, {"step": 1})

    def full_disk(state, file):
        file.write(b"half of a checkp")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full_disk)
    with pytest.raises(OSError, match="No space left"):
        save_checkpoint(path, {"step": 2})
    assert load_checkpoint(path)["step"] == 1


def test_a_pickle_is_refused(tmp_path):
    torch.save({"code": Exception}, tmp_path / "foreign.pt")
    with pytest.raises(Exception, match="weights_only"):
        load_checkpoint(tmp_path / "foreign.pt")
