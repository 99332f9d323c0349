"""Ownership of tensors: what f, the caller or the solver writes to changes no tensor of another."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from support.ode.gradient_cases import STRATEGIES
from support.ode.problems import NAMES, THEIR_ADAPTIVE, THEIR_FIXED, make_solver
from torch import nn

from node_runner.ode import Direct, Event, Replay, Solver
from node_runner.ode.torchdiffeq import odeint, odeint_adjoint, odeint_dense, odeint_event

TS = [0.0, 0.3, 1.0]
T = torch.tensor(TS, dtype=torch.float64)
METHODS = [*THEIR_ADAPTIVE, *THEIR_FIXED, "scipy_solver"]
grads = pytest.mark.parametrize("gradient", STRATEGIES.values(), ids=STRATEGIES)


def start():
    return torch.tensor([1.0, 0.5], dtype=torch.float64)


def rotation(t, y):
    return torch.stack((y[1], -y[0]))


class Assigned:
    """The rates of a rotation, written by index into one tensor."""

    def __init__(self):
        self.out = torch.zeros(2, dtype=torch.float64)

    def __call__(self, t, y):
        self.out[0], self.out[1] = y[1], -y[0]
        return self.out


class OutArgument(Assigned):
    def __call__(self, t, y):
        with torch.no_grad():
            return torch.mul(y.flip(0), torch.tensor([1.0, -1.0]).double(), out=self.out)


class Viewed(Assigned):
    def __call__(self, t, y):
        return super().__call__(t, y).view(2)


class InNumpy(Assigned):
    """An array that torch does not see being written to."""

    def __init__(self):
        self.array = np.zeros(2)

    def __call__(self, t, y):
        self.array[:] = y.detach().numpy()[::-1] * [1, -1]
        return torch.from_numpy(self.array)


REUSING = (Assigned, OutArgument, Viewed, InNumpy)
reusing = pytest.mark.parametrize("make", REUSING, ids=lambda make: make.__name__)


@reusing
@pytest.mark.parametrize("graph", [True, False])
@pytest.mark.parametrize("name", NAMES)
def test_f_may_return_the_same_tensor_each_time(name, graph, make):
    with torch.set_grad_enabled(graph):
        solver = make_solver(name, 1e-4)
        expected = solver(rotation, start(), TS).ys
        torch.testing.assert_close(solver(make(), start(), TS).ys, expected, rtol=1e-9, atol=1e-9)


def drop_in(f, y0, method, t=T):
    chosen = None if method in (*THEIR_ADAPTIVE, "scipy_solver") else {"step_size": 0.05}
    return odeint(f, y0, t, rtol=1e-6, atol=1e-6, method=method, options=chosen)


@pytest.mark.filterwarnings("ignore:.*corrector has not converged")
@pytest.mark.parametrize("make", [Assigned, InNumpy], ids=lambda make: make.__name__)
@pytest.mark.parametrize("method", METHODS)
def test_the_drop_in_takes_f_that_returns_the_same_tensor(method, make):
    if method == "scipy_solver":
        pytest.importorskip("scipy", reason="SciPy is not installed")
    expected = drop_in(rotation, start(), method)
    torch.testing.assert_close(drop_in(make(), start(), method), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("gradient", [Direct(), Replay()], ids=["direct", "replay"])
def test_gradients_of_f_that_fills_a_new_tensor(gradient):
    found = []
    for f in (rotation, lambda t, y: Assigned()(t, y)):
        y0 = start().requires_grad_()
        Solver(gradient=gradient)(f, y0, TS).ys.square().sum().backward()
        found.append(y0.grad)
    torch.testing.assert_close(*found)


@reusing
def test_dense_output_events_and_times_of_such_an_f(make):
    solver = Solver("dopri5", 1e-8, 1e-8)
    dense = solver.dense(make(), start(), 0.0, 1.0)
    torch.testing.assert_close(dense(TS), solver(rotation, start(), TS).ys, rtol=1e-7, atol=0)
    level = Event(lambda t, y: y[0] - 1.1)
    hits = [solver.event(f, start(), 0.0, level, t_end=2.0).t for f in (rotation, make())]
    torch.testing.assert_close(*hits, rtol=1e-7, atol=0)
    if make in (OutArgument, InNumpy):  # without a graph
        return
    found = []
    for f in (rotation, make()):
        t = T.clone().requires_grad_()
        solver(f, start(), t).ys.square().sum().backward()
        found.append(t.grad)
    torch.testing.assert_close(*found, rtol=1e-6, atol=1e-9)


@grads
@pytest.mark.parametrize("graph", [True, False])
@pytest.mark.parametrize("times", [TS, [0.0, 1.0], [0.0]])
def test_y0_may_be_written_to_after_the_solve(gradient, graph, times):
    y0, before = start(), start()
    with torch.set_grad_enabled(graph):
        solution = Solver("dopri5", gradient=gradient)(rotation, y0, times)
        final = solution.final
        y0.fill_(7.0)
        assert torch.equal(solution.ys[0], before) and torch.equal(solution.final, final)
        assert len(times) > 1 or torch.equal(final, before)


def test_dense_output_and_the_drop_in_keep_their_start():
    y0, before = start(), start()
    dense = Solver().dense(rotation, y0, 0.0, 1.0)
    mine = odeint_dense(rotation, y0, 0.0, 1.0)
    ys = [drop_in(rotation, y0, m) for m in ("dopri5", "rk4", "radauIIA5")]
    alone = odeint(rotation, y0, T[:1])
    y0.fill_(7.0)
    for found in (dense(0.0), dense([0.0])[0], mine(0.0), *(y[0] for y in ys), alone[0]):
        assert torch.equal(found, before)


def as_tuple(t, y):
    return rotation(t, y[0]), -y[1]


def entries(y):
    return y if isinstance(y, tuple) else (y,)


def starts(many):
    y0 = tuple(start().requires_grad_() for _ in "ab")
    return y0 if many else y0[0]


@grads
@pytest.mark.parametrize("many", [False, True], ids=["tensor", "tuple"])
@pytest.mark.parametrize("times", [[0.0, 1.0], TS, [0.0]])
def test_what_a_solve_returns_may_be_changed_in_place(gradient, many, times):
    """With the gradient of the change, and without changing what is read next."""
    f, y0 = as_tuple if many else rotation, starts(many)
    solver = Solver("dopri5", gradient=gradient)
    for read in (lambda s: s.final, lambda s: s.ys):
        solution = solver(f, y0, times)
        first = entries(read(solution))
        before = [y.detach().clone() for y in first]
        for y in first:
            torch.relu_(y.mul_(-2.0))
        sum(y.sum() for y in first).backward()
        assert all(map(torch.equal, entries(read(solution)), before))
    hit = solver.event(f, y0, 0.0, lambda t, y: t - 0.5, t_end=1.0).state
    for y in (*entries(solver.dense(f, y0, 0.0, 1.0)(0.5)), *entries(hit)):
        y.zero_()


@pytest.mark.parametrize("solve", [odeint, odeint_adjoint])
@pytest.mark.parametrize("many", [False, True], ids=["tensor", "tuple"])
@pytest.mark.parametrize("method", ["dopri5", "rk4", "radauIIA5", "implicit_adams"])
def test_what_the_drop_in_returns_may_be_changed_in_place(solve, many, method):
    f, more = as_tuple if many else rotation, {"adjoint_params": ()} if solve is not odeint else {}
    for times in (T, T[:1]):
        y0 = starts(many)
        ys = entries(solve(f, y0, times, method=method, **more))
        for y in ys:
            torch.relu_(y)
        sum(y.sum() for y in ys).backward()
        assert all(torch.equal(y, start()) for y in entries(y0))
    more |= {"event_fn": lambda t, y: t - 0.5, "odeint_interface": solve}
    if method == "dopri5":
        for y in entries(odeint_event(f, y0, T[0], **more)[1]):
            torch.relu_(y)


def test_callbacks_are_given_copies():
    class Greedy:
        def __call__(self, t, y):
            return rotation(t, y)

        def callback_accept_step(self, t, y, dt):
            y.zero_()

        callback_step = callback_accept_step

    for method in ("dopri5", "dopri8"):
        torch.testing.assert_close(
            drop_in(Greedy(), start(), method), drop_in(rotation, start(), method)
        )


NET = nn.Sequential(nn.ReLU(inplace=True), nn.Linear(2, 2)).double()


def in_place(t, y):
    return NET(y).detach()


def late(t, y):
    return (y.clamp_(min=-0.1) if 0.5 < t < 0.52 else y) * -1.0


@pytest.mark.parametrize("f", [in_place, lambda t, y: y.mul_(-1.0), late])
@pytest.mark.parametrize("mode", [torch.enable_grad, torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("name", NAMES)
def test_f_that_changes_the_state_in_place_is_refused(name, mode, f):
    if f is late and (mode is torch.inference_mode or name not in ("rk4", "heun2")):
        pytest.skip("seen where it happens at the start of a step")
    y0 = -start()
    solver = Solver(name, step_size=0.01) if f is late else make_solver(name)
    with mode(), pytest.raises(ValueError, match="y was changed in place near t="):
        solver(f, y0, TS)
    assert torch.equal(y0, -start())


@pytest.mark.parametrize("method", METHODS)
def test_the_drop_in_refuses_f_that_changes_the_state_in_place(method):
    if method == "scipy_solver":
        pytest.importorskip("scipy", reason="SciPy is not installed")
    with pytest.raises((ValueError, RuntimeError), match="in place|in-place"):
        drop_in(lambda t, y: y.mul_(-1.0), start(), method)


@grads
def test_every_gradient_refuses_it(gradient):
    y0 = start().requires_grad_()
    with pytest.raises((ValueError, RuntimeError), match="in place|in-place"):
        Solver(gradient=gradient)(lambda t, y: y.mul_(-1.0), y0, TS)
