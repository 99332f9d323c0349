"""The factor of each step: formulas, drops, and the schedulers of torch."""

from functools import partial

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.optim import lr_scheduler

from node_runner.training import Schedule
from node_runner.training.state import Progress

STEPS = 40
PEERS = {
    "cosine": partial(lr_scheduler.CosineAnnealingLR, eta_min=0.1),
    "onecycle": partial(lr_scheduler.OneCycleLR, max_lr=1.0),
    "polynomial": partial(lr_scheduler.PolynomialLR, power=2.0),
    "of its own length": partial(lr_scheduler.CosineAnnealingLR, T_max=7),
    "steps": partial(lr_scheduler.StepLR, step_size=5),
}
LENGTHS = {"cosine": "T_max", "onecycle": "total_steps", "polynomial": "total_iters"}


def rates(schedule, first=0, steps=STEPS):
    """Learning rates of an optimizer of rate 0.3, from a step on."""
    optimizer = torch.optim.Adam([torch.zeros(1)], lr=0.3)
    optimizer.param_groups[0]["initial_lr"] = 0.3  # as in a checkpoint
    scheduler = schedule.start(optimizer, STEPS, 10, Progress(step=first))
    for _ in range(first, steps):
        yield optimizer.param_groups[0]["lr"]
        optimizer.step()
        scheduler.step()


@pytest.mark.parametrize("name", PEERS)
def test_a_scheduler_of_torch_gives_its_rates_on_top_of_the_warmup(name):
    lengths = {LENGTHS[name]: STEPS} if name in LENGTHS else {}
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0, momentum=0.5)
    peer, expected = PEERS[name](optimizer, **lengths), []
    for step in range(STEPS):
        expected.append(0.3 * peer.get_last_lr()[0] * min(1, (step + 1) / 4))
        optimizer.step()
        peer.step()
    assert list(rates(Schedule(4, scheduler=PEERS[name]))) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("name", [None, *PEERS])
def test_a_schedule_resumed_at_any_step_has_the_same_rates_bit_by_bit(name):
    options = {"milestones": [2], "decay": 0.99, "scheduler": PEERS.get(name)}
    whole = list(rates(Schedule(3, **options)))
    for step in (1, 6, 7, 8, 39):
        assert list(rates(Schedule(3, **options), step)) == whole[step:]


def test_milestones_are_those_of_torch():
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    peer = lr_scheduler.MultiStepLR(optimizer, [6, 9], gamma=0.5)
    ours = Schedule(milestones=[2, 3], gamma=0.5)
    for step in range(14):
        assert ours.factor(step, 3) == pytest.approx(peer.get_last_lr()[0])
        optimizer.step()
        peer.step()


def test_the_rate_grows_linearly_to_its_full_value():
    ours = Schedule(warmup_steps=4)
    assert [ours.factor(step, 10) for step in range(6)] == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]


def test_the_rate_decays_at_every_step_down_to_its_floor():
    """Those of Rubanova et al. 2019: 0.999 at each step, a tenth from step 2302 on."""
    ours = Schedule(decay=0.999, floor=0.1)
    for step in (0, 1, 2, 100, 2301):
        assert ours.factor(step, 7) == pytest.approx(0.999**step)
    assert ours.factor(2301, 7) > 0.1
    assert [ours.factor(step, 7) for step in (2302, 10_000)] == [0.1, 0.1]


@given(
    step=st.integers(0, 10**4), drops=st.integers(0, 3), warmup=st.integers(0, 9), m=st.integers(1)
)
def test_all_factors_multiply_and_the_floor_is_that_of_the_decay(step, drops, warmup, m):
    ours = Schedule(warmup, [m], 0.5, [1, 2], decay=0.8, floor=0.3)
    expected = 0.5 ** (drops + (step >= 3 * m)) * max(0.8**step, 0.3)
    expected *= min(1, (step + 1) / warmup) if warmup else 1
    assert ours.factor(step, 3, drops) == pytest.approx(expected)


DROPS = [  # waits, evaluations in a row without improvement, drops after each
    ([10, 20], range(1, 40), [0] * 10 + [1] * 10 + [2] * 19),  # FFJORD's tabular runs
    ([2, 4], [1, 2, 3, 0, 1, 2, 3, 4, 5, 0, 1], [0, 0, 1, 1, 1, 1, 1, 1, 2, 2, 2]),
    ([0], [0, 0, 1, 0, 2], [0, 0, 1, 1, 1]),
    ([], [10**6], [0]),
]


@pytest.mark.parametrize(("waits", "waited", "expected"), DROPS)
def test_the_kth_drop_comes_when_more_than_its_wait_have_brought_nothing(waits, waited, expected):
    ours, found = Schedule(waits=waits), [0]
    for count in waited:
        found.append(ours.drops(found[-1], count))
    assert found[1:] == expected


def test_drops_are_one_at_a_time_never_taken_back_and_at_most_as_many_as_waits():
    ours = Schedule(waits=[3, 0, 1])
    for waited in range(50):
        for before in range(4):
            found = ours.drops(before, waited)
            assert before <= found <= min(before + 1, 3)
            assert found == before or waited > ours.waits[before]


@pytest.mark.parametrize(
    ("name", "value"),
    [("warmup_steps", -1), ("milestones", [0, 3]), ("gamma", 0), ("waits", [10, -1])]
    + [("decay", 0), ("decay", 1.1), ("floor", -0.1), ("floor", 2)]
    + [("scheduler", lr_scheduler.ReduceLROnPlateau), ("scheduler", lr_scheduler.StepLR)]
    + [("scheduler", torch.optim.Adam), ("scheduler", dict)],
)
def test_values_out_of_range_are_refused_by_name(name, value):
    with pytest.raises(ValueError, match=f"^{name} [^\n]*$"):
        Schedule(**{name: value})
