"""Poisson processes of a latent state: the likelihood is the formula, the integral the solve's."""

from __future__ import annotations

import pytest
import torch
from series_cases import alone, shuffled, spread
from torch import nn
from torch.nn.functional import softplus

from node_runner.data.events import EventData, marked
from node_runner.fields import MLP
from node_runner.latent import ODE, RNN, Encoder, Intensity, PointProcess, log_likelihood
from node_runner.nets import Feedforward
from node_runner.ode import Adjoint, Direct, Replay, Solver

EXACT = Solver("dopri5", 1e-10, 1e-10)
END, SLOPE = 2.0, 0.7


class Steady(nn.Module):
    """dz/dt = SLOPE."""

    def forward(self, t, z):
        return torch.full_like(z, SLOPE)


class Affine(nn.Module):
    """The inverse of softplus at 3 + 0.5 z, so that this is the intensity."""

    def forward(self, z):
        return (3 + 0.5 * z).expm1().log()


def windows():
    """Series of three events, of none, and of one, in float64."""
    times = torch.tensor([[0.2, 0.9, 1.7], [END] * 3, [1.1, END, END]], dtype=torch.float64)
    return marked(
        torch.cat((times, torch.full_like(times[:, :1], END)), 1), torch.tensor([3, 0, 1])
    )


def model(dynamics=None, net=None, latent=3, samples=1):
    torch.manual_seed(0)
    dynamics = dynamics or ODE(MLP(latent, [6], layer="none"), EXACT)
    intensity = Intensity(net or Feedforward(latent, 1, [5]))
    encoder = Encoder(RNN(1, 4), latent)
    return spread(PointProcess(1, encoder, dynamics, intensity, samples))


def infer(model, *arguments, **options):
    torch.manual_seed(3)
    return model.infer(*arguments, **options)


def assert_close(found, expected, atol=1e-8):
    torch.testing.assert_close(found, expected, rtol=0, atol=atol)


def test_the_likelihood_of_a_known_intensity_is_the_closed_form():
    """lambda(t) = 3 + 0.5 (z0 + SLOPE t), also where nothing happens."""
    series = windows()
    process = model(ODE(Steady(), EXACT), Affine(), latent=1)
    times = torch.tensor([[0.0, 0.5, END]] * 3, dtype=torch.float64)
    found, inference = infer(process, series, times, samples=4)
    z0 = inference.embedding[:, :, 0]
    assert found.shape == z0.shape == (3, 4)
    total = (3 + 0.5 * z0) * END + 0.25 * SLOPE * END**2
    for i, arrivals in enumerate(([0.2, 0.9, 1.7], [], [1.1])):
        log_rates = sum((3 + 0.5 * (z0[i] + SLOPE * t)).log() for t in arrivals)
        assert_close(found[i], log_rates - total[i])
    rates = 3 + 0.5 * (z0[:, None] + SLOPE * times[:, :, None])
    assert_close(inference.predictions[..., 0], rates)


def test_the_quadrature_is_a_fine_trapezoid_and_the_states_are_those_without_it():
    process, series = model(), windows()
    grid = torch.linspace(0, END, 2001, dtype=torch.float64)
    z0 = torch.randn(3, 2, 3, dtype=torch.float64)
    states, integrals, solves = process.dynamics.integrate(z0, series.times, process.intensity)
    assert states.shape == (3, 4, 2, 3) and integrals.shape == (3, 4, 2) and len(solves) == 1
    assert_close(states, process.dynamics(z0, series.times)[0])
    rates = process.intensity(process.dynamics(z0, grid.expand(3, -1))[0])
    assert rates.std(1).min() > 1e-3  # they move
    by_sums = torch.cumulative_trapezoid(rates, grid, dim=1)
    at = (series.times / END * 2000).round().long() - 1
    for i in range(3):
        assert_close(integrals[i], by_sums[i, at[i]], atol=1e-6)


def test_the_integral_takes_part_in_error_control():
    """A latent state that does not move is solved in one step; a rate of it that does is not."""

    class Still(nn.Module):
        def forward(self, t, z):
            return torch.cat((torch.ones_like(z[..., :1]), torch.zeros_like(z[..., 1:])), -1)

    class Peak(nn.Module):
        def forward(self, z):
            return 40 * (-50 * (z[..., 0] - 1).square()).exp()

    ode = ODE(Still(), Solver("dopri5", 1e-6, 1e-6))
    z0, times = torch.zeros(1, 1, 2), torch.tensor([[END]])
    _, integrals, (stats,) = ode.integrate(z0, times, Peak())
    assert integrals.item() == pytest.approx(40 * (torch.pi / 50) ** 0.5, rel=1e-4)
    assert stats.forward.nfe > 2 * ode(z0, times)[1][0].forward.nfe


