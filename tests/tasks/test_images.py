"""Bits per dimension of images, how they are evaluated, and what is drawn of them."""

from __future__ import annotations

from functools import partial
from math import log

import pytest
import torch
from torch.distributions import Normal, TransformedDistribution
from torch.distributions.transforms import AffineTransform, SigmoidTransform

from node_runner.fields import ConvNet
from node_runner.flow import CNF, Exact, Rademacher, multiscale, single_scale
from node_runner.flow.regularizers import Jacobian, Kinetic
from node_runner.ode import Solver
from node_runner.tasks import images
from node_runner.tasks.images import STOPS, image_density
from node_runner.tasks.objectives import bits_per_dim

SHAPE, DIM = (1, 4, 4), 16
SOLVER = Solver("dopri5", 1e-5, 1e-5)


class Squares:
    """Random images of ``bits`` bits, a half of them dark."""

    name, part, steps_per_epoch = "squares", "generated", 2

    def __init__(self, bits=8, test=12, shape=SHAPE):
        self.bits, self.shape, self.sizes = bits, shape, {"validation": 3, "test": test}
        generator = torch.Generator().manual_seed(1)
        pixels = torch.randint(0, 2**bits, (40, *shape), generator=generator, dtype=torch.uint8)
        self.images = torch.where(torch.rand(pixels.shape, generator=generator) < 0.5, pixels, 0)

    def train_batch(self, step):
        return self.images[:8]

    def batches(self, split):
        yield self.images[8 : 8 + self.sizes[split]]


class Counted(Rademacher):
    """Counts the draws of its probes."""

    drawn = 0

    def probes(self, x):
        type(self).drawn += 1
        return super().probes(x)


def task(divergence=None, regularizers=None, rest=False, make=single_scale, bits=8, **options):
    torch.manual_seed(0)
    cnf = partial(CNF, solver=SOLVER, divergence=divergence or Rademacher())
    flow = make(partial(cnf, regularizers=regularizers), partial(ConvNet, hidden=(3,)), SHAPE)
    if rest:
        with torch.no_grad():
            for p in flow.parameters():
                p.zero_()
    made = image_density(flow, SOLVER, **options)
    made.bind(Squares(bits))
    return made


@pytest.mark.parametrize("bits", [8, 5, 1])
def test_bits_per_dim_of_a_flow_at_rest_are_those_of_logit_normal_pixels(bits):
    """Discrete probabilities of width 2^-n by the density at the middle of the bin, in bits."""
    ours, batch, alpha = task(rest=True, bits=bits), Squares(bits).train_batch(0), 0.05
    unit = AffineTransform(-alpha / (1 - 2 * alpha), 1 / (1 - 2 * alpha))
    pixel = TransformedDistribution(
        Normal(0.0, 1.0), [SigmoidTransform(), unit], validate_args=False
    )
    log_mass = pixel.log_prob((batch.double() + 0.5) / 2**bits) - bits * log(2)
    expected = -log_mass.flatten(1).mean(1) / log(2)
    with torch.no_grad():
        found, _ = ours.metric(ours.flow, batch, noise=0.5)
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-5)


def test_uniform_pixels_cost_their_bits():
    assert bits_per_dim(torch.zeros(3), 7, 5).tolist() == [5, 5, 5]
    certain = torch.tensor(DIM * 8 * log(2))  # all mass on one of 256^16 images
    assert bits_per_dim(certain, DIM, 8).item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("bits", [8, 5, 1])
def test_noise_fills_the_bin_of_each_pixel_and_is_drawn_anew(bits):
    ours, batch = task(bits=bits), Squares(bits).images
    one, two = ours.metric.dequantised(batch), ours.metric.dequantised(batch)
    assert one.min() >= 0 and one.max() < 1
    assert torch.equal((one * 2**bits).floor(), batch.float())
    assert not torch.equal(one, two)
    inside = (one * 2**bits - batch).flatten()
    assert inside.mean().item() == pytest.approx(0.5, abs=5 * (1 / 12 / len(inside)) ** 0.5)
    assert torch.equal(ours.metric.dequantised(batch, 0.5), (batch.float() + 0.5) / 2**bits)


def test_the_test_has_bits_of_uniform_noise_and_of_the_middle_of_the_bin_apart():
    ours, batch = task(rest=True, eval_divergence=Exact()), Squares().train_batch(0)
    with torch.no_grad():
        found = ours.evaluate(batch, "test")
        again = ours.evaluate(batch, "test")
        middle, _ = ours.metric(ours.evaluated_flow(), batch, noise=0.5)
        assert set(ours.evaluate(batch, "validation").values) == {"bits_per_dim"}
    assert set(found.values) == {"bits_per_dim", "bits_per_dim_midbin"}
    assert torch.equal(found.values["bits_per_dim_midbin"], middle)
    assert torch.equal(again.values["bits_per_dim_midbin"], middle)
    assert not torch.equal(again.values["bits_per_dim"], found.values["bits_per_dim"])
    assert found.values["bits_per_dim"].shape == (8,) and found.costs["nfe"] > 0


def test_the_loss_is_bits_per_dim_plus_the_weighted_costs():
    ours = task(regularizers={"kinetic": Kinetic(0.5), "jacobian": Jacobian(0.25)})
    step = ours.step(Squares().train_batch(0))
    metrics = step.metrics
    costs = 0.5 * metrics["cost/kinetic"] + 0.25 * metrics["cost/jacobian"]
    torch.testing.assert_close(step.loss, metrics["bits_per_dim"] + costs)
    assert metrics["cost/kinetic"] > 0 and metrics["cost/jacobian"] > 0
    step.loss.backward()
    assert all(p.grad is not None for p in ours.parameters())


