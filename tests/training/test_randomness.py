import random

import numpy
import torch

from node_runner.training import load_checkpoint, save_checkpoint
from node_runner.training.randomness import (
    random_state,
    seed_all,
    set_random_state,
    unchanged_randomness,
)


def draw():
    return [torch.randn(2).tolist(), random.gauss(0, 1), random.random(), *numpy.random.randn(3)]


def test_all_generators_go_on_from_a_checkpoint(tmp_path):
    seed_all(3)
    draw()
    save_checkpoint(tmp_path / "c.pt", {"random": random_state()})
    expected = [draw(), draw()]
    seed_all(4)
    set_random_state(load_checkpoint(tmp_path / "c.pt")["random"])
    assert [draw(), draw()] == expected


def test_draws_inside_are_the_same_each_time_and_leave_no_trace():
    seed_all(3)
    expected = draw()
    seed_all(3)
    with unchanged_randomness(1):
        one = draw()
    with unchanged_randomness(1):
        two = draw()
    assert one == two != expected
    assert draw() == expected
