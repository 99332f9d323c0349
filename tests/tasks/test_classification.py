import pytest
import torch

from node_runner.fields import ConvField
from node_runner.nets import ConvStem, Perceptron, PooledHead, ResNet, ResStem
from node_runner.ode import Adjoint, Replay, Solver
from node_runner.odenet import ODENet
from node_runner.tasks.classification import Classification
from node_runner.training.metrics import summarise

PLAIN = {
    "mlp": lambda: Perceptron(hidden=(20,)),
    "resnet-conv": lambda: ResNet(ConvStem(), PooledHead(), blocks=2),
    "resnet-res": lambda: ResNet(ResStem(), PooledHead(), blocks=2),
}
# 64 channels, two a group: with one a group the norm cancels a bias before it
ODE = {
    "odenet-res": lambda: ODENet(
        ResStem(), ConvField(), PooledHead(), Solver("rk4", step_size=0.5, gradient=Adjoint())
    ),
    "rknet-res": lambda: ODENet(
        ResStem(), ConvField(), PooledHead(), Solver("rk4", step_size=0.5, gradient=Replay())
    ),
}
plain = pytest.mark.parametrize("build", PLAIN.values(), ids=PLAIN)


def classification(channels=4, gradient=None, solver="dopri5", **options):
    torch.manual_seed(0)
    solver = Solver(solver, 1e-3, 1e-3, gradient=gradient, **options)
    net = ODENet(ConvStem(channels), ConvField(channels), PooledHead(channels), solver)
    return Classification(net, Solver("dopri5", 1e-4, 1e-4))


def batch(n=6):
    generator = torch.Generator().manual_seed(1)
    images = torch.rand(n, 1, 28, 28, generator=generator)
    return images, torch.arange(n) % 10


class Few:
    def batches(self, split):
        yield batch()


def test_every_parameter_gets_a_gradient_near_that_of_backpropagation():
    gradients = []
    for gradient in (None, Adjoint()):
        task = classification(gradient=gradient)
        step = task.step(batch())
        step.loss.backward()
        assert step.costs()["nfe/forward"] > 0
        assert (step.costs()["nfe/backward"] > 0) == (gradient is not None)
        gradients.append(torch.cat([p.grad.flatten() for p in task.parameters()]))
        assert all(p.grad.abs().sum() > 0 for p in task.parameters())
    # at tol 1e-3 and with ReLU kinks in f, two discretisations agree in direction only
    assert torch.cosine_similarity(*gradients, dim=0) > 0.95


@pytest.mark.parametrize("build", (PLAIN | ODE).values(), ids=PLAIN | ODE)
def test_a_step_of_every_net_reaches_every_parameter(build):
    task = Classification(build(), Solver())
    task.step(batch()).loss.backward()
    for name, value in task.named_parameters():
        assert value.grad is not None and value.grad.abs().max() > 1e-7, name


@plain
def test_a_plain_net_has_no_evaluations_to_count(build):
    task = Classification(build(), Solver())
    step = task.step(batch())
    step.loss.backward()
    assert step.costs() == {}
    with torch.no_grad():
        evaluation = task.evaluate(batch(), "test")
    assert evaluation.costs == {}
    assert set(summarise([evaluation])) == {"nll", "error"}


@plain
def test_a_plain_net_is_evaluated_as_it_is_trained(build):
    """No norm keeps statistics and there is no solver: both see one function."""
    task = Classification(build(), Solver())
    step = task.train().step(batch())
    with torch.no_grad():
        values = task.eval().evaluate(batch(), "test").values
    torch.testing.assert_close(values["nll"].mean(), step.loss.detach())
    assert 1 - values["error"].mean() == pytest.approx(step.metrics["accuracy"].item())


def test_training_and_evaluation_of_one_net_count_apart():
    """rk4 with a step of 1/4 is 16 evaluations, with 1/2 it is 8."""
    task = classification(gradient=Adjoint(), solver="rk4", step_size=0.25)
    task.eval_solver = Solver("rk4", step_size=0.5)
    step = task.step(batch())
    with torch.no_grad():
        assert task.evaluate(batch(), "test").costs == {"nfe": 8}
    assert step.costs() == {"nfe/forward": 16, "nfe/backward": 0}
    step.loss.backward()
    with torch.no_grad():
        task.evaluate(batch(), "test")
    costs = step.costs()
    assert costs.pop("gradient/drift") < 0.1
    assert costs == {"nfe/forward": 16, "nfe/backward": 16}


def test_evaluation_counts_its_own_evaluations():
    task = classification()
    with torch.no_grad():
        result = task.evaluate(batch(), "test")
    assert result.values["error"].shape == result.values["nll"].shape == (6,)
    assert set(result.values["error"].tolist()) <= {0.0, 1.0}
    assert result.costs["nfe"] > task.step(batch()).costs()["nfe/forward"]


def test_mistakes_are_titled_with_label_and_answer():
    task = classification()
    with torch.no_grad():
        figure = task.visualize(Few()).figures["mistakes"]
        answers = task.classify(batch()[0]).logits.argmax(1)
    wrong = [(int(y), int(a)) for y, a in zip(batch()[1], answers, strict=True) if y != a]
    titles = [axis.get_title() for axis in figure.axes if axis.get_title()]
    assert titles == [f"{label}: {answer}" for label, answer in wrong]


@pytest.mark.parametrize("gradient", [None, Adjoint()], ids=["direct", "adjoint"])
def test_the_solve_of_an_ode_net_is_measured_as_it_was_trained(gradient):
    task = classification(gradient=gradient)
    with torch.no_grad():
        found = task.visualize(Few()).scalars
        evaluated = task.evaluate(batch(), "test").costs["nfe"]
    assert found["solve/nfe_forward"] == evaluated
    assert (found["solve/nfe_backward"] > 0) == (gradient is not None)
    assert 0 < found["solve/error"] < 1e-2
    assert all(p.grad is None for p in task.parameters())


def test_what_has_no_solve_has_none_to_measure():
    plain, off = Classification(PLAIN["mlp"](), Solver()), classification()
    off.measured = 0
    with torch.no_grad():
        assert plain.visualize(Few()).scalars == off.visualize(Few()).scalars == {}
    with pytest.raises(ValueError, match="^measured is -1"):
        Classification(PLAIN["mlp"](), Solver(), measured=-1)
