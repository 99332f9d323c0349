"""The task of events: its objective, what it is compared with, its picture, and that it learns."""

from __future__ import annotations

from math import log

import pytest
import torch
from series_cases import spread
from torch.distributions import Normal, kl_divergence

from node_runner.data.events import EventData, Events, marked
from node_runner.data.periodic import Periodic
from node_runner.fields import MLP
from node_runner.latent import ODE, RNN, Encoder, Intensity, KLAnnealing, PointProcess
from node_runner.nets import Feedforward
from node_runner.ode import Solver
from node_runner.tasks.poisson import SHOWN, PoissonEvents
from node_runner.training.metrics import evaluate, summarise

CPU = torch.device("cpu")
SOLVER, END, RATE = Solver("dopri5", 1e-3, 1e-4), 2.0, 3.0


def task_of(scale=1.0, dim=1, state=8, **options):
    torch.manual_seed(0)
    dynamics = ODE(MLP(3, [16], layer="none"), SOLVER)
    intensity = Intensity(Feedforward(3, 1, [8]), scale)
    process = PointProcess(dim, Encoder(RNN(dim, state), 3), dynamics, intensity, samples=2)
    return PoissonEvents(process, SOLVER, **options)


def constant_batch(counts=(4, 0, 6)):
    """Evenly spaced events, and a true intensity of RATE."""
    counts = torch.tensor(counts)
    steps = torch.arange(int(counts.max()) + 1)
    times = END * (steps + 0.5) / counts[:, None].clamp(min=1)
    times = torch.where(steps < counts[:, None], times, END).double()
    flat = torch.full((len(counts), 101), RATE, dtype=torch.float64)
    grid = torch.linspace(0, END, 101, dtype=torch.float64).expand(len(counts), -1)
    return Events(marked(times, counts), torch.full_like(times, RATE), flat[:, 0] * END, grid, flat)


def data_of(**options):
    sizes = {"train_size": 256, "validation_size": 4, "test_size": 40, "batch_size": 64}
    return EventData(3, CPU, **{"rate": RATE, "evaluation_size": 20, **sizes, **options})


@pytest.mark.parametrize("weight", [1.0, 0.0, 0.75])
def test_the_loss_is_the_negative_evidence_of_single_samples(weight):
    """The mean over samples is of log-probabilities, so that with weight 1 it is a bound."""
    kl = {1.0: KLAnnealing(), 0.0: KLAnnealing(wait=1), 0.75: KLAnnealing(rate=0.25)}[weight]
    task, batch = task_of(kl=kl), constant_batch()
    spread(task)
    kl.steps_per_epoch = 1
    kl.steps = int(weight == 0.75)
    torch.manual_seed(7)
    step = task.step(batch)
    torch.manual_seed(7)
    log_prob, _ = task.model.infer(batch.observed)
    posterior = task.model.encoder(batch.observed)
    kl = kl_divergence(Normal(posterior.mean, posterior.sd), Normal(0.0, 1.0)).sum(1)
    expected = (weight * kl[:, None] - log_prob).mean()
    torch.testing.assert_close(step.loss, expected, rtol=1e-10, atol=0)
    torch.testing.assert_close(step.metrics["nll"], (kl[:, None] - log_prob).mean().detach())
    assert step.metrics["kl_weight"] == weight
    assert not any(value.requires_grad for value in step.metrics.values())
    assert task.kl.steps == 1 + int(weight == 0.75)
    step.loss.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in task.parameters())


