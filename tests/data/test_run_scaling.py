"""Rows seen as a run saw its own: with the run's scaling, whatever rows they are."""

from __future__ import annotations

import io
import logging
import re

import numpy as np
import physionet_cases
import pytest
import torch
from tabular_cases import CPU, as_text, placed, rows

from node_runner.data.gas import Gas
from node_runner.data.hepmass import Hepmass
from node_runner.data.hopper import Hopper
from node_runner.data.miniboone import Miniboone
from node_runner.data.npy import Npy
from node_runner.data.physionet import PhysioNet
from node_runner.data.power import Power
from node_runner.data.scaling import Scaling, z_score


def place_power(root, size, seed):
    placed(root / "power", data=size * rows(60, 8, seed) + seed)
    return Power, {"root": str(root)}


def place_gas(root, size, seed):
    """Of the first files another column correlates with its neighbour than of the others."""
    x = size * rows(200, 19, seed)
    x[:, 4 + seed] = x[:, 10] * 1.1
    as_text(root / "gas" / "ethylene_CO.txt", x, "  ", ["header"])
    return Gas, {"root": str(root)}


def place_hepmass(root, size, seed):
    for split, n in (("train", 80), ("test", 40)):
        x = size * rows(n, 28, n + seed)
        x[:, 0] = np.arange(n) % 2
        x[1::14, 5 + seed] = -9 * size  # of another column in the other files
        as_text(root / "hepmass" / f"1000_{split}.csv", x, ",", ["label"])
    return Hepmass, {"root": str(root)}


def place_miniboone(root, size, seed):
    placed(root / "miniboone", data=size * rows(60, 43, seed) + seed)
    return Miniboone, {"root": str(root)}


def place_npy(root, size, seed):
    parts = {name: size * rows(20, 3, seed + i) for i, name in enumerate(("train", "val", "test"))}
    return Npy, {"folder": str(placed(root, **parts)), "standardise": True}


def place_hopper(root, size, seed):
    generator = torch.Generator().manual_seed(seed)
    (root / "HopperPhysics").mkdir(parents=True)
    x = size * torch.randn(20, 200, 14, generator=generator).double()
    torch.save(x, root / "HopperPhysics" / "training.pt")
    return Hopper, {"root": str(root)}


def place_physionet(root, size, seed):
    physionet_cases.placed(root, physionet_cases.records(range(1, 20), seed=seed))
    return PhysioNet, {"root": str(root), "sets": "a"}


PLACES = [place_power, place_gas, place_hepmass, place_miniboone, place_npy]
PLACES += [place_hopper, place_physionet]


def values(data, split="test"):
    """What a model sees of a split, and where it is observed."""
    batches = list(data.batches(split))
    if isinstance(batches[0], torch.Tensor):
        return torch.cat(batches), torch.tensor(True)
    target = batches[0].target
    return target.values, target.mask


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.__name__)
def test_other_rows_have_the_scaling_and_the_columns_of_the_run(place, tmp_path):
    cls, here = place(tmp_path / "run", 1.0, 0)
    run = cls(0, CPU, **here, batch_size=4)
    cls, there = place(tmp_path / "others", 3.0, 1)
    others, own = (cls(0, CPU, **there, batch_size=4, state=s) for s in (run.state_dict(), None))
    assert not np.allclose(others.scaling.scale, own.scaling.scale)
    assert np.array_equal(others.scaling.shift, run.scaling.shift)
    u, mask = values(others)
    if run.scaling.columns is None:  # those of the file, whichever scaling they are seen in
        x, again = (each.scaling.undo(values(each)[0]) for each in (own, others))
        torch.testing.assert_close((again * mask), x * mask, rtol=1e-5, atol=1e-5)
    else:
        assert np.array_equal(others.scaling.columns, run.scaling.columns)
        assert not np.array_equal(own.scaling.columns, run.scaling.columns)
    assert torch.equal(
        values(run)[0], values(cls(0, CPU, **here, batch_size=4, state=others.state_dict()))[0]
    )
    assert u.shape[-1] == len(run.scaling.shift)


