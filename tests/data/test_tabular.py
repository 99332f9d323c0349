"""What every set of rows promises, and the sets whose real files are there."""

import numpy as np
import pytest
import torch
from real_data import ROOT
from tabular_cases import CPU, agree, placed, rows

from node_runner.data import power
from node_runner.data.bsds300 import Bsds300
from node_runner.data.gas import Gas
from node_runner.data.hepmass import Hepmass
from node_runner.data.miniboone import Miniboone
from node_runner.data.npy import Npy
from node_runner.data.power import Power
from node_runner.data.protein import Protein
from node_runner.data.tabular import describe_part, head_tail_split


@pytest.fixture
def npy(tmp_path):
    folder = placed(tmp_path, train=rows(50, 3), val=rows(7, 3, 1), test=rows(9, 3, 2))
    return lambda seed=0, **options: Npy(seed, CPU, str(folder), **{"batch_size": 8, **options})


def test_an_epoch_sees_each_row_at_most_once_and_drops_the_last_smaller_batch(npy):
    data = npy()
    assert data.steps_per_epoch == 6
    epochs = [torch.cat([data.train_batch(6 * e + i) for i in range(6)]) for e in range(2)]
    everything = {tuple(row) for row in data.splits["train"].tolist()}
    for epoch in epochs:
        seen = {tuple(row) for row in epoch.tolist()}
        assert len(seen) == 48
        assert seen <= everything
    assert not torch.equal(*epochs)


def test_a_batch_depends_on_the_seed_and_the_step_alone(npy):
    one, same, other = npy(1), npy(1), npy(2)
    late = one.train_batch(13)
    assert late.shape == (8, 3)
    for step in (20, 0, 6):
        same.train_batch(step)
    assert torch.equal(same.train_batch(13), late)
    assert not torch.equal(other.train_batch(13), late)


def test_evaluation_covers_a_split_in_order(npy):
    data = npy(evaluation_size=4)
    batches = list(data.batches("test"))
    assert [len(batch) for batch in batches] == [4, 4, 1]
    assert torch.equal(torch.cat(batches), torch.from_numpy(rows(9, 3, 2)).float())


def test_arrays_are_used_as_they_are_unless_standardised(npy):
    train, val, test = rows(50, 3), rows(7, 3, 1), rows(9, 3, 2)
    agree(npy(), (train, val, test))
    agree(npy(standardise=True), [(x - train.mean(0)) / train.std(0) for x in (train, val, test)])
    assert npy().part.endswith("as it is")


@pytest.mark.parametrize("option", ["batch_size", "evaluation_size"])
def test_sizes_out_of_range_are_refused(npy, option):
    with pytest.raises(ValueError, match=rf"{option} is 0"):
        npy(**{option: 0})
    with pytest.raises(ValueError, match=r"batch_size is 51, must be 1 to 50"):
        npy(batch_size=51)


@pytest.mark.parametrize(
    ("n", "sizes"),
    [
        (2_049_280, (1_659_917, 184_435, 204_928)),  # POWER
        (1_052_065, (852_174, 94_685, 105_206)),  # GAS
        (36_488, (29_556, 3_284, 3_648)),  # MINIBOONE
    ],
)
def test_whole_sets_split_into_the_published_sizes(n, sizes):
    assert tuple(map(len, head_tail_split(np.empty((n, 0)), "it"))) == sizes
    assert describe_part(n, n) == "whole"


def real(build):
    """A set from real files, or a skip where they are absent."""
    try:
        return build(0, CPU, str(ROOT), batch_size=100)
    except FileNotFoundError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("build", [Power, Gas, Hepmass, Miniboone, Bsds300, Protein])
def test_real_sets_are_whole_or_say_which_part_they_are(build):
    dimensions = {"power": 6, "gas": 8, "hepmass": 21, "miniboone": 43, "bsds300": 63}
    data = real(build)
    assert data.shape == (dimensions.get(data.name, 10),)
    x = data.splits["train"]
    if data.name != "bsds300":
        assert x.mean(dim=0).abs().max() < 0.05
        assert (x.std(dim=0) - 1).abs().max() < 0.05
    assert len(x.unique(dim=0)) == len(x)
    assert str(sum(data.sizes.values())) in data.part or data.part == "whole"


@pytest.mark.parametrize("name", list(power.MD5))
def test_the_known_describe_part_power_is_the_first_month(name):
    if not (ROOT / "power" / f"{name}.txt.gz").exists():
        pytest.skip(f"no power/{name}.txt.gz")
    data = real(Power)
    assert data.part == "first 37283 of 2049280 rows"
    assert data.sizes == {"train": 30_200, "validation": 3_355, "test": 3_728}