@torch.no_grad()
def test_what_it_is_compared_with_is_right_where_the_intensity_is_constant():
    batch = constant_batch()
    found = spread(task_of()).evaluate(batch, "test")
    counts = [4, 0, 6]
    true = torch.tensor([RATE * END - n * log(RATE) for n in counts], dtype=torch.float64)
    torch.testing.assert_close(found.values["nll_true"], true)
    constant = [n - n * log(n / END) if n else 0.0 for n in counts]
    constant = torch.tensor(constant, dtype=torch.float64)
    torch.testing.assert_close(found.values["nll_constant"], constant)
    rates = torch.linspace(0.01, 9, 900, dtype=torch.float64)
    for n, best in zip(counts, constant, strict=True):
        assert best <= (rates * END - n * rates.log()).min() + 1e-12  # no rate is better
    expected = torch.tensor([abs(n / END - RATE) / RATE for n in counts], dtype=torch.float64)
    torch.testing.assert_close(found.values["rate_error_constant"], expected)
    gain = (constant - found.values["nll"]).sum().item() / sum(counts)
    summary = summarise([found])
    assert summary["gain"]["mean"] == pytest.approx(gain)
    assert found.costs["nfe"] > 0


@torch.no_grad()
def test_the_error_is_that_of_the_mean_intensity_over_samples():
    task, batch = spread(task_of(samples=7)), constant_batch()
    torch.manual_seed(5)
    found = task.evaluate(batch, "test").values
    torch.manual_seed(5)
    log_prob, inference = task.model.infer(batch.observed, batch.grid, 7)
    mean = inference.predictions[..., 0].mean(2)
    error = torch.trapezoid((mean - RATE) ** 2, batch.grid) / (RATE**2 * END)
    torch.testing.assert_close(found["rate_error"], error.sqrt())
    nll = inference.kl.sum(1) - log_prob.mean(1)
    torch.testing.assert_close(found["nll"], nll)


def test_training_lowers_the_bound_below_any_constant_towards_the_truth():
    data = data_of(family="decay", rate=10.0, batch_size=32)
    task = task_of(scale=10.0, samples=4)
    task.model.samples = 1
    task.bind(data)
    optimizer = torch.optim.Adam(task.parameters(), 0.03)
    before = evaluate(task, data, "test")
    task.train()
    for step in range(40):
        optimizer.zero_grad()
        task.step(data.train_batch(step)).loss.backward()
        optimizer.step()
    after = evaluate(task, data, "test")
    true, constant = (after[name]["mean"] for name in ("nll_true", "nll_constant"))
    assert true < after["nll"]["mean"] < constant < before["nll"]["mean"]
    assert after["rate_error"]["mean"] < 0.8 * after["rate_error_constant"]["mean"]
    assert after["gain"]["mean"] > 0


@torch.no_grad()
def test_events_and_intensities_are_shown():
    data, task = data_of(rate=0.6), task_of(samples=3)
    (batch, _) = data.batches("test")
    axes = task.visualize(data).figures["intensity"].axes
    assert len(axes) == SHOWN and (batch.counts[:SHOWN] == 0).any()  # one has no events
    for i, axis in enumerate(axes):
        curves = [torch.as_tensor(line.get_ydata()) for line in axis.lines]
        mean, true = curves
        torch.testing.assert_close(true, batch.curve[i])
        band, ticks = axis.collections
        low, high = band.get_paths()[0].get_extents().intervaly
        assert low <= mean.min() and mean.max() <= high
        found = torch.tensor([segment[0][0] for segment in ticks.get_segments()])
        arrivals = batch.observed.times[i][batch.arrivals[i]]
        torch.testing.assert_close(found.to(arrivals.dtype), arrivals)


@torch.no_grad()
def test_intensities_and_events_are_arrays():
    data, task = data_of(rate=0.6), task_of(samples=3)
    (batch, _) = data.batches("test")
    found = task.sample(data).arrays
    assert found["intensities"].shape == (*batch.curve.shape, 3)
    assert torch.equal(found["true_intensity"], batch.curve)
    assert torch.equal(found["times"], batch.grid[0])
    assert torch.equal(found["events"].isfinite().sum(1), batch.counts)


def test_what_is_no_events_is_refused():
    sines = Periodic(0, CPU, train_size=8, batch_size=8)
    with pytest.raises(ValueError, match="is for times of events, and periodic has none"):
        task_of().bind(sines)
    with pytest.raises(ValueError, match="series of 2 features and events has 1"):
        task_of(dim=2).bind(data_of())
    with pytest.raises(ValueError, match="^samples is 0"):
        task_of(samples=0)
