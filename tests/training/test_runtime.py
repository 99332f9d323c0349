import copy
import json

import pytest
import torch
from torch import nn

from node_runner.training import Runtime
from node_runner.training.memory import peak_mib
from node_runner.training.runtime import environment


def test_a_seed_sets_the_generator():
    Runtime("cpu").apply(7)
    first = torch.rand(3)
    Runtime("cpu").apply(7)
    assert torch.equal(first, torch.rand(3))


@pytest.mark.skipif(torch.cuda.is_available(), reason="a CUDA device is here")
def test_an_absent_device_is_refused():
    with pytest.raises(ValueError, match="use runtime=cpu"):
        Runtime("cuda").apply(0)


def test_other_devices_and_no_threads_are_refused():
    with pytest.raises(ValueError, match="choose from auto, cpu, cuda"):
        Runtime("tpu").apply(0)
    with pytest.raises(ValueError, match=r"threads is 0"):
        Runtime("cpu", threads=0).apply(0)


def test_the_environment_can_be_written_down():
    found = environment(torch.device("cpu"))
    assert json.loads(json.dumps(found))["versions"]["torch"] in torch.__version__


class Square(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 4)

    def forward(self, t, x):
        return self.linear(x) * t


def test_a_field_in_bfloat16_rounds_but_keeps_the_type_of_the_state(caplog):
    field = Square()
    t, x = torch.tensor(0.7), torch.randn(64, 4)
    exact = field(t, x)
    Runtime("cpu", amp=True).prepare(field)
    rounded = field(t, x)
    assert rounded.dtype == torch.float32
    assert 1e-4 < (rounded - exact).abs().max() < 0.1
    assert "takes more steps" in caplog.text
    twin = copy.deepcopy(field)
    with torch.no_grad():
        twin.linear.weight.zero_()
    assert torch.equal(field(t, x), rounded)
    assert not torch.equal(twin(t, x), rounded)


def test_a_compiled_field_keeps_its_names_and_its_values(monkeypatch):
    whole = nn.Module.compile
    monkeypatch.setattr(nn.Module, "compile", lambda self: whole(self, backend="eager"))  # quick
    field = Square()
    names, t, x = list(field.state_dict()), torch.tensor(0.7), torch.randn(5, 4)
    exact = field(t, x)
    Runtime("cpu", compile=True).prepare(field)
    assert list(field.state_dict()) == names
    assert field._compiled_call_impl is not None
    torch.testing.assert_close(field(t, x), exact)


def test_precision_is_full_unless_asked():
    try:
        Runtime("cpu", tf32=True).apply(0)
        assert torch.get_float32_matmul_precision() == "high"
        assert torch.backends.cudnn.allow_tf32
    finally:
        Runtime("cpu").apply(0)
    assert torch.get_float32_matmul_precision() == "highest"
    assert not torch.backends.cudnn.allow_tf32


def test_peak_memory_starts_anew_with_a_run():
    before = torch.ones(64 * 2**20 // 4)
    high = peak_mib(torch.device("cpu"))
    del before
    Runtime("cpu").apply(0)
    assert peak_mib(torch.device("cpu")) <= high
