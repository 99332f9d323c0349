"""Densities known up to a constant, against the formulas of Rezende and Mohamed 2015, and noise."""

from __future__ import annotations

from math import exp, hypot, inf, log, pi, sin, sqrt

import numpy as np
import pytest
import torch
from scipy.integrate import simpson

from node_runner.data.energies import EDGE, ENERGIES, SOFTNESS, energy, log_normaliser
from node_runner.data.noise import Noise

CPU = torch.device("cpu")
NAMES = ("u1", "u2", "u3", "u4")


def written_out(name, x, y):
    """U at one point inside the wall."""

    def well(distance, width):
        return exp(-0.5 * (distance / width) ** 2)

    w1 = sin(2 * pi * x / 4)
    w2 = 3 * exp(-0.5 * ((x - 1) / 0.6) ** 2)
    w3 = 3 / (1 + exp(-(x - 1) / 0.3))
    if name == "u1":
        ring = 0.5 * ((hypot(x, y) - 2) / 0.4) ** 2
        return ring - log(well(x - 2, 0.6) + well(x + 2, 0.6))
    if name == "u2":
        return 0.5 * ((y - w1) / 0.4) ** 2
    if name == "u3":
        return -log(well(y - w1, 0.35) + well(y - w1 + w2, 0.35))
    return -log(well(y - w1, 0.4) + well(y - w1 + w3, 0.35))


def at(name, *points):
    return energy(name, torch.tensor(points, dtype=torch.float64))


@pytest.mark.parametrize("name", NAMES)
def test_an_energy_is_its_formula(name, draw):
    points = (1.2 * draw(200, 2)).clamp(-2.5, 2.5)  # within which no well is 0 in float64
    expected = [written_out(name, *point) for point in points.tolist()]
    torch.testing.assert_close(energy(name, points), points.new_tensor(expected))


@pytest.mark.parametrize(
    ("name", "point", "value"),
    [
        ("u1", (2, 0), 0),
        ("u1", (-2, 0), 0),
        ("u1", (0, 2), 0.5 * (2 / 0.6) ** 2 - log(2)),
        ("u1", (3, 0), 0.5 * (1 / 0.4) ** 2 + 0.5 * (1 / 0.6) ** 2),
        ("u2", (1, 1), 0),
        ("u2", (-1, -1), 0),
        ("u2", (2, 0.4), 0.5),
        ("u3", (1, 1), 0),
        ("u3", (1, -2), 0),
        ("u3", (-3, 1), -log(2)),
        ("u4", (1, 1), -log(1 + exp(-0.5 * (1.5 / 0.35) ** 2))),
        ("u4", (1, -0.5), -log(1 + exp(-0.5 * (1.5 / 0.4) ** 2))),
        ("u4", (-3, 1), -log(2)),
    ],
)
def test_an_energy_at_points_worked_out_by_hand(name, point, value):
    assert at(name, point).item() == pytest.approx(value, abs=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_the_wall_starts_where_the_pictures_end(name):
    edge = torch.linspace(-4, 4, 17, dtype=torch.float64)
    for points in torch.cartesian_prod(edge, edge).split(50):
        assert torch.equal(energy(name, points), ENERGIES[name](*points.unbind(1)))
    for point, wall in (((4.2, 1.0), 0.5), ((-4.4, 1.0), 2.0), ((5.0, -4.2), 12.5 + 0.5)):
        free = ENERGIES[name](*torch.tensor([point], dtype=torch.float64).unbind(1))
        assert (at(name, point) - free).item() == pytest.approx(wall)


def summed(name, side, n):
    """The integral of e^-U over [-side, side]^2 by Simpson's rule, on floor and wall alike."""
    axis = np.linspace(-side, side, n)
    points = torch.cartesian_prod(*[torch.from_numpy(axis)] * 2)
    values = (-energy(name, points)).exp().view(n, n).numpy()
    return simpson(simpson(values, x=axis), x=axis)


@pytest.mark.parametrize("name", NAMES)
def test_the_normaliser_is_that_of_another_rule_on_another_grid(name):
    assert log_normaliser(name) == pytest.approx(log(summed(name, 5.6, 701)), abs=1e-4)


@pytest.mark.parametrize(("name", "bands"), [("u2", 0.4), ("u3", 0.35 + 0.35)])
def test_the_normaliser_of_bands_that_keep_off_the_wall(name, bands):
    """Each is a normal across, and along it a floor of 8 and the two halves of a normal."""
    expected = log(sqrt(2 * pi) * bands * (2 * EDGE + sqrt(2 * pi) * SOFTNESS))
    assert log_normaliser(name) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_there_is_no_mass_beyond_the_wall(name):
    """Five of its widths out; and the square that the normaliser is summed over is wider."""
    within = summed(name, EDGE + 5 * SOFTNESS, 801)
    assert abs(within / exp(log_normaliser(name)) - 1) < 1e-5
    assert at(name, (6.0, 0.0), (0.0, -6.0)).min() > 45
    assert at(name, (60.0, 0.0)).item() < inf


def test_noise_is_standard_normal():
    x = Noise(0, CPU, dim=3, batch_size=100_000).train_batch(0).double()
    assert x.mean(0).abs().max() < 5 / 100_000**0.5
    assert (x.T.cov() - torch.eye(3)).abs().max() < 5 * (2 / 100_000) ** 0.5
    assert x.pow(4).mean().item() == pytest.approx(3, abs=5 * (96 / 300_000) ** 0.5)


def test_the_evaluation_sets_of_noise_are_fixed_and_differ():
    data = Noise(0, CPU, validation_size=300, test_size=4100)
    test = torch.cat(list(data.batches("test")))
    assert test.shape == (4100, 2)
    assert [len(part) for part in data.batches("test")] == [2000, 2000, 100]
    assert torch.equal(test, torch.cat(list(data.batches("test"))))
    (validation,) = data.batches("validation")
    assert len(validation) == data.sizes["validation"] == 300
    assert not torch.equal(test[:300], validation)
