"""Laws of every model of series that conf/ composes."""

from __future__ import annotations

import pytest
import torch
from series_cases import AUTOREGRESSIVE, LATENT, MODELS, alone, build, random_series, solved_with
from torch import nn
from torch.distributions import Normal, kl_divergence

from node_runner.data.series import Series, full
from node_runner.nets import with_solver
from node_runner.ode import Adjoint, Direct, Replay, Solver

TOL = 1e-6  # far above that of the solvers, 1e-9
every_model = pytest.mark.parametrize("name", MODELS)
latent = pytest.mark.parametrize("name", LATENT)
autoregressive = pytest.mark.parametrize("name", AUTOREGRESSIVE)


def asked(series, n=6):
    """Times to predict at, (B, n), before, between and after the observations."""
    generator = torch.Generator().manual_seed(5)
    parts = torch.rand(len(series.times), n, generator=generator, dtype=torch.float64)
    return 1.2 * series.times[:, -1:] * parts.sort(1).values


def infer(model, *arguments, **options):
    torch.manual_seed(3)
    return model.infer(*arguments, **options)


def assert_close(found, expected, atol=TOL):
    torch.testing.assert_close(found, expected, rtol=0, atol=atol)


@every_model
def test_predictions_are_as_many_as_the_times_asked_for(name):
    model, series = build(name), random_series()
    times, beyond = asked(series), series.times[:, -1:] + torch.tensor([0.5, 1.0, 1.5])
    samples = 4 if name in LATENT else 1
    for later, n in ((None, 6), (beyond, 9)):
        found = infer(model, series, times, later, 4)
        assert found.predictions.shape == (4, n, samples, 2)
        assert found.embedding.shape == (4, samples, model.hidden_size)
        assert (found.kl is None) == (name in AUTOREGRESSIVE)
    assert infer(model, series, times).predictions.shape[2] == 1
    assert bool(found.nfe()) == (name in ("latent_ode", "latent_rnn", "ode_rnn"))
    assert found.stats.forward.nfe == sum(each.forward.nfe for each in found.solves)


@every_model
def test_other_series_in_the_batch_and_times_asked_of_them_change_nothing(name):
    """Of latent models without their noise."""
    model, series = build(name), random_series()
    times, beyond = asked(series), series.times[:, -1:] + torch.tensor([0.5, 1.0, 1.5])
    if name in LATENT:
        model.encoder.head[-1].weight.data[3:] = 0
        model.encoder.head[-1].bias.data[3:] = -60  # of log variances
    together = infer(model, series, times, beyond).predictions
    for i in range(4):
        one = infer(model, alone(series, i), times[i : i + 1], beyond[i : i + 1])
        assert_close(together[i : i + 1], one.predictions)


@every_model
def test_every_parameter_gets_a_gradient(name):
    model, series = build(name), random_series((6, 5, 4))
    found = infer(model, series, series.times)
    loss = -model.likelihood.log_prob(series, found.predictions).sum()
    (loss if found.kl is None else loss + found.kl.sum()).backward()
    missing = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert not missing


@every_model
def test_to_follow_is_to_be_told_of_the_observation_at_each_time_too(name):
    model, series = build(name), random_series()
    values = series.values.clone().requires_grad_()
    found = model.filter(series._replace(values=values)).predictions
    assert found.shape == (4, 5, 1, 2)
    for k in range(5):
        (grad,) = torch.autograd.grad(found[0, k].sum(), values, retain_graph=True)
        assert grad[0, k].any()
        assert bool(grad[0, k + 1 :].any()) == (name in LATENT and k < 4)


@autoregressive
def test_a_prediction_depends_on_what_was_observed_before_it_alone(name):
    model, series = build(name), random_series((6, 6))
    values = series.values.clone().requires_grad_()
    times = torch.cat((asked(series), series.times), dim=1)
    found = infer(model, series._replace(values=values), times).predictions
    for k in range(times.shape[1]):
        (grad,) = torch.autograd.grad(found[:, k].sum(), values, retain_graph=True)
        before = series.times < times[:, k, None]
        assert torch.equal(grad.abs().sum(2) > 0, before)


@autoregressive
def test_the_state_predicted_from_is_the_one_that_takes_the_observation_in(name):
    """From the first on: the state moves from time 0."""
    model, series = build(name), random_series((4, 4, 4), whole=True)
    model.decoder = nn.Identity()  # predictions are states
    before, after = (
        found.predictions[:, :, 0]
        for found in (infer(model, series, series.times), model.filter(series))
    )
    for k in range(4):
        h = model.cell.update(before[:, k], series.values[:, k], series.gaps[:, k])
        assert_close(h, after[:, k])


@autoregressive
def test_beyond_the_last_observation_predictions_are_taken_for_observations(name):
    """Of GRU-D where all is observed: elsewhere ``evolve`` fades by the time since any feature."""
    model, series = build(name), random_series((5, 3), whole=name == "gru_d")
    beyond = series.times[:, -1:] + torch.tensor([0.4, 0.9, 1.1], dtype=torch.float64)
    found = infer(model, series, series.times, beyond).predictions[:, 5:, 0]
    for i in range(2):
        told = alone(series, i)
        for k in range(3):
            time = beyond[i : i + 1, k : k + 1]
            step = infer(model, told, time).predictions[:, :, 0]
            assert_close(found[i : i + 1, k : k + 1], step)
            one = full(time, step)
            told = Series(*(torch.cat(parts, 1) for parts in zip(told, one, strict=True)))


