"""Laws of the gradient strategies: against finite differences, against each other, and refusals."""

from __future__ import annotations

import pytest
import torch
from support.ode.gradient_cases import METHODS_AND_KINDS, gradients, make_case
from support.ode.problems import ADAPTIVE, NAMES, Net, make_solver
from torch import nn

from node_runner.ode import Adjoint, Direct, Replay, Solver, methods

STRATEGIES = {"direct": Direct(), "replay": Replay(), "adjoint": Adjoint()}
strategies = pytest.mark.parametrize("gradient", STRATEGIES.values(), ids=STRATEGIES)
without_graph = pytest.mark.parametrize(
    "gradient", [Replay(), Adjoint()], ids=["replay", "adjoint"]
)


def parametrised(solver, outputs=slice(None)):
    """The solution as a function of y0, ts and two parameters."""

    def run(y0, ts, w, b):
        def f(t, y):
            return torch.tanh(w @ y + b * t)

        return solver(f, y0, ts, params=(w, b)).ys[outputs]

    return run


def inputs(draw, ts):
    tensors = draw(2), torch.tensor(ts, dtype=torch.float64), draw(2, 2), draw(2)
    return tuple(x.requires_grad_() for x in tensors)


@strategies
def test_fixed_steps_pass_gradcheck(gradient, draw):
    """A step of 0.02 leaves the adjoint's own error of order 4 below 1e-6."""
    y0, ts, w, b = inputs(draw, [0.0, 0.33, 1.0])
    run = parametrised(Solver("rk4", step_size=0.02, gradient=gradient))
    assert torch.autograd.gradcheck(
        lambda y0, w, b: run(y0, ts.detach(), w, b), (y0, w, b), eps=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("ts", [[0.0, 0.33, 1.0], [1.0, 0.4, 0.0]], ids=["forward", "backward"])
@strategies
def test_adaptive_steps_pass_gradcheck(gradient, ts, draw):
    """Differences over 1e-4 of a solution good to 1e-10 are good to 1e-6, those of ts included."""
    solver = Solver("dopri5", rtol=1e-10, atol=1e-10, gradient=gradient)
    args = inputs(draw, ts)
    assert torch.autograd.gradcheck(parametrised(solver), args, eps=1e-4, atol=1e-5)


@strategies
def test_gradient_survives_rejected_steps(gradient, draw):
    """A first step of 1 for a rate of 10 is rejected several times; nothing of that remains."""
    solver = Solver("dopri5", rtol=1e-10, atol=1e-10, first_step=1.0, gradient=gradient)
    y0, w = draw(2).requires_grad_(), draw(2).requires_grad_()

    def run(y0, w):
        def f(t, y):
            return -10 * y + torch.sin(w * t)

        solution = solver(f, y0, [0.0, 0.2, 0.6], params=(w,))
        assert solution.stats.forward.rejected >= 2
        return solution.ys

    assert torch.autograd.gradcheck(run, (y0, w), eps=1e-4, atol=1e-5, fast_mode=True)


@pytest.mark.parametrize("name, kind", METHODS_AND_KINDS)
def test_replay_equals_direct(name, kind):
    """To rounding, in y0, quadratures, parameters and times, with outputs inside steps."""
    case = make_case(kind)
    direct, _ = gradients(make_solver(name, 1e-4, gradient=Direct()), case)
    replay, stats = gradients(make_solver(name, 1e-4, gradient=Replay()), case)
    for key, value in direct.items():
        torch.testing.assert_close(replay[key], value, rtol=1e-12, atol=1e-12, msg=key)
    assert stats.backward.nfe > 0


@pytest.mark.parametrize("name", NAMES)
def test_replay_costs_the_accepted_steps_once_more(name, draw):
    """Rejected attempts are not replayed, nor the last stage of an FSAL method: it serves the error
    estimate and the step after.
    """
    tableau, y0 = methods.get(name).tableau, draw(3).requires_grad_()
    solution = make_solver(name, 1e-4, gradient=Replay())(Net(3), y0, [0.0, 3.0])
    solution.final.sum().backward()
    accepted = solution.stats.forward.accepted
    assert solution.stats.backward.nfe == accepted * (tableau.stages - tableau.fsal)


@pytest.mark.parametrize("name", ADAPTIVE)
def test_gradient_of_ts_is_the_flow_of_the_exact_solution(name, draw):
    """For y' = a y: dy(t_i)/dt_i = a y(t_i), dy(t_i)/dt_0 = -a y(t_i), and no other."""
    ts = torch.tensor([0.0, 0.5, 1.0], dtype=torch.float64, requires_grad=True)
    ys = make_solver(name, 1e-6)(lambda t, y: -0.7 * y, draw(1), ts).ys[:, 0]
    jacobian = torch.stack([torch.autograd.grad(y, ts, retain_graph=True)[0] for y in ys[1:]])
    expected = -0.7 * torch.stack(
        [torch.stack([-ys[1], ys[1], 0 * ys[1]]), torch.stack([-ys[2], 0 * ys[2], ys[2]])]
    )
    torch.testing.assert_close(jacobian, expected.detach(), rtol=2e-3, atol=0)


@strategies
def test_only_what_requires_a_gradient_gets_one(gradient, draw):
    """A net with frozen parameters; and a start alone."""
    net, y0 = Net(3), draw(3)
    net.inner.weight.requires_grad_(False)
    Solver(gradient=gradient)(net, y0, [0.0, 1.0]).final.sum().backward()
    assert net.inner.weight.grad is None
    assert all(p.grad.abs().sum() > 0 for p in net.parameters() if p.requires_grad)
    net, y0 = Net(3).requires_grad_(False), y0.requires_grad_()
    Solver(gradient=gradient)(net, y0, [0.0, 1.0]).final.sum().backward()
    assert y0.grad.abs().sum() > 0 and all(p.grad is None for p in net.parameters())


class Halved(nn.Module):
    """One parameter in use and one that is not."""

    def __init__(self):
        super().__init__()
        self.used = nn.Parameter(torch.ones(2, dtype=torch.float64))
        self.unused = nn.Parameter(torch.ones(3, dtype=torch.float64))

    def forward(self, t, y):
        return -self.used * y


ALL = [*STRATEGIES.values(), Adjoint(norm="full")]


@pytest.mark.parametrize("gradient", ALL, ids=[*STRATEGIES, "adjoint-full"])
def test_unused_parameters_are_no_error(gradient, draw):
    """One of two, or all."""
    field, y0 = Halved(), draw(2).requires_grad_()
    Solver(gradient=gradient)(field, y0.detach(), [0.0, 1.0]).final.sum().backward()
    assert field.used.grad.abs().min() > 0
    solver, params = Solver(gradient=gradient), (field.unused,)
    solver(lambda t, y: -y, y0, [0.0, 1.0], params=params).final.sum().backward()
    assert field.unused.grad is None or not field.unused.grad.any()
    assert y0.grad == pytest.approx(torch.exp(torch.tensor([-1.0, -1.0])), abs=1e-4)


@pytest.mark.parametrize("gradient", ALL, ids=[*STRATEGIES, "adjoint-full"])
def test_rate_that_does_not_depend_on_the_state(gradient, draw):
    """y' = w cos t: dy/dy0 = 1, dy/dw = sin 1."""
    w, y0 = draw(2).requires_grad_(), draw(2).requires_grad_()
    solver = Solver(rtol=1e-8, atol=1e-8, gradient=gradient)
    solver(lambda t, y: w * torch.cos(t), y0, [0.0, 1.0], params=(w,)).final.sum().backward()
    torch.testing.assert_close(y0.grad, torch.ones(2).double(), rtol=0, atol=1e-12)
    torch.testing.assert_close(w.grad, torch.ones(2).double().sin(), rtol=0, atol=1e-6)


@strategies
def test_gradient_of_a_single_time_is_the_identity(gradient, draw):
    y0 = draw(3).requires_grad_()
    Solver(gradient=gradient)(Net(3), y0, [0.4]).ys.sum().backward()
    assert torch.equal(y0.grad, torch.ones(3).double())


@strategies
def test_gradient_reaches_the_layer_that_computed_a_context(gradient, draw):
    """A tensor in params need not be a leaf."""
    layer, x = nn.Linear(2, 3).double(), draw(2)

    def weight_gradient(strategy):
        layer.zero_grad()
        context = layer(x)
        solver = Solver(rtol=1e-8, atol=1e-8, gradient=strategy)
        f = lambda t, y: torch.tanh(context) - y  # noqa: E731
        solver(f, y0, [0.0, 0.5, 1.0], params=(context,)).ys.square().sum().backward()
        return layer.weight.grad.clone()

    y0 = draw(3)
    expected = weight_gradient(Direct())
    assert expected.abs().min() > 0
    torch.testing.assert_close(weight_gradient(gradient), expected, rtol=1e-6, atol=1e-8)


@strategies
def test_no_graph_is_kept_under_no_grad(gradient, draw):
    y0 = draw(3).requires_grad_()
    ts = torch.tensor([0.0, 1.0], requires_grad=True)
    with torch.no_grad():
        solution = Solver(gradient=gradient)(Net(3), y0, ts)
    assert not solution.ys.requires_grad and not solution.final.requires_grad


@strategies
def test_stats_count_the_calls_of_both_passes(gradient, draw):
    net, y0 = Net(3), draw(3)
    calls = []
    net.register_forward_pre_hook(lambda *_: calls.append(1))
    solution = Solver(gradient=gradient)(net, y0, [0.0, 0.4, 1.0])
    assert solution.stats.forward.nfe == len(calls)
    solution.ys.sum().backward()
    assert (solution.stats.backward.nfe == 0) == isinstance(gradient, Direct)
    assert solution.stats.forward.nfe + solution.stats.backward.nfe == len(calls)
