"""Plots of two-dimensional flows: densities, trajectories and animations."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from node_runner.fields import MLP
from node_runner.flow import CNF, Exact, log_normal
from node_runner.flow.plots import (
    animate_flow,
    draw_densities,
    draw_trajectories,
    grid_points,
    integrate_density,
    straightness,
    trajectories,
)
from node_runner.flow.plots.trajectories import LAST_FRAME_REPEATS, PATH_POINTS
from node_runner.ode import Solver

CPU = torch.device("cpu")


class UniformField(nn.Module):
    """f = v everywhere, or rising t v."""

    def __init__(self, *velocity, rising=None):
        super().__init__()
        self.register_buffer("velocity", torch.tensor(velocity))
        self.rising = rising

    def forward(self, t, x):
        force = 1.0 if self.rising is None else self.rising * t
        return force * self.velocity.expand_as(x) + 0 * x


class Rotation(nn.Module):
    """f = (-y, x): a turn of one radian in a unit of time."""

    def forward(self, t, x):
        return torch.stack((-x[:, 1], x[:, 0]), dim=1)


def cnf(field=None, end_time=0.5):
    if field is None:
        field = MLP(2, (8,))
        with torch.no_grad():
            for p in field.parameters():
                p.mul_(3)
    return CNF(field, Solver("dopri5", 1e-5, 1e-5), Exact(), end_time=end_time)


@pytest.fixture
def shown(monkeypatch):
    """The arguments of each frame, which takes a second to draw."""
    frames = []
    monkeypatch.setattr(
        trajectories, "_draw_frame", lambda *drawn: frames.append(drawn) or len(frames)
    )
    return frames


@torch.no_grad()
def test_an_animation_goes_from_the_normal_to_the_flows_density(shown, draw):
    flow, noise = cnf(), draw(20, 2).float()
    frames = animate_flow(flow, noise, 3.0, 12)
    assert frames == [*range(1, 32), *[31] * LAST_FRAME_REPEATS]
    points = grid_points(3.0, 12, CPU).view(-1, 2)
    expected = {0: log_normal(points), 30: flow.log_prob(points)}
    assert (expected[30] - expected[0]).abs().max() > 0.1
    for i, log_p in expected.items():
        torch.testing.assert_close(shown[i][0], log_p.exp().view(12, 12), rtol=1e-3, atol=1e-5)
    assert [shown[i][3] for i in (0, 15, 30)] == ["t = 0.50", "t = 0.25", "t = 0.00"]
    assert {frame[4] for frame in shown} == {max(float(frame[0].max()) for frame in shown)}


@torch.no_grad()
def test_particles_of_an_animation_go_from_noise_to_data(shown, draw):
    flow, noise = cnf(), draw(400, 2).float()
    animate_flow(flow, noise, 3.0, 2)
    particles = [drawn[1] for drawn in shown]
    assert torch.equal(particles[0], noise[:300])
    torch.testing.assert_close(particles[-1], flow.inverse(noise[:300]), rtol=0, atol=1e-4)


@torch.no_grad()
def test_the_density_of_each_frame_is_that_of_its_time(shown, draw):
    """Noise that the field 2 t v has carried back from T = 1: a normal about -(1 - t^2) v."""
    animate_flow(cnf(UniformField(1.0, -2.0, rising=2.0), 1.0), draw(5, 2).float(), 4.0, 16)
    points = grid_points(4.0, 16, CPU)
    for i in (0, 12, 30):
        centre = ((1 - i / 30) ** 2 - 1) * torch.tensor([1.0, -2.0])
        expected = log_normal((points - centre).view(-1, 2)).exp().view(16, 16)
        torch.testing.assert_close(shown[i][0], expected, rtol=1e-4, atol=1e-6)


@torch.no_grad()
def test_frames_are_pictures_of_one_size(monkeypatch, draw):
    monkeypatch.setattr(trajectories, "FRAMES", 2)
    frames = animate_flow(cnf(), draw(20, 2).float(), 3.0, 6)
    assert len(frames) == 2 + LAST_FRAME_REPEATS
    assert len({frame.size for frame in frames}) == 1 and frames[0].mode == "P"
    first, last = (frames[i].convert("RGB").tobytes() for i in (0, -1))
    assert first != last
    assert all(frame is frames[1] for frame in frames[1:])


@torch.no_grad()
def test_trajectories_lead_from_noise_to_data(draw):
    flow, noise = cnf(), draw(310, 2).float()
    figure = draw_trajectories(flow, noise, 3.0, 1.25)
    axis, _ = figure.axes  # and the colour bar
    assert "1.250" in axis.get_title() and axis.get_xlabel() and axis.get_ylabel()
    (lines,) = axis.collections
    segments = torch.tensor(np.stack(lines.get_segments())).view(300, PATH_POINTS - 1, 2, 2)
    torch.testing.assert_close(segments[:, 0, 0], noise[:300], check_dtype=False)
    assert torch.equal(segments[:, 1:, 0], segments[:, :-1, 1])
    data = flow.inverse(noise[:300])
    torch.testing.assert_close(segments[:, -1, 1], data, rtol=0, atol=1e-4, check_dtype=False)
    colours = torch.tensor(lines.get_array()).view(300, PATH_POINTS - 1)
    assert (colours.diff(dim=1) < 0).all() and (colours == colours[0]).all()  # the flow's time


@torch.no_grad()
def test_straight_paths_have_straightness_one(draw):
    assert straightness(cnf(UniformField(1.0, -2.0)), draw(20, 2)) == pytest.approx(1, abs=1e-6)


@torch.no_grad()
@pytest.mark.parametrize("angle", [0.5, 2.0])
def test_straightness_of_a_turn_is_arc_over_chord(angle, draw):
    found = straightness(cnf(Rotation(), angle), draw(20, 2))
    assert found == pytest.approx(angle / (2 * math.sin(angle / 2)), rel=1e-3)


@torch.no_grad()
def test_straightness_of_a_flow_at_rest_is_finite():
    assert math.isfinite(straightness(cnf(UniformField(0.0, 0.0)), torch.zeros(3, 2)))


@torch.no_grad()
def test_rows_of_a_density_are_y_from_below():
    """Data about (2, -1), which the flow carries to the origin."""
    extent, grid = 5.0, 50
    flow = cnf(UniformField(-2.0, 1.0), end_time=1.0)
    density, total = integrate_density(flow, extent, grid, CPU)
    row, column = divmod(density.argmax().item(), grid)
    x, y = grid_points(extent, grid, CPU)[row, column].tolist()
    assert x == pytest.approx(2, abs=0.11) and y == pytest.approx(-1, abs=0.11)
    assert row < grid / 2 < column
    assert -extent + (row + 0.5) * 2 * extent / grid == pytest.approx(y, abs=1e-5)
    assert total == pytest.approx(1, abs=3e-3)
    expected = torch.tensor([-1.0, 2.0]).sub(torch.tensor([y, x]))
    assert density.max().item() == pytest.approx(math.exp(log_normal(expected[None]).item()), 1e-4)


def test_samples_and_densities_share_a_colour_scale_and_rows_from_below():
    x = torch.tensor([[2.0, -1.0], [9.0, 0.0]]).repeat_interleave(torch.tensor([30, 10]), 0)
    figure = draw_densities({"density": torch.full((8, 8), 0.5)}, x, 4.0, x)
    axes = [axis for axis in figure.axes if axis.images]
    assert [axis.get_title() for axis in axes] == ["data", "density", "model samples"]
    assert len({axis.images[0].get_clim() for axis in axes}) == 1
    histogram = axes[0].images[0].get_array()
    assert np.argwhere(histogram).tolist() == [[15, 30]]  # of 40 x 40 cells of width 0.2
    assert histogram.max() == pytest.approx(30 / 40 / 0.2**2)  # a quarter lies outside
