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


def drops_over(ours, waited):
    """After each of a row of evaluations."""
    found = [0]
    for each in waited:
        found.append(ours.drops(found[-1], each))
    return found[1:]


def test_the_kth_drop_comes_when_more_than_its_wait_have_brought_nothing():
    """Those of FFJORD's tabular runs, with no improvement at all."""
    found = drops_over(Schedule(waits=[10, 20]), range(1, 40))
    assert found == [0] * 10 + [1] * 10 + [2] * 19


def test_improvement_starts_the_wait_anew_and_keeps_the_drops():
    waited = [1, 2, 3, 0, 1, 2, 3, 4, 5, 0, 1]
    assert drops_over(Schedule(waits=[2, 4]), waited) == [0, 0, 1, 1, 1, 1, 1, 1, 2, 2, 2]


def test_drops_are_one_at_a_time_never_taken_back_and_at_most_as_many_as_waits():
    ours = Schedule(waits=[3, 0, 1])
    for waited in range(50):
        for before in range(4):
            found = ours.drops(before, waited)
            assert before <= found <= min(before + 1, 3)
            assert found == before or waited > ours.waits[before]
    assert Schedule().drops(0, 10**6) == 0


def test_a_wait_of_none_drops_at_the_first_failure():
    assert drops_over(Schedule(waits=[0]), [0, 0, 1, 0, 2]) == [0, 0, 1, 1, 1]


def test_each_drop_is_a_factor_on_top_of_warmup_and_milestones():
    ours = Schedule(warmup_steps=4, milestones=[2], gamma=0.5, waits=[1, 2])
    for step in range(12):
        for drops in range(3):
            plain = ours.factor(step, 3)
            assert ours.factor(step, 3, drops) == pytest.approx(plain * 0.5**drops)


def test_the_rate_decays_at_every_step_down_to_its_floor():
    """Those of Rubanova et al. 2019: 0.999 at each step, a tenth from step 2302 on."""
    ours = Schedule(decay=0.999, floor=0.1)
    for step in (0, 1, 2, 100, 2301):
        assert ours.factor(step, 7) == pytest.approx(0.999**step)
    assert ours.factor(2301, 7) > 0.1
    assert [ours.factor(step, 7) for step in (2302, 10_000)] == [0.1, 0.1]


def test_decay_is_a_factor_on_top_of_all_others_and_the_floor_is_its_own_alone():
    plain = {"warmup_steps": 4, "milestones": [2], "gamma": 0.5, "waits": [1, 2]}
    with_decay = Schedule(**plain, decay=0.8, floor=0.3)
    for step in range(12):
        for drops in range(3):
            expected = Schedule(**plain).factor(step, 3, drops) * max(0.8**step, 0.3)
            assert with_decay.factor(step, 3, drops) == pytest.approx(expected)


def test_no_decay_is_no_change():
    assert [Schedule(floor=0.5).factor(step, 3) for step in (0, 10**6)] == [1.0, 1.0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"warmup_steps": -1}, r"schedule\.warmup_steps is -1"),
        ({"milestones": [0, 3]}, r"schedule\.milestones is \[0, 3\], must be positive"),
        ({"gamma": 0}, r"schedule\.gamma is 0, must be positive"),
        ({"waits": [10, -1]}, r"schedule\.waits is \[10, -1\], must not be negative"),
        ({"decay": 0}, r"schedule\.decay is 0, schedule\.floor 0\.0: must be from above 0"),
        ({"decay": 1.1}, r"schedule\.decay is 1\.1"),
        ({"floor": -0.1}, r"schedule\.floor -0\.1"),
        ({"floor": 2}, r"schedule\.floor 2"),
    ],
)
def test_values_out_of_range_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Schedule(**options)
