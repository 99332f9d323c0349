"""Density matching: the objective is a Kullback-Leibler divergence, and training lowers it."""

from __future__ import annotations

from math import log, pi

import pytest
import torch

from node_runner.data import energies
from node_runner.data.noise import Noise
from node_runner.data.toy import Toy
from node_runner.fields import Planar
from node_runner.flow import CNF, Exact, Gaussian, log_normal, planar
from node_runner.ode import Solver
from node_runner.tasks.reverse_kl import reverse_kl

CPU = torch.device("cpu")
SOLVER = Solver("dopri5", 1e-4, 1e-4)
NAMES = ("u1", "u2", "u3", "u4")


def matching(energy="u1", rest=False, divergence=None, **options):
    torch.manual_seed(0)
    flow = CNF(Planar(2, width=16, hypernet=8), SOLVER, divergence or Exact())
    with torch.no_grad():
        for p in flow.parameters():
            p.mul_(0 if rest else 2)
    return reverse_kl(flow, SOLVER, energy=energy, **options)


def kl_of_the_normal(name):
    """By the midpoint rule on a grid of its own, with log Z from the same grid."""
    axis = torch.linspace(-7, 7, 701, dtype=torch.float64)[:-1] + 7 / 700
    points, cell = torch.cartesian_prod(axis, axis), (14 / 700) ** 2
    log_q = -0.5 * points.square().sum(1) - log(2 * pi)
    u = energies.energy(name, points)
    log_z = log((-u).exp().sum().item() * cell)
    return (log_q.exp() * (log_q + u + log_z)).sum().item() * cell


@pytest.mark.parametrize("name", NAMES)
def test_the_score_is_log_q_plus_u_plus_log_z(name):
    """q at what the flow makes of noise, from the density of a flow that leads the other way."""
    task, noise = matching(name), Noise(0, CPU).train_batch(0)[:20]
    with torch.no_grad():
        found, transport = task.metric(task.flow, noise)
    x = transport.z
    assert (x - noise).abs().max() > 0.1
    back = task.flow.transport(x, t0=1.0, t1=0.0)
    log_q = log_normal(back.z) + back.log_det
    log_p = -energies.energy(name, x) - energies.log_normaliser(name)
    torch.testing.assert_close(found, log_q - log_p, rtol=1e-3, atol=1e-2)


@pytest.mark.parametrize("name", NAMES)
def test_a_divergence_is_not_negative_and_that_of_the_normal_is_a_quadratures(name):
    noise = Noise(0, CPU, batch_size=5_000).train_batch(0)
    for rest in (True, False):
        task = matching(name, rest)
        with torch.no_grad():
            values = task.evaluate(noise, "test").values["kl"].double()
        error = values.std().item() / 5_000**0.5
        assert values.mean() > -4 * error
        if rest:
            assert abs(values.mean().item() - kl_of_the_normal(name)) < 4 * error


def test_the_divergence_from_what_the_flow_has_is_zero_at_every_point(monkeypatch):
    monkeypatch.setitem(energies.ENERGIES, "u1", lambda x, y: 0.5 * (x**2 + y**2))
    noise = Noise(0, CPU).train_batch(0)
    with torch.no_grad():
        task = matching(rest=True)
        values = task.metric(task.flow, noise[(noise.abs() < 4).all(1)])[0]
    assert values.abs().max() < 1e-3  # but for the mass beyond the wall


def test_training_lowers_the_divergence():
    task, data = matching("u2"), Noise(0, CPU, batch_size=128, validation_size=1000)
    optimizer = torch.optim.Adam(task.parameters(), 3e-2)
    (noise,) = data.batches("validation")

    def kl():
        with torch.no_grad():
            return task.evaluate(noise, "validation").values["kl"].mean().item()

    before = kl()
    for step in range(25):
        optimizer.zero_grad()
        task.step(data.train_batch(step)).loss.backward()
        optimizer.step()
    assert 0 < kl() < before - 0.5


