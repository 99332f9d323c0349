"""The Gaussian of what was observed, and errors by two weights."""

from __future__ import annotations

import math

import pytest
import torch
from series_cases import random_series, spread
from torch.distributions import Normal

from node_runner.latent import Gaussian, squared_errors


def case(draw, samples=3):
    """Series and predictions (B, T, S, D) of them, wrong by about 1."""
    series = random_series()
    return series, series.values[:, :, None] + draw(4, 5, samples, 2)


def observed(series):
    """Places (b, t, d) of all that was observed."""
    return series.mask.nonzero().tolist()


def test_log_prob_is_that_of_normals_at_what_was_observed(draw):
    series, predictions = case(draw)
    likelihood = spread(Gaussian(2, learned=True))
    found = likelihood.log_prob(series, predictions)
    assert found.shape == (4, 3)
    sd, expected = likelihood.log_sd.exp(), torch.zeros_like(found)
    for b, t, d in observed(series):
        expected[b] += Normal(predictions[b, t, :, d], sd[d]).log_prob(series.values[b, t, d])
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


def test_what_was_not_observed_has_no_likelihood_and_no_gradient(draw):
    series, predictions = case(draw)
    likelihood = Gaussian(2, 0.7).double()
    rubbish = torch.where(series.mask, series.values, 1e3)
    predictions.requires_grad_()
    found = likelihood.log_prob(series._replace(values=rubbish), predictions)
    assert torch.equal(found, likelihood.log_prob(series, predictions))
    found.sum().backward()
    seen = series.mask[:, :, None].expand_as(predictions)
    assert torch.equal(predictions.grad != 0, seen)


@pytest.mark.parametrize("learned", [False, True])
def test_the_deviation_is_as_given_and_learned_only_if_asked(learned):
    likelihood = Gaussian(3, 0.2, learned)
    torch.testing.assert_close(likelihood.log_sd.exp(), torch.full((3,), 0.2))
    assert len(list(likelihood.parameters())) == learned
    assert set(likelihood.state_dict()) == {"log_sd"}


def test_a_learned_deviation_is_drawn_to_the_errors_own(draw):
    """d log p / d log sd = sum (miss / sd)^2 - 1: none where sd is the root-mean-square error."""
    series, predictions = case(draw)
    likelihood = Gaussian(2, 0.3, learned=True).double()
    miss = torch.where(series.mask, series.values - predictions[:, :, 0], 0.0)
    count = series.mask.sum((0, 1))
    expected = miss.square().sum((0, 1)) / 0.3**2 - count

    def slope():
        return torch.autograd.grad(
            likelihood.log_prob(series, predictions[:, :, :1]).sum(), likelihood.log_sd
        )[0]

    torch.testing.assert_close(slope(), expected, rtol=1e-6, atol=0)
    root_mean_square = (miss.square().sum((0, 1)) / count).sqrt()
    likelihood.log_sd.data.copy_(root_mean_square.log())
    torch.testing.assert_close(slope(), torch.zeros(2).double(), rtol=0, atol=1e-11)


@pytest.mark.parametrize("sd", [0.0, -1.0, math.nan])
def test_a_deviation_that_is_not_positive_is_refused(sd):
    with pytest.raises(ValueError, match="^sd is"):
        Gaussian(1, sd)


def test_errors_are_means_over_observations_and_over_features(draw):
    series, predictions = case(draw)
    series.mask[1, :, 0] = False  # a feature that is never observed has error 0
    alike, by_feature = squared_errors(series, predictions)
    for b in range(4):
        errors = [[], []]
        for i, t, d in observed(series):
            if i == b:
                miss = [series.values[b, t, d] - predictions[b, t, s, d] for s in range(3)]
                errors[d].append(sum(float(m) ** 2 for m in miss) / 3)
        both = errors[0] + errors[1]
        assert alike[b].item() == pytest.approx(sum(both) / len(both))
        means = [sum(each) / len(each) if each else 0.0 for each in errors]
        assert by_feature[b].item() == pytest.approx(sum(means) / 2)
    assert (alike - by_feature).abs().max() > 0.01


def test_the_two_errors_are_one_where_all_is_observed(draw):
    series = random_series((4, 4), whole=True)
    alike, by_feature = squared_errors(series, draw(2, 4, 2, 2))
    torch.testing.assert_close(alike, by_feature, rtol=0, atol=1e-14)
    assert not torch.cat(squared_errors(series, series.values[:, :, None])).any()