@autoregressive
def test_a_first_observation_that_is_known_is_its_own_prediction_and_no_other_changes(name):
    model, series = build(name), random_series()
    times = torch.cat((series.times, series.times + 0.03), dim=1)
    without = infer(model, series, times).predictions
    model.first_known = True
    predictions = infer(model, series, times).predictions
    first = times == series.times[:, :1]
    given = series.values[:, :1, None].expand_as(predictions)
    assert torch.equal(predictions[first], given[first])
    assert torch.equal(predictions[~first], without[~first])


@latent
def test_the_kl_is_that_of_torch(name):
    model, series = build(name), random_series()
    posterior = model.encoder(series)
    expected = kl_divergence(Normal(posterior.mean, posterior.sd), Normal(0.0, 1.0))
    assert_close(infer(model, series, series.times).kl, expected, 1e-13)
    assert expected.shape == (4, 3) and expected.min() > 0


@latent
def test_samples_are_of_the_posterior(name):
    """Within 5 standard errors, at time 0."""
    model, series = build(name), random_series()
    posterior, n = model.encoder(series), 4000
    z = infer(model, series, torch.zeros(4, 1).double(), samples=n).embedding
    assert_close(z.mean(1) / posterior.sd, posterior.mean / posterior.sd, 5 / n**0.5)
    assert_close(z.std(1) / posterior.sd, torch.ones(4, 3).double(), 5 / (2 * n) ** 0.5)


@latent
def test_the_posterior_is_told_of_every_observation_and_when_they_were(name):
    model, series = build(name), random_series((5,))
    values = series.values.clone().requires_grad_()
    posterior = model.encoder(series._replace(values=values))
    (grad,) = torch.autograd.grad(posterior.mean.sum(), values)
    assert torch.equal(grad != 0, series.mask)
    later = model.encoder(series._replace(times=series.times + 1))
    assert not torch.allclose(later.mean, posterior.mean, atol=1e-4)


@latent
def test_the_encoder_reads_from_the_last_observation_back_to_time_0(name):
    model, series = build(name), random_series((4, 4, 4), whole=True)
    encoder, h, gap = model.encoder, torch.zeros(3, 5).double(), torch.zeros(3).double()
    for k in (3, 2, 1, 0):
        h = encoder.cell.update(encoder.cell.evolve(h, gap)[0], series.values[:, k], gap)
        gap = series.gaps[:, k]
    h, first = encoder.cell.evolve(h, gap)[0], series.times[:, 0]
    mean, log_variance = encoder.head(torch.cat((h, first[:, None]), 1)).chunk(2, 1)
    found = encoder(series)
    assert_close(found.mean, mean)
    assert_close(found.sd.square().log(), log_variance)


@latent
def test_a_sample_moves_on_by_itself(name):
    """Latent states are those of the dynamics from the sample at time 0, to be decoded."""
    model, series = build(name), random_series()
    times = asked(series)
    found = infer(model, series, times, samples=2)
    assert_close(model.decode(found.embedding, times), found.predictions, 1e-12)
    start = model.dynamics(found.embedding, torch.zeros_like(times))[0]
    if name != "rnn_vae":  # which takes a step even where no time has passed
        assert torch.equal(start, found.embedding[:, None].expand_as(start))


@pytest.mark.parametrize("name", ["latent_ode", "latent_rnn"])
def test_the_times_of_an_ode_may_come_in_any_order_and_repeat(name):
    model, z0 = build(name), torch.randn(4, 2, 3, dtype=torch.float64)
    times = asked(random_series())
    states, order = model.dynamics(z0, times)[0], torch.tensor([3, 0, 5, 5, 1])
    found = model.dynamics(z0, times[:, order])[0]
    assert_close(found, states[:, order])
    assert torch.equal(found[:, 2], found[:, 3])


@every_model
def test_with_solver_shares_the_parameters_and_changes_the_solver_alone(name):
    model, series = build(name), random_series()
    rough, fine = (with_solver(model, Solver("dopri5", tol, tol)) for tol in (1e-1, 1e-9))
    one, two = dict(model.named_parameters()), dict(rough.named_parameters())
    assert one.keys() == two.keys() and all(one[n] is two[n] for n in one)
    first, same, other = (
        infer(each, series, asked(series), samples=2) for each in (model, fine, rough)
    )
    assert_close(same.predictions, first.predictions)
    assert (other.stats.forward.nfe < first.stats.forward.nfe) == (name in LATENT[:2])
    assert not name.startswith("latent") or model.dynamics.solver.method == "dopri8"


@pytest.mark.parametrize("name", ["latent_ode", "latent_rnn", "ode_rnn"])
def test_every_gradient_strategy_gives_the_same_gradients(name):
    found = {}
    for gradient in (Direct(), Replay(), Adjoint(1e-10, 1e-10)):
        model = solved_with(build(name), Solver("dopri8", 1e-10, 1e-10, gradient=gradient))
        series = random_series((3, 2))
        inference = infer(model, series, asked(series))
        inference.predictions.square().sum().backward()
        found[type(gradient).__name__] = [p.grad for p in model.parameters()]
        assert (inference.stats.backward.nfe > 0) == (type(gradient) is not Direct)
    for direct, replay, adjoint in zip(*found.values(), strict=True):
        assert direct.abs().max() > 1e-4
        assert_close(replay, direct, 1e-11)
        assert_close(adjoint, direct)
