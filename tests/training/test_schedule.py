import pytest
import torch
from torch.optim.lr_scheduler import MultiStepLR

from node_runner.training import Schedule


def test_milestones_are_those_of_torch():
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    peer = MultiStepLR(optimizer, [6, 9], gamma=0.5)
    ours = Schedule(milestones=[2, 3], gamma=0.5)
    for step in range(14):
        assert ours.factor(step, 3) == pytest.approx(peer.get_last_lr()[0])
        optimizer.step()
        peer.step()


def test_the_rate_grows_linearly_to_its_full_value():
    ours = Schedule(warmup_steps=4)
    assert [ours.factor(step, 10) for step in range(6)] == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"warmup_steps": -1}, r"schedule\.warmup_steps is -1"),
        ({"milestones": [0, 3]}, r"schedule\.milestones is \[0, 3\], must be positive"),
        ({"gamma": 0}, r"schedule\.gamma is 0, must be positive"),
    ],
)
def test_values_out_of_range_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Schedule(**options)
