"""Events: they are a Poisson process of the intensity that is told, and silence is told, too."""

from __future__ import annotations

from math import ceil

import pytest
import torch
from scipy.stats import kstest

from node_runner.data import intensities
from node_runner.data.events import EventData, marked, simulate
from node_runner.data.intensities import Sine

CPU = torch.device("cpu")
END, N = 5.0, 400
every_family = pytest.mark.parametrize("family", intensities.FAMILIES)


def events(**options):
    sizes = {"train_size": 40, "validation_size": 10, "test_size": 60, "batch_size": 8}
    return EventData(**{"seed": 3, "device": CPU, "evaluation_size": 60, **sizes, **options})


def simulated(family, rate=6.0, n=N):
    """Intensities in float64, arrivals and counts."""
    generator = torch.Generator().manual_seed(1)
    intensity = intensities.draw(family, n, END, rate, generator)
    intensity = type(intensity)(*(parameter.double() for parameter in intensity))
    return intensity, *simulate(intensity, END, generator)


@every_family
def test_the_integral_is_that_of_the_rate_which_stays_within_its_bounds(family):
    intensity = simulated(family, n=40)[0]
    t = torch.linspace(0, END, 4001, dtype=torch.float64)
    rate, integral = intensity.rate(t), intensity.integral(t)
    assert rate.shape == integral.shape == (40, 4001)
    assert (rate > 0).all() and (rate <= intensity.bound() * (1 + 1e-12)).all()
    by_sums = torch.cumulative_trapezoid(rate, t, dim=1)
    torch.testing.assert_close(integral[:, 1:], by_sums, rtol=0, atol=1e-3)
    assert not integral[:, 0].abs().gt(1e-12).any()
    own = t.expand(40, -1).flip(1)  # times of each series
    torch.testing.assert_close(intensity.rate(own), rate.flip(1))
    torch.testing.assert_close(intensity.integral(own), integral.flip(1))


@every_family
def test_a_series_has_about_as_many_events_as_asked_for(family):
    total = simulated(family)[0].integral(torch.tensor([END], dtype=torch.float64))
    assert total.mean().item() == pytest.approx(30, rel=0.1)


@every_family
def test_counts_have_the_mean_and_the_variance_of_a_poisson_distribution(family):
    intensity, _, counts = simulated(family)
    mean = intensity.integral(torch.tensor([END], dtype=torch.float64))[:, 0]
    score = (counts - mean) / mean.sqrt()
    assert abs(score.mean().item()) < 4 / N**0.5
    assert abs(score.var().item() - 1) < 4 * (2 / N) ** 0.5 * 1.1  # kurtosis 1 / mean above normal


@every_family
def test_gaps_in_rescaled_time_are_exponential(family):
    """In the time int_0^t lambda events come at rate 1. One series after another makes one long
    process, so that no gap is cut off but the last.
    """
    intensity, times, counts = simulated(family)
    rescaled = intensity.integral(times)
    before = rescaled[:, -1:].cumsum(0) - rescaled[:, -1:]  # the last time is the window's end
    happened = torch.arange(times.shape[1]) < counts[:, None]
    gaps = (before + rescaled)[happened].diff(prepend=torch.zeros(1))
    assert len(gaps) > 10_000
    assert kstest(gaps.numpy(), "expon").pvalue > 1e-3
    # The test can tell: in the time of the clock they are not.
    clock = (END * torch.arange(N)[:, None] + times)[happened].diff()
    assert kstest(clock.numpy() / clock.mean().item(), "expon").pvalue < 1e-6


@pytest.mark.parametrize("rate", [6.0, 0.14])
@every_family
def test_a_series_is_its_arrivals_and_a_mark_at_the_windows_end(family, rate):
    data = events(family=family, rate=rate)
    (batch,) = data.batches("test")
    times, values, mask = batch.observed
    counts, steps = batch.counts, torch.arange(times.shape[1])
    assert (counts == 0).any() == (rate < 1)  # silence is legal
    assert torch.equal(batch.observed.lengths, counts + 1)
    assert torch.equal(mask[:, :, 0], steps <= counts[:, None])
    assert torch.equal(values[:, :, 0], (steps < counts[:, None]).float())
    assert times.shape[1] == counts.max() + 1  # no wider than the longest needs
    assert (times >= 0).all() and (times[batch.arrivals] < END).all()
    assert (times[~batch.arrivals] == END).all() and (batch.end == END).all()
    assert (times.diff(dim=1)[mask[:, 1:, 0]] > 0).all()
    backward = batch.observed.backward()
    assert not backward.values[:, 0].any() and (backward.times[:, 0] == 0).all()


@every_family
def test_a_batch_tells_the_truth(family):
    (batch,) = events(family=family, rate=6.0).batches("test")
    assert batch.grid.shape == batch.curve.shape == (60, 101)
    assert (batch.grid[:, 0] == 0).all() and (batch.grid[:, -1] == END).all()
    by_sums = torch.trapezoid(batch.curve, batch.grid)
    torch.testing.assert_close(batch.integral, by_sums, rtol=2e-3, atol=0)
    before = (batch.observed.times / END * 100).long().clamp(max=99)  # of the grid
    low, high = batch.curve.gather(1, before), batch.curve.gather(1, before + 1)
    between = torch.lerp(low, high, batch.observed.times / END * 100 - before)
    torch.testing.assert_close(batch.intensity, between, rtol=0.02, atol=0.05)


def test_rounding_puts_no_event_on_another_or_on_the_end():
    """At a rate at which float32 has few numbers to choose from."""
    n = torch.full((3, 1), 1.0)
    intensity = Sine(1e5 * n, 0 * n, n, 0 * n)
    for end in (0.9, 1.0, 1.3):
        times, counts = simulate(intensity, end, torch.Generator().manual_seed(0))
        series = marked(times, counts)
        assert (times.diff(dim=1)[series.present[:, 1:]] > 0).all()
        assert (counts - 1e5 * end).abs().max() < 0.01 * 1e5


def test_epochs_are_of_the_same_series_in_another_order():
    data = events()
    assert data.steps_per_epoch == ceil(40 / 8) and data.part == "generated (sine)"
    first, second = (
        torch.cat([data.train_batch(5 * epoch + i).integral for i in range(5)]) for epoch in (0, 1)
    )
    assert not torch.equal(first, second) and torch.equal(first.sort()[0], second.sort()[0])
