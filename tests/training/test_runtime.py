import json

import pytest
import torch

from node_runner.training import Runtime
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
    with pytest.raises(ValueError, match=r"runtime\.threads is 0"):
        Runtime("cpu", threads=0).apply(0)


def test_the_environment_can_be_written_down():
    found = environment(torch.device("cpu"))
    assert json.loads(json.dumps(found))["versions"]["torch"] in torch.__version__