def test_all_strategies_give_the_same_gradients():
    found = []
    for gradient in (Direct(), Replay(), Adjoint()):
        solver = Solver("dopri5", 1e-10, 1e-10, gradient=gradient)
        process = model(ODE(MLP(3, [6], layer="none"), solver))
        log_prob, inference = infer(process, windows(), samples=2)
        (log_prob.mean() - inference.kl.sum()).backward()
        found.append([p.grad for p in process.parameters()])
    direct, *others = found
    assert all(grad is not None and grad.any() for grad in direct)
    for other in others:
        for one, two in zip(direct, other, strict=True):
            torch.testing.assert_close(one, two, rtol=1e-6, atol=1e-7)


def test_other_series_in_the_batch_and_times_asked_for_change_nothing():
    process, series = model(), windows()
    process.encoder.head[-1].weight.data[3:] = 0
    process.encoder.head[-1].bias.data[3:] = -60  # of log variances: no noise
    together = infer(process, series)[0]
    times = torch.rand(3, 7, dtype=torch.float64) * END
    assert_close(infer(process, series, times)[0], together)
    assert_close(infer(process, shuffled(series, [2, 0, 1]))[0], together[[2, 0, 1]])
    for i in range(3):
        assert_close(infer(process, alone(series, i))[0], together[i : i + 1])


def test_a_window_without_events_says_something():
    """The posterior of silence is another than that of events, and of silence half as long."""
    process, series = model(), windows()
    mean = process.encoder(series).mean
    half = process.encoder(series._replace(times=series.times / 2)).mean
    assert (mean[1] - mean[0]).abs().max() > 1e-3 and (mean[1] - half[1]).abs().max() > 1e-3
    log_prob, inference = infer(process, alone(series, 1))
    assert (log_prob < 0).all() and log_prob.isfinite().all() and inference.kl.isfinite().all()
    log_prob.sum().backward()
    assert all(p.grad.isfinite().all() for p in process.parameters())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_logarithm_of_an_intensity_is_finite_however_small_it_is(dtype):
    intensity, tolerance = Intensity(nn.Identity()), 1e-6 if dtype == torch.float32 else 1e-8
    a = torch.tensor([-1e4, -100, -21, -20, -19, -1, 0, 5, 80], dtype=dtype).requires_grad_()
    log = intensity.log(a[:, None])
    log.sum().backward()
    exact = a.detach().double()
    expected = torch.where(exact < -30, exact, softplus(exact.clamp(min=-30)).log())
    torch.testing.assert_close(log.detach().double(), expected, rtol=tolerance, atol=tolerance)
    slope = torch.where(exact < -30, 1.0, exact.sigmoid() / softplus(exact).clamp(min=1e-30))
    torch.testing.assert_close(
        a.grad.double()[exact != -20], slope[exact != -20], rtol=1e-5, atol=0
    )
    assert torch.equal(intensity(a[:, None]), softplus(a))
    larger, log_of_12 = Intensity(nn.Identity(), 12.0), torch.full_like(a, 12).log()
    assert torch.equal(larger(a[:, None]), 12 * softplus(a))
    torch.testing.assert_close(larger.log(a[:, None]), log + log_of_12)


def test_the_likelihood_is_that_of_events_data_in_single_precision():
    data = EventData(0, torch.device("cpu"), train_size=8, batch_size=8, test_size=4)
    process, batch = model().float(), data.train_batch(0)
    process.dynamics.solver = Solver("dopri5", 1e-4, 1e-4)
    log_prob, inference = infer(process, batch.observed, batch.grid)
    assert inference.predictions.shape == (8, 101, 1, 1)
    rates = inference.predictions[:, :, 0, 0]
    total = torch.trapezoid(rates, batch.grid)
    expected = log_likelihood(on_grid(rates, batch).log(), batch.arrivals, total)
    torch.testing.assert_close(log_prob[:, 0], expected, rtol=2e-3, atol=2e-2)


def on_grid(rates, batch):
    """At the observed times, between the points of the grid."""
    place = batch.observed.times / batch.end[:, None] * 100
    before = place.long().clamp(max=99)
    return torch.lerp(rates.gather(1, before), rates.gather(1, before + 1), place - before)


def test_no_samples_and_no_scale_are_refused():
    with pytest.raises(ValueError, match="^samples is 0"):
        model(samples=0)
    with pytest.raises(ValueError, match="^scale is 0.0"):
        Intensity(nn.Identity(), 0.0)
