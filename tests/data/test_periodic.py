"""Sines: the truth is a sine, and extrapolation keeps to itself what comes later."""

from __future__ import annotations

from math import pi

import pytest
import torch

from node_runner.data.periodic import END, Periodic

CPU = torch.device("cpu")
TASKS = ["interpolation", "extrapolation"]


def periodic(**options):
    sizes = {"train_size": 40, "validation_size": 10, "test_size": 60, "batch_size": 8}
    return Periodic(**{"seed": 3, "device": CPU, "evaluation_size": 60, **sizes, **options})


def first(data, split="test"):
    return next(iter(data.batches(split)))


@pytest.mark.parametrize("task", TASKS)
def test_all_series_share_100_times_that_increase_from_0_to_5(task):
    batch = first(periodic(task=task))
    parts = [batch.target] if batch.beyond is None else [batch.target, batch.beyond]
    times = torch.cat([part.times for part in parts], 1)
    assert times.shape == (60, 100) and torch.equal(times, times[:1].expand(60, 100))
    assert times[0, 0] == 0 and times[0, -1] < END and (times[0].diff() > 0).all()
    assert (task == "interpolation") == (batch.beyond is None)
    if batch.beyond is not None:
        assert times[0, 1] > 0 and batch.target.times.max() < END / 2 <= batch.beyond.times.min()


def test_the_truth_is_a_sine_of_the_frequencies_and_offsets_of_the_paper():
    """Each curve is fitted by a sine: for a grid of frequencies, linear least squares."""
    target = first(periodic(test_size=200, evaluation_size=200)).target
    times, y = target.times[0].double(), target.values[:, :, 0].double()
    grid = torch.linspace(0.39, 0.81, 85, dtype=torch.float64)
    angle = 2 * pi * grid[:, None] * times
    basis = torch.stack((angle.sin(), angle.cos(), torch.ones_like(angle)), -1)  # (F, T, 3)
    found = torch.linalg.lstsq(basis[None], y[:, None, :, None]).solution  # (B, F, 3, 1)
    errors = (basis @ found - y[:, None, :, None]).square().mean((2, 3))
    best = errors.argmin(1)
    assert errors.amin(1).max() < 1e-3  # the grid's spacing is 0.005
    sine, cosine, offset = found[torch.arange(200), best, :, 0].unbind(1)
    assert torch.stack((sine, cosine)).norm(dim=0).sub(1).abs().max() < 0.1
    assert abs(offset.mean().item() - 1) < 4 * 0.1 / 200**0.5 + 0.01
    assert offset.std().item() == pytest.approx(0.1, rel=0.25)
    frequency = grid[best]
    assert 0.4 - 0.005 <= frequency.min() < 0.42 and 0.78 < frequency.max() <= 0.8 + 0.005
    phase = torch.atan2(cosine, sine)
    assert (torch.histc(phase, 4, -pi, pi) - 50).abs().max() < 4 * (200 * 3 / 16) ** 0.5


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("noise", [0.0, 0.01])
def test_what_is_observed_is_a_subset_of_the_points_with_noise(task, noise):
    options = {"test_size": 400, "evaluation_size": 400, "observed": 20}
    observed, target = first(periodic(task=task, noise=noise, **options))[:2]
    assert observed.times.shape == (400, 20) and observed.mask.all()
    index = torch.searchsorted(target.times.contiguous(), observed.times)
    assert torch.equal(target.times.gather(1, index), observed.times)
    assert (index.diff(dim=1) > 0).all() and len(index.unique()) == target.times.shape[1]
    miss = observed.values - target.values.gather(1, index[:, :, None])
    assert miss.std().item() == pytest.approx(noise, rel=0.03)
    assert miss.mean().abs().item() <= 4 * noise / miss.numel() ** 0.5


def test_extrapolation_tells_and_asks_nothing_later_than_half_in_training():
    data = periodic(task="extrapolation")
    for step in range(12):
        batch = data.train_batch(step)
        assert batch.beyond is None
        assert batch.observed.times.max() < END / 2 and batch.target.times.max() < END / 2
        assert torch.isin(batch.observed.values, batch.target.values).all()
    for split in ("validation", "test"):
        assert all(b.observed.times.max() < END / 2 for b in data.batches(split))


def test_training_asks_for_all_points_with_their_noise():
    batch = periodic().train_batch(0)
    assert batch.target.values.shape == (8, 100, 1)
    index = torch.searchsorted(batch.target.times.contiguous(), batch.observed.times)
    values = batch.target.values.gather(1, index[:, :, None])
    assert torch.equal(values, batch.observed.values)


def test_the_observed_points_are_drawn_anew_in_each_epoch():
    data = periodic(batch_size=40)
    one, two = (data.train_batch(epoch).observed.times for epoch in (0, 1))
    assert not (one[:, None] == two).all(2).any()  # not the same draws for other series, either
