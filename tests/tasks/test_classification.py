import torch

from node_runner.fields import ConvField
from node_runner.nets import ConvStem, PooledHead
from node_runner.ode import Adjoint, Solver
from node_runner.odenet import ODENet
from node_runner.tasks.classification import Classification


def classification(channels=4, gradient=None):
    torch.manual_seed(0)
    solver = Solver("dopri5", 1e-3, 1e-3, gradient=gradient)
    net = ODENet(ConvStem(channels), ConvField(channels), PooledHead(channels), solver)
    return Classification(net, Solver("dopri5", 1e-4, 1e-4))


def batch(n=6):
    generator = torch.Generator().manual_seed(1)
    images = torch.rand(n, 1, 28, 28, generator=generator)
    return images, torch.arange(n) % 10


class Few:
    def batches(self, split):
        yield batch()


def test_the_odenet_has_the_parameters_of_the_released_code():
    net = ODENet(ConvStem(), ConvField(), PooledHead(), Solver())
    assert sum(p.numel() for p in net.parameters()) == 208_266


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


def test_evaluation_counts_its_own_evaluations():
    task = classification()
    with torch.no_grad():
        result = task.evaluate(batch())
    assert result.values["error"].shape == result.values["nll"].shape == (6,)
    assert set(result.values["error"].tolist()) <= {0.0, 1.0}
    assert result.costs["nfe"] > task.step(batch()).costs()["nfe/forward"]


def test_mistakes_are_titled_with_label_and_answer():
    task = classification()
    with torch.no_grad():
        figure = task.show(Few()).figures["mistakes"]
        answers = task.classify(batch()[0]).logits.argmax(1)
    wrong = [(int(y), int(a)) for y, a in zip(batch()[1], answers, strict=True) if y != a]
    titles = [axis.get_title() for axis in figure.axes if axis.get_title()]
    assert titles == [f"{label}: {answer}" for label, answer in wrong]