def test_the_test_has_a_divergence_of_its_own_and_validation_that_of_training():
    training, testing = type("Training", (Counted,), {}), type("Testing", (Counted,), {})
    ours = task(divergence=training(), eval_divergence=testing())
    batch = Squares().train_batch(0)
    with torch.no_grad():
        ours.evaluate(batch, "validation")
        assert training.drawn > 0 and testing.drawn == 0
        before = training.drawn
        ours.evaluate(batch, "test")
        assert training.drawn == before and testing.drawn == 2  # one each for both noises


def test_the_test_is_of_random_signs_unless_told():
    assert type(task().eval_divergence) is Rademacher


def test_data_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="model.shape"):
        task().bind(Squares(shape=(3, 4, 4)))
    points = Squares()
    points.bits = None
    with pytest.raises(ValueError, match="mnist_pixels"):
        task().bind(points)


@pytest.mark.parametrize("which", ["divergence", "eval_divergence"])
def test_an_exact_divergence_of_an_image_is_refused_with_its_cost(which):
    with pytest.raises(ValueError, match="16 dimensions"):
        task(**{which: Exact(limit=15)})
    task(**{which: Exact(limit=16)})


@pytest.mark.parametrize("option", [{"samples": -1}, {"pairs": -1}, {"temperature": 0}])
def test_pictures_that_cannot_be_are_refused(option):
    with pytest.raises(ValueError, match=next(iter(option))):
        task(**option)


@pytest.mark.parametrize("make", [single_scale, multiscale])
@torch.no_grad()
def test_what_is_decoded_comes_from_the_noise_it_is_encoded_to(make):
    ours = task(make=make)
    flow, x = ours.evaluated_flow(), ours.metric.dequantised(Squares().images, 0.5)
    z = flow.transport(x).z.flatten(1)
    torch.testing.assert_close(ours.views.decode(flow, z, SHAPE), x, rtol=0, atol=1e-3)


@pytest.mark.parametrize("make", [single_scale, multiscale])
@torch.no_grad()
def test_interpolation_goes_from_one_image_to_another_through_noise_of_their_length(make):
    ours = task(make=make)
    flow, ends = ours.evaluated_flow(), ours.metric.dequantised(Squares().images[:6], 0.5)
    rows = ours.views.between(flow, ends, SHAPE).view(3, STOPS, *SHAPE)
    torch.testing.assert_close(rows[:, 0], ends[0::2], rtol=0, atol=1e-3)
    torch.testing.assert_close(rows[:, -1], ends[1::2], rtol=0, atol=1e-3)
    z = flow.transport(ends).z.flatten(1)
    middle = ours.views.decode(flow, (z[0::2] + z[1::2]) / 2**0.5, SHAPE)
    torch.testing.assert_close(rows[:, STOPS // 2], middle, rtol=0, atol=1e-3)


@torch.no_grad()
def test_images_are_shown_with_the_spread_of_a_noisy_likelihood():
    ours = task(samples=5, pairs=2)
    found = ours.visualize(Squares())
    assert set(found.figures) == {"samples", "interpolation"}
    titles = [axis.get_title() for axis in found.figures["samples"].axes]
    assert titles == ["test images", "model samples at temperature 1"]
    assert found.arrays["samples"].shape == (5, *SHAPE)
    assert found.arrays["samples"].min() >= 0 and found.arrays["samples"].max() <= 1
    assert found.scalars["likelihood/probe_sd"] > 0


@torch.no_grad()
def test_an_exact_likelihood_has_no_spread_and_pictures_can_be_left_out():
    found = task(eval_divergence=Exact(), samples=0, pairs=0).visualize(Squares())
    assert not found.figures and not found.arrays and not found.scalars


@torch.no_grad()
def test_test_images_are_scaled_by_their_bits(monkeypatch):
    panels = []
    monkeypatch.setattr(images, "draw_images", lambda shown, columns=8: panels.append(shown))
    data = Squares(bits=5)
    task(bits=5, samples=4).visualize(data)
    expected = next(data.batches("test"))[:4] / 32
    torch.testing.assert_close(panels[0]["test images"], expected)
    (rows,) = panels[1].values()
    assert len(rows) == 6 * STOPS


@torch.no_grad()
def test_temperature_scales_the_noise_of_samples():
    """At rest a pixel is sigmoid(temperature * noise), stretched: the colder, the greyer."""
    drawn = []
    for temperature in (1.0, 0.5, 1e-6):
        torch.manual_seed(3)
        ours = task(rest=True, samples=30, pairs=0, temperature=temperature)
        drawn.append(ours.visualize(Squares()).arrays["samples"])
    noise = [torch.logit(0.05 + 0.9 * x) for x in drawn]
    inside = (drawn[0] > 0) & (drawn[0] < 1)
    torch.testing.assert_close(noise[1][inside], 0.5 * noise[0][inside], rtol=0, atol=1e-4)
    torch.testing.assert_close(drawn[2], torch.full_like(drawn[2], 0.5), rtol=0, atol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize(("count", "figures"), [(5, 2), (1, 1)])
def test_few_or_an_odd_number_of_test_images_will_do(count, figures):
    found = task(samples=2, pairs=6).visualize(Squares(test=count))
    assert len(found.figures) == figures


def test_pixels_stay_below_one_in_single_precision():
    y = task().metric.dequantised(torch.full((1000, *SHAPE), 255, dtype=torch.uint8), 1 - 1e-7)
    assert y.max() < 1
