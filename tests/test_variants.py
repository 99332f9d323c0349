"""``with_solver``: the same model with another solver, and nothing else changed."""

from functools import partial

import pytest
import torch
from torch import nn

from node_runner.data.series import full
from node_runner.fields import MLP, ConvNet
from node_runner.flow import CNF, Exact, Rademacher, multiscale, planar, stacked_cnf
from node_runner.latent import ODE, RNN, Encoder, Gaussian, LatentModel, RNNDynamics
from node_runner.nets import Feedforward, variant, with_solver
from node_runner.ode import Solver
from node_runner.odenet import ODENet

COARSE, FINE = Solver("rk4", step_size=0.5), Solver("dopri5", 1e-6, 1e-6)
CNFS = partial(CNF, solver=COARSE, divergence=Rademacher())


def latent(dynamics):
    encoder = Encoder(RNN(2, 5), 3)
    return LatentModel(2, encoder, dynamics, Feedforward(3, 2), Gaussian(2, 0.1))


MODELS = {
    "cnf": lambda: CNF(MLP(2, (8,)), COARSE, Rademacher()),
    "stack": lambda: stacked_cnf(CNFS, partial(MLP, hidden=(8,)), dim=2, flows=2),
    "multiscale": lambda: multiscale(
        CNFS, partial(ConvNet, hidden=(3,)), (1, 8, 8), flows=1, scales=2
    ),
    "planar": lambda: planar(2, 2),
    "latent_ode": lambda: latent(ODE(MLP(3, (8,)), COARSE)),
    "rnn_vae": lambda: latent(RNNDynamics(3)),
    "odenet": lambda: ODENet(nn.Identity(), MLP(2, (8,)), nn.Linear(2, 2), COARSE),
}


def modes(model):
    return {name: module.training for name, module in model.named_modules()}


@pytest.mark.parametrize("mode", ["train", "eval", "train, one part frozen"])
@pytest.mark.parametrize("name", MODELS)
def test_it_keeps_mode_and_shape_and_sets_nothing_on_the_model(name, mode):
    model = MODELS[name]().train(mode != "eval")
    if "frozen" in mode:  # as a user freezes the statistics of a pretrained part
        next(iter(model.children()), model).eval()
    before, state = modes(model), model.state_dict()
    other = with_solver(model, FINE)
    assert modes(other) == before == modes(model)
    assert getattr(other, "shape", None) == getattr(model, "shape", None)
    assert type(other) is type(model)
    theirs = other.state_dict()
    assert theirs.keys() == state.keys()
    assert all(theirs[key].data_ptr() == state[key].data_ptr() for key in state)
    solvers = {m.solver for m in model.modules() if hasattr(m, "solver")}
    assert solvers <= {COARSE}
    assert {m.solver for m in other.modules() if hasattr(m, "solver")} == {FINE} & (
        {FINE} if solvers else set()
    )


def test_a_subclass_stays_what_it_is():
    class Mine(CNF):
        """A flow of a user, with an argument more."""

        def __init__(self, scale, *args, **options):
            super().__init__(*args, **options)
            self.scale = scale

    flow = Mine(3.0, MLP(2, (8,)), COARSE, Rademacher())
    other = flow.with_solver(FINE, Exact())
    assert (type(other), other.scale, other.divergence) == (Mine, 3.0, Exact())
    assert flow.divergence == Rademacher()


def test_replaced_parts_do_not_reach_the_original():
    net = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)).eval()
    other = variant(net, {"1": nn.Tanh()}, name="other")
    assert other[0] is net[0] and not hasattr(net, "name")
    assert isinstance(net[1], nn.BatchNorm1d) and not other.training
    other.to(torch.float64)
    assert net[0].weight.dtype == torch.float64  # shared


def test_an_evaluated_latent_model_predicts_as_a_new_one():
    model = MODELS["latent_ode"]().double()
    times = torch.rand(2, 4, dtype=torch.float64).sort(1).values
    series = full(times, torch.randn(2, 4, 2, dtype=torch.float64))
    made = latent(ODE(model.dynamics.field, FINE)).double()
    made.load_state_dict(model.state_dict())
    found = []
    for each in (with_solver(model, FINE), made):
        torch.manual_seed(0)
        found.append(each.infer(series, times).predictions)
    assert torch.equal(*found)
