"""Conditional flows: densities, distributions, and gradients that reach the encoder."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import nn

from node_runner.data.labelled_moons import LabelledMoons
from node_runner.data.toy import Toy
from node_runner.fields import MLP, ConvNet
from node_runner.flow import CNF, Chain, Exact, Logit, Multiscale, Planar, stacked_cnf
from node_runner.flow.regularizers import Kinetic
from node_runner.nets import ClassEmbedding
from node_runner.ode import Adjoint, Direct, Replay, Solver
from node_runner.tasks.density import Density

CPU, LABELS = torch.device("cpu"), torch.tensor([0, 1, 1, 0])
GRADIENTS = {"direct": Direct(), "replay": Replay(), "adjoint": Adjoint()}


def conditional(gradient=None, tol=1e-10, flows=1, method="dopri8"):
    solver = Solver(method, tol, tol, gradient=gradient)
    costs = {"kinetic": Kinetic()}
    torch.manual_seed(0)
    field = partial(MLP, hidden=(8,), context=3)
    flow = stacked_cnf(partial(CNF, solver=solver, divergence=Exact(), regularizers=costs),
                       field, 2, flows).double()  # fmt: skip
    encoder = nn.Sequential(ClassEmbedding(2, 3), nn.Linear(3, 3), nn.Tanh()).double()
    with torch.no_grad():
        for p in flow.parameters():
            p.mul_(2)
    return flow, encoder


@pytest.mark.parametrize("gradient", GRADIENTS.values(), ids=GRADIENTS)
def test_gradients_of_the_encoder_are_those_of_finite_differences(gradient, draw):
    flow, encoder = conditional(gradient, 1e-9, flows=2)
    x, weight = draw(4, 2), encoder[1].weight

    def loss():
        transport = flow.transport(x, encoder(LABELS))
        return sum(c.mean() for c in transport.costs.values()) - transport.log_prob.mean()

    loss().backward()
    direction, h = draw(3, 3), 1e-4
    found, values = (weight.grad * direction).sum(), []
    with torch.no_grad():
        for sign in (1, -2):
            weight += sign * h * direction
            values.append(loss())
    torch.testing.assert_close(found, (values[0] - values[1]) / (2 * h), rtol=1e-5, atol=1e-7)
    assert encoder[0].weight.grad.abs().sum(1).gt(0).all()


@pytest.mark.parametrize("gradient", GRADIENTS.values(), ids=GRADIENTS)
def test_gradients_of_samples_reach_the_encoder(gradient):
    found = []
    for strategy in (Direct(), gradient):
        flow, encoder = conditional(strategy, 1e-8)
        torch.manual_seed(1)
        flow.as_distribution(encoder(LABELS)).rsample((2,)).square().sum().backward()
        found.append([p.grad for p in (*encoder.parameters(), *flow.parameters())])
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-8)


def test_conditional_densities_differ_and_each_sums_to_one():
    flow, encoder = conditional(tol=1e-6, method="dopri5")
    axis = torch.arange(-8, 8.001, 0.2, dtype=torch.float64)
    grid, densities = torch.cartesian_prod(axis, axis), []
    with torch.no_grad():
        for context in encoder(torch.arange(2)):
            densities.append(flow.as_distribution(context).log_prob(grid).exp())
    for density in densities:
        assert density.sum().item() * 0.2**2 == pytest.approx(1, abs=1e-4)
    assert (densities[0] - densities[1]).abs().max() > 1e-2


@torch.no_grad()
def test_a_sample_sees_its_context_alone(draw):
    flow, encoder = conditional()
    x, context = draw(4, 2), encoder(LABELS)
    transport = flow.transport(x, context)
    torch.testing.assert_close(flow.inverse(transport.z, context), x, rtol=0, atol=1e-8)
    for i in range(4):
        one = flow.log_prob(x[i : i + 1], context[i : i + 1])
        torch.testing.assert_close(one[0], transport.log_prob[i], rtol=0, atol=1e-8)
    cnf = flow.parts[0]
    expected = cnf.field(torch.tensor(0.3).double(), x, context)
    assert torch.equal(cnf.velocity(torch.tensor(0.3).double(), x, context), expected)


@torch.no_grad()
def test_the_laws_of_the_distribution():
    flow, encoder = conditional(tol=1e-6, method="dopri5")
    context = encoder(LABELS)
    p = flow.as_distribution(context)
    assert (p.batch_shape, p.event_shape) == ((4,), (2,))
    x = p.sample((5,))
    assert x.shape == (5, 4, 2) and flow.sample(5, context).shape == (5, 4, 2)
    each = torch.stack([flow.log_prob(row, context) for row in x])
    torch.testing.assert_close(p.log_prob(x), each, rtol=0, atol=1e-5)
    wide = p.expand((3, 4))
    assert wide.sample((5,)).shape == (5, 3, 4, 2)
    torch.testing.assert_close(
        wide.log_prob(x[0]), p.log_prob(x[0]).expand(3, 4), atol=1e-5, rtol=0
    )
    plain = Planar(2).as_distribution()
    assert (plain.batch_shape, plain.sample().shape) == ((), (2,))
    with pytest.raises(ValueError):
        p.log_prob(torch.zeros(5, 3))
    torch.manual_seed(0)
    many = p.sample((1000,))
    entropy = p.log_prob(many).mean(0)  # of samples: E log p, against the other class's mean
    other = flow.as_distribution(encoder(1 - LABELS)).log_prob(many).mean(0)
    assert (entropy > other).all()  # Gibbs' inequality


def test_samples_have_the_density_of_their_distribution():
    """E 1/p over samples inside a square is its area, within 5 standard errors."""
    flow, encoder = conditional(tol=1e-5, method="dopri5")
    with torch.no_grad():
        p = flow.as_distribution(encoder(torch.tensor(1)))
        x = p.sample((4000,))
        values = torch.where((x.abs() < 1).all(1), 1 / p.log_prob(x).exp(), 0.0)
    assert abs(values.mean() - 4) < 5 * values.std() / 4000**0.5


@pytest.mark.parametrize(
    ("flow", "context"),
    [
        (lambda: CNF(MLP(2), Solver(), Exact()), torch.zeros(3, 4)),
        (lambda: CNF(MLP(2, context=4), Solver(), Exact()), None),
        (lambda: CNF(MLP(2, context=4), Solver(), Exact()), torch.zeros(3, 5)),
        (lambda: CNF(MLP(2, context=4), Solver(), Exact()), torch.zeros(2, 4)),
        (lambda: Chain([Planar(2)]), torch.zeros(3, 4)),
        (lambda: Logit(), torch.zeros(3, 4)),
        (lambda: Multiscale([CNF(ConvNet(1), Solver(), Exact())], [(1, 2, 2)]), torch.zeros(3, 4)),
    ],
)
def test_a_context_that_does_not_fit_is_refused_in_a_line(flow, context):
    with pytest.raises(ValueError, match="^context") as caught:
        flow().log_prob(torch.zeros(3, 2), context)
    assert "\n" not in str(caught.value)


def test_parts_with_contexts_of_different_sizes_are_refused():
    cnfs = [CNF(MLP(2, context=n), Solver(), Exact()) for n in (3, 4)]
    with pytest.raises(ValueError, match="^context"):
        Chain(cnfs)


def toy(encoder=None, context=4):
    flow = CNF(MLP(2, (16,), context=context), Solver("dopri5", 1e-4, 1e-4), Exact())
    return Density(flow, Solver("dopri5", 1e-4, 1e-4), extent=6.0, grid=24, encoder=encoder)


def test_training_on_labelled_moons_learns_the_classes():
    """The likelihood under the right class is above that under the wrong one, in each class."""
    data, task = LabelledMoons(0, CPU, batch_size=64, test_size=400), toy(ClassEmbedding(2, 4))
    task.bind(data)
    optimizer = torch.optim.Adam(task.parameters(), 2e-2)
    for step in range(40):
        optimizer.zero_grad()
        task.step(data.train_batch(step)).loss.backward()
        optimizer.step()
    ((x, labels),) = data.batches("test")
    with torch.no_grad():
        right = task.evaluate((x, labels), "test")
        wrong = task.evaluate((x, 1 - labels), "test").values["nll"]
        exhibit = task.visualize(data)
    for k in (0, 1):
        pooled = right.pooled[f"nll_class_{k}"]
        assert pooled.of(*pooled.parts) < wrong[labels == k].mean() - 0.3
        assert exhibit.scalars[f"density/integral_class_{k}"] == pytest.approx(1, abs=0.02)
    assert "density" in exhibit.figures and exhibit.arrays["samples"].shape == (400, 2)


@pytest.mark.parametrize(
    ("task", "data", "named"),
    [
        (lambda: toy(), LabelledMoons(0, CPU), "task.encoder"),
        (lambda: toy(), Toy(0, CPU), "context"),
        (lambda: toy(ClassEmbedding(2, 4)), Toy(0, CPU), "labelled_moons"),
        (lambda: toy(ClassEmbedding(1, 4)), LabelledMoons(0, CPU), "classes=2"),
        (lambda: toy(ClassEmbedding(2, 3)), LabelledMoons(0, CPU), "model.field.context=3"),
    ],
)
def test_labels_encoder_and_flow_must_fit(task, data, named):
    with pytest.raises(ValueError, match=named):
        task().bind(data)
