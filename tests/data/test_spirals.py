"""Spirals: the points are on the curves, and what is observed is near the points."""

from __future__ import annotations

from math import cos, pi, sin

import pytest
import torch

from node_runner.data.spirals import END, POINTS, Spirals, curve

CPU = torch.device("cpu")
STEP = END / (POINTS - 1)


def spirals(**options):
    sizes = {"train_size": 40, "validation_size": 10, "test_size": 60, "batch_size": 8}
    return Spirals(**{"seed": 3, "device": CPU, "evaluation_size": 60, **sizes, **options})


def of_test(**options):
    return next(iter(spirals(**options).batches("test")))


def on_a_curve(values):
    """The place t, in [0, 6 pi], of points (..., 2) on either curve, read off their radii; NaN for
    points on none.
    """
    outward, inward = (values - torch.tensor(c) for c in ([5.0, 0.0], [-5.0, 0.0]))
    t_out, s = outward.norm(dim=-1) / 0.3, 15 / inward.norm(dim=-1)
    places = []
    for t, angle, offset in ((t_out, t_out, outward), (END + 1 - s, s, inward)):
        direction = torch.stack((angle.cos(), angle.sin()), -1)
        fits = (offset - offset.norm(dim=-1, keepdim=True) * direction).norm(dim=-1) < 1e-3
        places.append(torch.where(fits & (t > -1e-3) & (t < END + 1e-3), t, torch.nan))
    return places


def test_the_target_lies_on_one_of_the_curves_and_runs_along_it_at_speed_one():
    target = of_test().target
    out, into = on_a_curve(target.values)
    kinds = out.isfinite().all(1), into.isfinite().all(1)
    assert (kinds[0] ^ kinds[1]).all() and kinds[0].any() and kinds[1].any()
    place = torch.where(kinds[0][:, None], out, into)
    torch.testing.assert_close(place - place[:, :1], target.times, rtol=0, atol=2e-3)
    index = place[:, 0] / STEP
    assert (index - index.round()).abs().max() < 0.1
    assert index.min() > -0.1 and index.max() < 199.1


def test_each_curve_takes_about_half_of_the_series():
    kinds = of_test(test_size=2000, evaluation_size=2000).target.values[:, :, 0].mean(1) > 0
    assert abs(kinds.float().mean().item() - 0.5) < 4 * 0.5 / 2000**0.5


def test_what_lies_beyond_goes_on_with_the_same_spacing():
    batch = of_test()
    times = torch.cat((batch.target.times, batch.beyond.times), 1)
    torch.testing.assert_close(times, (STEP * torch.arange(200)).expand(60, 200))
    values = torch.cat((batch.target.values, batch.beyond.values), 1)
    out, into = on_a_curve(values)
    place = torch.where(out.isfinite().all(1, keepdim=True), out, into)
    assert place.isfinite().all() and batch.beyond.mask.all()
    torch.testing.assert_close(place - place[:, :1], times, rtol=0, atol=2e-3)


def test_beyond_ends_where_the_curve_does():
    """Complete from windows that begin at 300, of one point from those at 399."""
    assert of_test(start=[300, 301]).beyond.mask.all()
    for start, length in ((301, 99), (350, 50), (399, 1)):
        beyond = of_test(start=[start, start + 1]).beyond
        assert (beyond.lengths == length).all()
        last = beyond.times[:, -1:].expand(60, 101 - length)
        assert torch.equal(beyond.times[:, length - 1 :], last)
        assert not beyond.values[~beyond.mask].any()
        ends = torch.stack([curve(torch.tensor(END), torch.tensor(way)) for way in (False, True)])
        assert (torch.cdist(beyond.values[:, length - 1], ends).min(1).values < 1e-4).all()


@pytest.mark.parametrize("noise", [0.0, 0.3])
def test_what_is_observed_is_a_subset_of_the_points_with_noise(noise):
    observed, target = of_test(noise=noise, test_size=400, evaluation_size=400)[:2]
    assert observed.times.shape == (400, 30) and observed.mask.all()
    index = torch.searchsorted(target.times, observed.times)
    assert torch.equal(target.times.gather(1, index), observed.times)
    assert (index.diff(dim=1) > 0).all() and len(index.unique()) == 100
    miss = observed.values - target.values.gather(1, index[:, :, None].expand(-1, -1, 2))
    assert miss.std().item() == pytest.approx(noise, rel=0.03)
    assert miss.mean().abs().item() <= 4 * noise / miss.numel() ** 0.5


def test_training_learns_from_nothing_but_what_is_observed():
    data = spirals()
    batch = data.train_batch(0)
    assert batch.target is batch.observed and batch.beyond is None
    assert batch.observed.values.shape == (8, 30, 2)


def test_the_curves_are_those_of_the_released_example():
    """At t = 0, 2 pi and 6 pi of the one, and where s = 1 on the other."""
    outward = curve(torch.tensor([0.0, 2 * pi, END]), torch.tensor([False] * 3))
    expected = torch.tensor([[5.0, 0.0], [5 + 0.6 * pi, 0.0], [5 + 1.8 * pi, 0.0]])
    torch.testing.assert_close(outward, expected, rtol=0, atol=1e-5)
    inward = curve(torch.tensor(END), torch.tensor(True))
    torch.testing.assert_close(inward, torch.tensor([15 * cos(1) - 5, 15 * sin(1)]))
