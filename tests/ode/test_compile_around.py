"""torch.compile around a solve: the numbers and gradients of the eager model, by a graph break."""

from __future__ import annotations

import pytest
import torch
from support.ode.gradient_cases import STRATEGIES
from torch import nn

from node_runner import odeint, odeint_adjoint, odeint_dense, odeint_event
from node_runner.fields import MLP
from node_runner.flow import CNF, Exact
from node_runner.ode import Solver

DTYPE = torch.float64
TIMES = torch.tensor([0.0, 0.4, 1.0], dtype=DTYPE)


class Field(nn.Module):
    """Counts its calls, which a traced solve would guard on."""

    def __init__(self):
        super().__init__()
        self.layer, self.calls = nn.Linear(2, 2, dtype=DTYPE), 0

    def forward(self, t, y):
        self.calls += 1
        return torch.tanh(self.layer(y))


def crosses(t, y):
    return t - 0.3


def moved(found):
    """Time and state of an event in one tensor."""
    return found[1][-1] * found[0]


def by_event(solver, f, y):
    hit = solver.event(f, y, 0.0, crosses, t_end=2.0)
    return hit.state * hit.t


OF_SOLVER = {
    "call": lambda solver, f, y: solver(f, y, TIMES).final,
    "dense": lambda solver, f, y: solver.dense(f, y, 0.0, 1.0)(0.4),
    "event": by_event,
    "stats": lambda solver, f, y: (s := solver(f, y, [0.0, 1.0])).final * s.stats.forward.nfe,
}
FUNCTIONS = {
    "odeint": lambda f, y: odeint(f, y, TIMES)[-1],
    "odeint_adjoint": lambda f, y: odeint_adjoint(f, y, TIMES)[-1],
    "odeint_event": lambda f, y: moved(odeint_event(f, y, TIMES[0], event_fn=crosses)),
    "odeint, fixed": lambda f, y: odeint(f, y, TIMES, method="rk4")[-1],
    "odeint, implicit": lambda f, y: odeint(f, y, TIMES, method="trapezoid")[-1],
    "odeint_dense": lambda f, y: odeint_dense(f, y, TIMES[0], TIMES[-1])(TIMES[1]),
}


def values_and_gradients(model, parameters):
    y = torch.tensor([[0.3, -0.2], [0.1, 0.8]], dtype=DTYPE, requires_grad=True)
    out = model(y)
    return out.detach(), *torch.autograd.grad(out.sum(), (y, *parameters))


def check(model, parameters, backend="eager"):
    torch._dynamo.reset()
    expected = values_and_gradients(model, parameters)
    found = values_and_gradients(torch.compile(model, backend=backend), parameters)
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    "what, gradient",
    [("call", name) for name in STRATEGIES]
    + [("dense", "replay"), ("event", "adjoint"), ("stats", "direct")],
)
def test_a_model_that_solves_is_compiled(what, gradient):
    f = Field()

    def model(y):
        solver = Solver("bosh3", 1e-3, 1e-3, gradient=STRATEGIES[gradient])
        return OF_SOLVER[what](solver, f, torch.sin(y)) * 2

    check(model, list(f.parameters()))


@pytest.mark.parametrize("what", FUNCTIONS)
def test_the_functions_are_compiled_around(what):
    f = Field()
    check(lambda y: FUNCTIONS[what](f, torch.sin(y)) * 2, list(f.parameters()))


def test_a_backend_that_differentiates_what_it_traced():
    f, backend = Field(), "aot_eager"
    check(lambda y: Solver()(f, torch.sin(y), [0.0, 1.0]).final * 2, list(f.parameters()), backend)


def test_the_density_of_a_flow_is_compiled():
    flow = CNF(MLP(2, (4,)).double(), Solver("bosh3", 1e-3, 1e-3), Exact())
    check(lambda y: flow.log_prob(y), list(flow.parameters()))


def test_a_field_that_is_compiled_stays_so_within():
    f, seen = Field(), []

    def backend(graph, inputs):
        seen.append(graph)
        return graph.forward

    compiled = torch.compile(f.layer, backend=backend)
    check(
        lambda y: Solver("heun2", step_size=0.5)(lambda t, z: compiled(z), y, [0.0, 1.0]).final,
        list(f.parameters()),
    )
    assert seen


def test_a_whole_training_step_is_compiled():
    f = Field()

    def step(y):
        f.zero_grad()
        for gradient in STRATEGIES.values():
            Solver(gradient=gradient)(f, y, [0.0, 1.0]).final.sum().backward()
        return y + 1

    y, grads = torch.ones(2, 2, dtype=DTYPE), []
    for run in (step, torch.compile(step, backend="eager")):
        run(y)
        grads.append([p.grad.clone() for p in f.parameters()])
    torch.testing.assert_close(*grads)


def test_a_graph_without_breaks_is_refused_by_name():
    f = Field()
    model = torch.compile(lambda y: Solver()(f, y, [0.0, 1.0]).final, fullgraph=True)
    with pytest.raises(Exception, match="chooses its steps by reading values"):
        model(torch.ones(2, dtype=DTYPE))
