"""The memory that the graph of a solve may hold, and steps too many to be taken."""

import time

import pytest
import torch
from support.ode.problems import Net, make_solver
from torch import nn

from node_runner.ode import Direct, Replay, Solver, SolverError, graph_memory, methods, torchdiffeq


@pytest.fixture
def field():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 64))


def wide(f):
    return lambda t, y: f(y)


@pytest.mark.parametrize("name", methods.names())
def test_a_solve_by_direct_ends_where_its_graph_exceeds_the_bound(name, field):
    y0, ts = torch.randn(32, 64), [0.0, 1.0]
    options = {"step_size": 1e-3, "gradient": Direct(max_mib=4)}
    if methods.get(name).adaptive:
        options = {"gradient": Direct(max_mib=4)}
    f = lambda t, y: field(y) + 100 * torch.sin(2000 * t)  # noqa: E731
    with pytest.raises(SolverError, match=r"max_mib of 4 MiB.* Try gradient=replay") as caught:
        Solver(name, **options)(f, y0, ts)
    assert 4 < caught.value.steps[0] < 900
    with torch.no_grad():
        Solver(name, **options | {"max_steps": 10**6})(lambda t, y: field(y), y0, [0.0, 0.2])


def test_what_is_counted_is_what_is_held(field):
    """The bytes of a step grow with the batch, and do not hold what the caller's graph does."""
    weights = [p * torch.ones(()) for p in field.parameters()]
    for _ in range(3):
        weights[0] = weights[0] @ torch.eye(64) + torch.randn(64, 64)

    def f(t, y):
        return torch.tanh(y @ weights[0].T + weights[1]) @ weights[2].T + weights[3]

    steps = []
    for size in (8, 64, 128):
        with pytest.raises(SolverError) as caught:
            Solver("rk4", step_size=1e-4, gradient=Direct(max_mib=20))(
                f, torch.randn(size, 64), [0.0, 1.0]
            )
        steps.append(caught.value.steps[0])
    assert 1.5 < steps[1] / steps[2] < 2.2 and steps[0] > 2.5 * steps[1]


def test_enough_memory_changes_nothing():
    y0 = torch.randn(3, dtype=torch.float64)
    found = []
    for gradient in (Direct(), Direct(max_mib=1e6), Direct(float("inf"))):
        torch.manual_seed(1)
        net, start = Net(3), y0.clone().requires_grad_()
        solver = make_solver("rk4", step_size=2e-3, gradient=gradient)
        solver(net, start, [0.0, 0.4]).final.sum().backward()
        found.append(start.grad)
    assert torch.equal(found[0], found[1]) and torch.equal(found[0], found[2])


@pytest.mark.parametrize("free", [2e6, 40e6])
def test_half_of_what_is_free_is_the_bound_unless_given(free, field, monkeypatch):
    monkeypatch.setattr(graph_memory, "free_bytes", lambda device: free)
    y0, t = torch.randn(32, 64), torch.tensor([0.0, 1.0])
    f, many = wide(field), {"step_size": 2e-4}
    with pytest.raises(SolverError, match="50% of what was free"):
        Solver("rk4", **many)(f, y0, t)
    with pytest.raises(SolverError, match="50% of what was free"):
        torchdiffeq.odeint(f, y0, t, method="rk4", options=many)
    with pytest.raises(SolverError, match="50% of what was free"):
        torchdiffeq.odeint(f, y0, t, method="dopri5", options={"max_step": 2e-4})
    with pytest.raises(SolverError, match="50% of what was free"):
        Solver("dopri5", first_step=1e-4).dense(
            lambda t, y: field(y) + 100 * torch.sin(4000 * t), y0, 0.0, 1.0
        )
    Solver("rk4", **many, gradient=Replay())(f, y0, [0.0, 0.1], params=[*field.parameters()])


@pytest.mark.parametrize("value", [0, -1.0, float("nan")])
def test_a_bound_that_is_not_positive_is_refused(value):
    with pytest.raises(ValueError, match="max_mib is .*, must be positive"):
        Direct(max_mib=value)


@pytest.mark.parametrize("gradient", [Direct(), Replay()])
def test_fixed_steps_beyond_the_cap_are_refused_at_once(gradient):
    y0, t = torch.ones(2, requires_grad=True), torch.tensor([0.0, 1.0])
    f, size, began = (lambda t, y: -y), {"step_size": 1e-9}, time.process_time()
    with pytest.raises(SolverError, match="cap of 10000 .*step_size=1e-09 takes 1e.09 steps"):
        Solver("rk4", **size, gradient=gradient)(f, y0, [0.0, 1.0])
    for function in (
        torchdiffeq.odeint,
        lambda *a, **k: torchdiffeq.odeint_adjoint(*a, adjoint_params=(), **k),
    ):
        with pytest.raises(SolverError, match="takes 1e.09 steps"):
            function(f, y0, t, method="rk4", options=size)
    assert time.process_time() - began < 5


def test_a_whole_cap_of_fixed_steps_is_taken():
    y0 = torch.ones(1, dtype=torch.float64)
    solution = Solver("euler", step_size=0.1, max_steps=10)(lambda t, y: -y, y0, [0.0, 1.0])
    assert solution.stats.forward.accepted == 10
