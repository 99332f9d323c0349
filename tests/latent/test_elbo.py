"""The evidence lower bound where it is known, and the weight of its KL."""

from __future__ import annotations

import math

import pytest
import torch
from torch.distributions import Normal

from node_runner.data.series import full
from node_runner.latent import Gaussian, Inference, KLAnnealing, elbo


def test_the_evidence_does_not_overflow_where_probabilities_vanish():
    predictions = torch.tensor([1e3, 2e3]).view(1, 1, 2, 1)
    inference = Inference(predictions, predictions, None, ())
    target = full(torch.zeros(1), torch.zeros(1, 1, 1))
    found, kl = elbo(Gaussian(1, 1.0), inference, target, 1.0, False)
    expected = -0.5e6 - 0.5 * math.log(2 * math.pi) - math.log(2)
    assert found.item() == pytest.approx(expected) and not kl.any()


def linear_normal(mean, variance, samples, n=20_000):
    """z ~ N(0, 1) seen as x = 0.7 with deviation 0.5, inferred by q = N(mean, variance): the
    objective over n draws, and log p(x).
    """
    sd = variance**0.5
    z = mean + sd * torch.randn(n, 1, samples, 1, dtype=torch.float64)
    kl = 0.5 * (mean**2 + variance - 1) - math.log(sd)
    inference = Inference(z, z, torch.full((n, 1), kl), ())
    target = full(torch.zeros(1), torch.full((n, 1, 1), 0.7, dtype=torch.float64))
    found, _ = elbo(Gaussian(1, 0.5).double(), inference, target, 1.0, False)
    true = Normal(0.0, 1.25**0.5).log_prob(torch.tensor(0.7)).item()
    return found.mean().item(), found.std().item() / n**0.5, true


def test_with_one_sample_it_is_below_the_log_likelihood_and_reaches_it_at_the_posterior():
    """Which is N(0.7 / 1.25, 0.2); with several samples it is no lower bound."""
    found, error, true = linear_normal(0.7 / 1.25, 0.2, 1)
    assert abs(found - true) < 4 * error + 1e-7
    found, error, true = linear_normal(0.0, 0.5, 1)
    assert found < true - 4 * error
    found, error, true = linear_normal(0.7 / 1.25, 0.2, 20)
    assert found > true + 4 * error


def test_the_weight_of_the_kl_waits_and_then_grows():
    kl = KLAnnealing(wait=10, rate=0.99)
    kl.steps_per_epoch = 3
    weights = [kl.step() for _ in range(3 * 25)]
    assert all(
        a == b == c for a, b, c in zip(weights[::3], weights[1::3], weights[2::3], strict=True)
    )
    by_epoch = weights[::3]
    assert by_epoch[:11] == [0] * 11  # 1 - 0.99^0 still is 0
    for epoch in range(11, 25):
        assert by_epoch[epoch] == pytest.approx(1 - 0.99 ** (epoch - 10))
    assert [KLAnnealing().step() for _ in range(3)] == [1, 1, 1]


@pytest.mark.parametrize("annealing", [{"wait": 1}, {"rate": 0.9}])
def test_epochs_of_unknown_length_are_refused_rather_than_counted_as_steps(annealing):
    kl = KLAnnealing(**annealing)
    with pytest.raises(ValueError, match="steps_per_epoch"):
        kl.step()
    assert kl.steps == 0


@pytest.mark.parametrize("options", [{"wait": -1}, {"rate": 1.0}, {"rate": -0.1}])
def test_a_weight_that_cannot_be_is_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        KLAnnealing(**options)
