"""Plots of series: observations, samples and bands, in the data's units."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hydra.utils import instantiate
from series_cases import settings

from node_runner.data.periodic import Periodic
from node_runner.data.scaling import Scaling
from node_runner.data.spirals import Spirals
from node_runner.tasks.series import FUTURES, SHOWN, first

CPU = torch.device("cpu")
SIZES = {"train_size": 8, "validation_size": 4, "test_size": 10, "batch_size": 8}


def small(name, task="latent_spirals"):
    """A small model as it is trained, in float32 with the solvers of its file."""
    return instantiate(settings(name, task).task, _convert_="all")


def drawn(figure):
    """Curves of a figure and its rows of single points, (n, 2) each."""
    lines = [line for axis in figure.axes for line in axis.lines]
    curves, points = (
        [torch.as_tensor(line.get_xydata()).float() for line in lines if kind(line)]
        for kind in (
            lambda line: line.get_marker() == "None",
            lambda line: line.get_marker() in ".o",
        )
    )
    assert len(curves) + len(points) == len(lines)
    assert all(line.isfinite().all() and len(line) for line in curves + points)
    return curves, points


@pytest.mark.parametrize("name", ["latent_rnn", "rnn_gaps"])
@torch.no_grad()
def test_series_are_shown_as_they_are_with_samples_of_the_model(name):
    data = Spirals(0, CPU, **SIZES)
    figures = small(name).visualize(data).figures
    assert set(figures) == {"series"} | ({"between"} if name == "latent_rnn" else set())
    curves, points = drawn(figures["series"])
    assert len(figures["series"].axes) == SHOWN
    assert len(curves) == SHOWN * 2 * (FUTURES if name == "latent_rnn" else 1)  # and beyond
    batch = next(iter(data.batches("test")))
    for i in range(SHOWN):
        for j, part in enumerate((batch.target, batch.beyond, batch.observed)):
            assert torch.equal(points[3 * i + j], part.values[i])


@pytest.mark.parametrize("kind", ["interpolation", "extrapolation"])
@torch.no_grad()
def test_a_single_feature_is_drawn_against_time_up_to_the_last_one_asked_for(kind):
    data = Periodic(0, CPU, task=kind, **SIZES)
    figure = small("latent_rnn", "latent_periodic").visualize(data).figures["series"]
    curves, points = drawn(figure)
    assert max(curve[:, 0].max() for curve in curves) == data.times[-1]
    assert torch.equal(points[0][:, 0], data.times[: data.inside])
    later = [curve for curve in curves if curve[-1, 0] > data.times[data.inside - 1]]
    assert len(later) == (SHOWN if kind == "extrapolation" else 0)
    bands = [axis.collections for axis in figure.axes]
    assert {len(band) for band in bands} == {2 if kind == "extrapolation" else 1}
    observed = next(iter(data.batches("test"))).observed
    shown = torch.stack((observed.times, observed.values[:, :, 0]), 2)[:SHOWN]
    assert torch.equal(torch.stack([row for row in points if len(row) == 30]), shown)


@torch.no_grad()
def test_the_line_between_two_series_ends_at_what_they_decode_to():
    data, task = Spirals(0, CPU, **SIZES), small("latent_rnn")
    batch = first(next(iter(data.batches("test"))), SHOWN)
    curves, _ = drawn(task.visualize(data).figures["between"])
    assert len(curves) == 5
    times = torch.linspace(0, float(batch.target.times.max()), len(curves[0])).expand(SHOWN, -1)
    expected = task.model.decode(task.model.encoder(batch.observed).mean[:, None], times)[:, :, 0]
    torch.testing.assert_close(curves[0], expected[0], rtol=0, atol=1e-3)
    torch.testing.assert_close(curves[-1], expected[-1], rtol=0, atol=1e-3)


@torch.no_grad()
def test_series_are_drawn_in_the_units_of_the_data_with_their_names():
    data = Periodic(0, CPU, **SIZES)
    plain, _ = drawn(small("latent_rnn", "latent_periodic").visualize(data).figures["series"])
    data.scaling = Scaling(np.array([100.0]), np.array([10.0]))
    data.features, data.time_axis = ("level (cm)",), ("time (h)", 24.0)
    figure = small("latent_rnn", "latent_periodic").visualize(data).figures["series"]
    moved, points = drawn(figure)
    assert figure.axes[0].get_ylabel() == "level (cm)"
    assert {axis.get_xlabel() for axis in figure.axes} == {"time (h)"}
    observed = next(iter(data.batches("test"))).observed
    shown = next(row for row in points if len(row) == 30)
    torch.testing.assert_close(shown[:, 0], 24 * observed.times[0])
    torch.testing.assert_close(shown[:, 1], 100 + 10 * observed.values[0, :, 0])
    assert moved[0][-1, 0] == pytest.approx(24 * plain[0][-1, 0].item())