def test_a_state_survives_a_checkpoint(tmp_path):
    scaling = z_score(1e7 + rows(50, 3), "it", columns=np.array([0, 2, 5]))
    content = io.BytesIO()
    torch.save(scaling.state_dict(), content)
    content.seek(0)
    cls, here = place_npy(tmp_path, 1.0, 0)
    found = cls(0, CPU, **here, batch_size=4, state=torch.load(content, weights_only=True)).scaling
    assert all(
        np.array_equal(one, two)
        for one, two in zip(vars(found).values(), vars(scaling).values(), strict=True)
    )
    assert found.summary()["nats"] == pytest.approx(np.log(scaling.scale).sum())


def test_one_row_can_be_evaluated(tmp_path):
    """It has no deviation of its own, and needs none."""
    cls, here = place_npy(tmp_path / "run", 1.0, 0)
    state = cls(0, CPU, **here, batch_size=4).state_dict()
    one = {name: rows(1, 3) for name in ("train", "val", "test")}
    folder = placed(tmp_path / "one", **one)
    data = Npy(0, CPU, str(folder), batch_size=1, standardise=True, state=state)
    scaling = Scaling(*(state[key].numpy() for key in ("shift", "scale")))
    np.testing.assert_allclose(data.splits["test"].numpy(), scaling(one["test"]), rtol=1e-6)
    with pytest.raises(ValueError, match="train.npy: column 0 .* is constant, and"):
        Npy(0, CPU, str(folder), batch_size=1, standardise=True)


def test_rows_of_another_width_are_refused(tmp_path):
    cls, here = place_npy(tmp_path / "run", 1.0, 0)
    state = z_score(rows(50, 5), "it").state_dict()
    with pytest.raises(ValueError, match=r"train.npy has shape \[20, 3\], must be \[rows, 5\]"):
        cls(0, CPU, **here, batch_size=4, state=state)
    cls, here = place_power(tmp_path / "power", 1.0, 0)
    with pytest.raises(ValueError, match="power has 6 columns, and the run was scaled by 5"):
        cls(0, CPU, **here, batch_size=4, state=state)


@pytest.mark.parametrize("jitter", [0.0, 1.5e-11])
def test_a_column_that_is_constant_to_rounding_cannot_be_scaled(jitter):
    x = rows(50, 3)
    x[:, 1] = 101325 + jitter * (np.arange(50) % 2)
    with pytest.raises(ValueError, match="the file: column 1 .* is constant"):
        z_score(x, "the file")


@pytest.mark.parametrize(("shift", "swing"), [(1e7, 1.0), (101325.0, 0.05), (-1.7e9, 1e-3)])
def test_an_offset_is_taken_off_before_the_values_are_float32(shift, swing, tmp_path):
    plain = {name: rows(20, 2, i).round(6) for i, name in enumerate(("train", "val", "test"))}
    moved = {name: shift + swing * x for name, x in plain.items()}
    one, two = (
        Npy(0, CPU, str(placed(tmp_path / name, **x)), batch_size=4, standardise=True)
        for name, x in (("plain", plain), ("moved", moved))
    )
    atol = 1e-15 * abs(shift) / swing + 1e-6  # the rounding of the file's own float64
    torch.testing.assert_close(two.splits["test"], one.splits["test"], rtol=0, atol=4 * atol)
    x = two.scaling.undo(two.splits["test"]).numpy()
    np.testing.assert_allclose(x, moved["test"], rtol=0, atol=4 * atol * swing)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (1e7 + rows(50, 2), "mean 1e.07 and deviation"),
        (300 * rows(50, 2), "deviation"),
        (1e-3 * rows(50, 2), "column . .the first is 0. has mean"),
        (rows(50, 2), None),
        (np.column_stack((rows(50, 1), np.ones(50))), None),
        (5 * rows(50, 2) + 3, None),
    ],
    ids=["offset", "large", "small", "unit", "constant", "near"],
)
def test_unscaled_rows_far_from_unit_scale_are_warned_of_with_the_remedy(
    x, message, tmp_path, caplog
):
    folder = str(placed(tmp_path, train=x, val=x, test=x))
    with caplog.at_level(logging.WARNING):
        Npy(0, CPU, folder, batch_size=4)
        said = [record.getMessage() for record in caplog.records]
        Npy(0, CPU, folder, batch_size=4, standardise=message is not None)
    assert len(said) == len(caplog.records) == (message is not None)
    if message is not None:
        assert "set standardise=true" in said[0]
        assert re.search(message, said[0])