def test_a_discrete_flow_is_trained_likewise():
    torch.manual_seed(0)
    task = reverse_kl(planar(2, 4), SOLVER, energy="u3")
    step = task.step(Noise(0, CPU).train_batch(0))
    step.loss.backward()
    assert torch.equal(step.loss, step.metrics["kl"])
    assert all(p.grad is not None and p.grad.isfinite().all() for p in task.parameters())


def test_evaluation_is_exact_whatever_trains():
    noise = Noise(0, CPU).train_batch(0)[:50]
    with torch.no_grad():
        values = [
            matching(divergence=divergence).evaluate(noise, "test").values["kl"]
            for divergence in (Exact(), Gaussian())
        ]
    assert torch.equal(*values)


@torch.no_grad()
def test_target_and_learned_density_are_shown_and_kept():
    """The ring of u1 keeps off the wall: the picture holds its mass."""
    task = matching(grid=80)
    found = task.visualize(Noise(0, CPU, test_size=500))
    titles = [axis.get_title() for axis in found.figures["density"].axes if axis.get_title()]
    assert titles == ["target", "learned", "model samples"]
    cell = (8 / 80) ** 2
    target, learned = (found.arrays[f"density_{name}"] for name in ("target", "learned"))
    assert target.shape == learned.shape == (80, 80)
    assert target.sum().item() * cell == pytest.approx(1, abs=1e-3)
    assert found.scalars["density/inside"] == pytest.approx(learned.sum().item() * cell)
    assert learned.sum().item() * cell == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("name", ["u2", "u3"])
@torch.no_grad()
def test_a_target_that_goes_on_to_the_wall_has_its_floor_in_the_picture(name):
    target = matching(name, grid=80).visualize(Noise(0, CPU, test_size=50)).arrays["density_target"]
    floor = 8 / (8 + 0.2 * (2 * pi) ** 0.5)
    assert target.sum().item() * (8 / 80) ** 2 == pytest.approx(floor, abs=2e-3)


@torch.no_grad()
def test_the_learned_density_is_that_of_the_samples():
    """A flow at rest has the normal's; rows are y from below."""
    found = matching("u4", rest=True, grid=40).visualize(Noise(0, CPU, test_size=50))
    axis = torch.linspace(-4, 4, 81)[1::2]
    normal = (-0.5 * axis**2).exp() / (2 * pi) ** 0.5
    learned = found.arrays["density_learned"]
    torch.testing.assert_close(learned, normal[:, None] * normal, rtol=1e-3, atol=1e-6)
    target = found.arrays["density_target"]
    row, column = 35, 24  # y = 3.1, x = 0.9: off the bands, and (y, x) = (0.9, 3.1) off them less
    points = torch.tensor([[axis[column], axis[row]], [axis[row], axis[column]]])
    expected = (-energies.energy("u4", points) - energies.log_normaliser("u4")).exp()
    torch.testing.assert_close(target[[row, column], [column, row]], expected)


@torch.no_grad()
def test_samples_are_what_the_flow_makes_of_noise():
    task = matching(grid=4)
    torch.manual_seed(3)
    found = task.sample(Noise(0, CPU, test_size=60))
    torch.manual_seed(3)
    expected = task.evaluated_flow().transport(torch.randn(60, 2)).z
    torch.testing.assert_close(found.arrays["samples"], expected, rtol=1e-4, atol=1e-4)
    assert "density_target" in found.arrays


def test_an_unknown_energy_is_refused():
    with pytest.raises(ValueError, match="energy is 'u9'"):
        matching("u9")


@pytest.mark.parametrize("data", [Noise(0, CPU, dim=3), Toy(0, CPU)])
def test_what_is_no_noise_in_two_dimensions_is_refused(data):
    with pytest.raises(ValueError, match="noise"):
        matching().bind(data)
