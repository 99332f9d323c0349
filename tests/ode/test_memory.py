"""What the forward pass keeps for the backward one, as the number of steps grows."""

from __future__ import annotations

import pytest
import torch
from support.ode.problems import FIXED, Net, make_solver
from torch import nn

from node_runner.ode import Adjoint, Direct, Replay, Solver

WIDTH = 64
STATE = WIDTH * 8  # bytes of one state in float64


class Wide(nn.Module):
    """A field whose parameters are few against its activations."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones((), dtype=torch.float64))

    def forward(self, t, y):
        return torch.tanh(self.scale * y) - y


def saved_bytes(run):
    """Bytes of the different storages packed for the backward pass while ``run`` runs."""
    kept = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = (storage.nbytes(), tensor.detach())  # no address recurs
        return tensor.detach()  # the tensor itself would tie the graph into a cycle

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        result = run()
    assert result.requires_grad
    return sum(size for size, _ in kept.values())


def of_steps(gradient, steps, method="rk4", outputs=2):
    y0 = torch.linspace(-1, 1, WIDTH, dtype=torch.float64).requires_grad_()
    ts = [i / (outputs - 1) for i in range(outputs)]
    solver = Solver(method, step_size=1 / steps, gradient=gradient)
    return saved_bytes(lambda: solver(Wide(), y0, ts).final)


@pytest.mark.parametrize("method", FIXED)
def test_direct_grows_with_the_steps(method):
    """By the same for each further step: the graph of each holds several states."""
    a, b, c = (of_steps(Direct(), n, method) for n in (8, 16, 32))
    assert c - b == pytest.approx(2 * (b - a), rel=0.02)
    assert b - a >= 8 * 2 * STATE


@pytest.mark.parametrize("method", FIXED)
def test_replay_grows_by_one_state_a_step(method):
    sizes = {n: of_steps(Replay(), n, method) for n in (8, 16, 32, 128)}
    for n, size in sizes.items():
        assert size - sizes[8] == (n - 8) * STATE


@pytest.mark.parametrize("method", FIXED)
def test_adjoint_does_not_grow(method):
    assert len({of_steps(Adjoint(), n, method) for n in (8, 16, 32, 128)}) == 1


def test_adjoint_grows_by_one_state_an_output():
    few, many = (of_steps(Adjoint(), 32, outputs=n) for n in (3, 9))
    assert many - few == 6 * STATE


class Kept:
    """What a hook packs: alive as long as the graph holds it."""

    def __init__(self, tensor, alive):
        self.tensor, self.alive = tensor, alive
        alive.append(1)

    def __del__(self):
        self.alive.pop()


def keeping(alive):
    return torch.autograd.graph.saved_tensors_hooks(
        lambda tensor: Kept(tensor.detach(), alive), lambda kept: kept.tensor
    )


@pytest.mark.parametrize(
    "gradient", [Direct(), Replay(), Adjoint()], ids=["direct", "replay", "adjoint"]
)
def test_what_is_kept_goes_with_the_solution(gradient, draw):
    """Without the garbage collector: no cycle holds on to it."""
    net, y0, alive = Net(3), draw(3).requires_grad_(), []
    with keeping(alive):
        solution = Solver(gradient=gradient)(net, y0, [0.0, 0.4, 1.0])
    assert alive
    del solution
    assert not alive


@pytest.mark.parametrize("name", ["dopri5", "adaptive_heun"])
def test_rejected_attempts_leave_no_graph(name, draw):
    """What stays alive is that of the accepted steps: as much a step as in a solve without
    rejections.
    """
    net, y0, alive = Net(3), draw(3), []

    def per_step(first_step):
        solver = make_solver(name, 1e-4, first_step=first_step)
        with keeping(alive):
            solution = solver(lambda t, y: net(t, y) - 4 * y, y0, [0.0, 1.0])
        counts = solution.stats.forward
        return len(alive) / counts.accepted, counts.rejected

    smooth, none = per_step(1e-3)
    rejecting, some = per_step(1.0)
    assert none == 0 and some > 0
    assert rejecting == pytest.approx(smooth, rel=0.01)
