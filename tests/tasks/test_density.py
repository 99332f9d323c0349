import pytest
import torch

from node_runner.data.toy import Toy
from node_runner.fields import MLP
from node_runner.flow import CNF, Exact, Gaussian, Rademacher, planar
from node_runner.flow.plots import trajectories
from node_runner.flow.regularizers import Jacobian, Kinetic
from node_runner.ode import Adjoint, Solver
from node_runner.tasks.density import Density

CPU = torch.device("cpu")


def density(solver=None, divergence=None, regularizers=None, **options):
    torch.manual_seed(0)
    solver = solver or Solver("dopri5", 1e-6, 1e-6)
    flow = CNF(MLP(2, (16, 16)), solver, divergence or Exact(), regularizers, end_time=0.5)
    return Density(flow, Solver("dopri5", 1e-6, 1e-6), **options)


def test_the_toy_flow_has_the_parameters_of_the_paper():
    flow = CNF(MLP(2), Solver(), Exact(), end_time=0.5)
    assert sum(p.numel() for p in Density(flow, Solver()).parameters()) == 9_224


def test_the_loss_is_the_nll_plus_the_weighted_costs():
    task = density(regularizers={"kinetic": Kinetic(0.5), "jacobian": Jacobian(0.25)})
    step = task.step(Toy(0, CPU, batch_size=32).train_batch(0))
    metrics = step.metrics
    expected = metrics["nll"] + 0.5 * metrics["cost/kinetic"] + 0.25 * metrics["cost/jacobian"]
    assert torch.allclose(step.loss, expected)
    assert metrics["cost/kinetic"] > 0
    assert metrics["cost/jacobian"] > 0


def test_backward_nfe_is_known_after_backward():
    task = density(solver=Solver("dopri5", 1e-5, 1e-5, gradient=Adjoint()))
    step = task.step(Toy(0, CPU, batch_size=8).train_batch(0))
    assert step.costs()["nfe/backward"] == 0
    step.loss.backward()
    assert step.costs()["nfe/backward"] > 0
    assert all(p.grad is not None for p in task.parameters())


def test_evaluation_is_exact_whatever_trains():
    """A noisy estimator and regularizers do not touch the test likelihood."""
    batch = Toy(0, CPU, batch_size=16).train_batch(0)
    plain = density()
    noisy = density(divergence=Gaussian(), regularizers={"kinetic": Kinetic(10.0)})
    with torch.no_grad():
        values = [task.evaluate(batch, "test").values["nll"] for task in (plain, noisy)]
        assert torch.equal(*values)
        assert values[0].shape == (16,)
        assert torch.allclose(values[0].mean(), plain.step(batch).loss, atol=1e-5)


def test_training_brings_the_nll_down():
    task, data = density(), Toy(0, CPU, "moons", batch_size=64, test_size=500)
    optimizer = torch.optim.Adam(task.parameters(), 1e-2)
    test = next(iter(data.batches("test")))

    def nll():
        with torch.no_grad():
            return task.evaluate(test, "test").values["nll"].mean().item()

    before = nll()
    for step in range(30):
        optimizer.zero_grad()
        task.step(data.train_batch(step)).loss.backward()
        optimizer.step()
    assert nll() < before - 0.3


def test_the_picture_has_all_its_panels_and_the_density_sums_to_one():
    task = density(extent=6.0, grid=60)
    with torch.no_grad():
        exhibit = task.visualize(Toy(0, CPU, test_size=200))
    titles = [axis.get_title() for axis in exhibit.figures["density"].axes if axis.get_title()]
    assert titles[:3] == ["data", "learned density", "model samples"]
    assert titles[3].startswith("t = 0.5") and titles[-1].startswith("t = 0 ")
    assert exhibit.scalars["density/integral"] == pytest.approx(1, abs=2e-3)


def test_a_square_without_size_is_refused():
    with pytest.raises(ValueError, match="extent is 0"):
        density(extent=0)


@pytest.mark.parametrize(("dim", "fits"), [(2, True), (3, False)])
def test_data_of_another_shape_are_refused(dim, fits):
    task = Density(CNF(MLP(dim, (4,)), Solver(), Exact()), Solver())
    if fits:
        return task.bind(Toy(0, CPU))
    with pytest.raises(ValueError, match="model.field.dim=2"):
        task.bind(Toy(0, CPU))


@pytest.mark.parametrize("which", ["divergence", "eval_divergence"])
def test_a_divergence_that_is_too_dear_is_refused_whether_of_training_or_of_the_test(which):
    with pytest.raises(ValueError, match="2 dimensions"):
        density(**{which: Exact(limit=1)}).bind(Toy(0, CPU))


@torch.no_grad()
def test_sampling_shows_samples_their_paths_and_an_animation(monkeypatch):
    monkeypatch.setattr(trajectories, "FRAMES", 2)
    task, data = density(grid=16), Toy(0, CPU, test_size=50)
    torch.manual_seed(3)
    found = task.sample(data)
    assert set(found.figures) == {"density", "trajectories"}
    assert set(found.scalars) == {"density/integral", "flow/straightness"}
    assert len(found.animations["flow"]) == 2 + trajectories.LAST_FRAME_REPEATS
    torch.manual_seed(3)
    noise = torch.randn(50, 2)
    carried = task.evaluated_flow().transport(found.arrays["samples"]).z
    torch.testing.assert_close(carried, noise, rtol=0, atol=1e-4)
    assert not task.visualize(data).animations


@torch.no_grad()
def test_sampling_of_a_flow_without_a_time_has_no_paths():
    found = Density(planar(2, 3), Solver(), grid=16).sample(Toy(0, CPU, test_size=50))
    assert set(found.figures) == {"density"} and not found.animations
    assert found.arrays["samples"].shape == (50, 2)


class Points(Toy):
    """Three-dimensional points, of which there is no picture."""

    def __init__(self):
        super().__init__(0, CPU, test_size=200)
        self.shape = (3,)

    def batches(self, split):
        yield torch.randn(200, 3, generator=torch.Generator().manual_seed(1))


def bent(eval_divergence):
    torch.manual_seed(0)
    flow = CNF(MLP(3, (16,)), Solver(), Exact())
    with torch.no_grad():
        for p in flow.parameters():
            p.mul_(2)
    return Density(flow, Solver("dopri5", 1e-4, 1e-4), eval_divergence)


@torch.no_grad()
def test_the_spread_of_a_likelihood_is_that_over_many_probes():
    """From two draws for each of 100 samples: an error of 7 % and of what heavy tails add."""
    task = bent(Rademacher())
    (scalars, batch) = task.visualize(Points()).scalars, next(Points().batches("test"))[:100]
    draws = torch.stack([task.evaluated_flow().log_prob(batch) for _ in range(50)])
    true = draws.var(0).mean().sqrt().item()
    assert true > 0.01
    assert scalars["likelihood/probe_sd"] == pytest.approx(true, rel=0.3)


@torch.no_grad()
def test_an_exact_likelihood_has_no_spread():
    assert bent(Exact()).visualize(Points()).scalars == {}
    assert set(bent(Exact()).sample(Points()).arrays) == {"samples"}
