"""Weights that are made, set or cast outside f have the gradients that ``Direct`` gives them."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize

from node_runner.ode import Adjoint, Direct, Replay, Solver, torchdiffeq

DOUBLE = torch.float64
Y0 = torch.tensor([[1.0, 0.5], [0.3, -0.2]], dtype=DOUBLE)
GRADIENTS = {"replay": Replay(), "bounded": Replay(2), "adjoint": Adjoint()}


def by(gradient):
    solver = Solver("rk4", step_size=0.2, gradient=gradient)
    return lambda f, y0, params=None: solver(f, y0, [0.0, 1.0], params=params).final


def drop_in(method):
    def solve(f, y0, params=None):
        named = () if params is None and not isinstance(f, nn.Module) else params
        t, options = torch.tensor([0.0, 1.0], dtype=DOUBLE), {"step_size": 0.2}
        return torchdiffeq.odeint_adjoint(
            f, y0, t, method=method, options=options, adjoint_params=named
        )[-1]

    return solve


SOLVES = {name: by(gradient) for name, gradient in GRADIENTS.items()}
SOLVES |= {f"drop-in {method}": drop_in(method) for method in ("rk4", "trapezoid")}


class Field(nn.Module):
    context = 0.0

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(2, 2).double()

    def forward(self, t, y):
        return torch.tanh(self.layer(y)) + self.context


class Symmetric(nn.Module):
    def forward(self, x):
        return x.triu() + x.triu(1).mT


def hypernetwork(solve):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 4)).double()
    weight = net(torch.ones(2, dtype=DOUBLE)).view(2, 2)
    solve(lambda t, y: torch.tanh(y @ weight), Y0, [*net.parameters()]).square().sum().backward()
    return [p.grad for p in net.parameters()]


def cached(solve, inside=True, used=False):
    f = Field()
    parametrize.register_parametrization(f.layer, "weight", Symmetric())
    with parametrize.cached():
        y0 = f(0.0, Y0) if used else Y0
        loss = solve(f, y0).square().sum()
        if inside:
            loss.backward()
    if not inside:
        loss.backward()
    return [p.grad for p in f.parameters()]


def cached_until_the_way_back(solve):
    return cached(solve, inside=False)


def cached_before_the_solve(solve):
    return cached(solve, used=True)


def cached_before_the_solve_until_the_way_back(solve):
    return cached(solve, inside=False, used=True)


def weight_norm(solve):
    f = Field()
    nn.utils.parametrizations.weight_norm(f.layer)
    solve(f, Y0).square().sum().backward()
    return [p.grad for p in f.parameters()]


def functional_call(solve, requires_grad=True):
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.f = Field().requires_grad_(False)

        def forward(self, y):
            return solve(self.f, y)

    model, y0 = Model(), Y0.clone().requires_grad_()
    weights = {k: (p + 0.3).requires_grad_(requires_grad) for k, p in model.named_parameters()}
    torch.func.functional_call(model, weights, (y0,)).square().sum().backward()
    return [y0.grad, *(w.grad for w in weights.values() if requires_grad)]


def functional_call_of_constants(solve):
    return functional_call(solve, requires_grad=False)


def contexts(solve):
    """A field whose context is another for each solve, and one way back for all."""
    f, encoder = Field(), nn.Linear(2, 2).double()
    loss = 0.0
    for i in range(2):
        f.context = encoder(Y0 + i)
        loss = loss + solve(f, Y0, [*f.layer.parameters(), *encoder.parameters()]).square().sum()
    loss.backward()
    return [f.layer.weight.grad, encoder.weight.grad]


def rebound_closure(solve):
    w, loss = torch.tensor(0.3, dtype=DOUBLE, requires_grad=True), 0.0
    for i in range(2):
        data = Y0 + i
        loss = loss + solve(lambda t, y: torch.tanh(w * y) + data, Y0, [w]).square().sum()  # noqa: B023
    loss.backward()
    return [w.grad]


def lazily_made(solve):
    raw, kept = torch.tensor(0.3, dtype=DOUBLE, requires_grad=True), []

    def f(t, y):
        if not kept:
            kept.append(raw.exp())
        return -kept[0] * y

    solve(f, Y0, [raw]).square().sum().backward()
    return [raw.grad]


def start_in_f(solve):
    leaf = Y0.clone().requires_grad_()
    y0 = 2 * leaf
    solve(lambda t, y: torch.tanh(y0 * y), y0).sum().backward()
    return [leaf.grad]


def named_twice(solve):
    w = torch.tensor(0.3, dtype=DOUBLE, requires_grad=True)
    solve(lambda t, y: torch.tanh(w * y), Y0, [w, w]).square().sum().backward()
    return [w.grad]


def one_tensor(solve):
    w = torch.full((2, 2), 0.3, dtype=DOUBLE, requires_grad=True)
    solve(lambda t, y: torch.tanh(y @ w), Y0, w).square().sum().backward()
    return [w.grad]


def hooks(solve):
    f, runs = Field(), []
    f.layer.weight.register_hook(lambda g: g.clamp(-0.1, 0.1))
    f.layer.bias.register_hook(lambda g: g / 2)
    f.layer.bias.register_post_accumulate_grad_hook(lambda p: runs.append(p))
    solve(f, Y0).square().sum().backward()
    assert len(runs) == 1
    return [p.grad for p in f.parameters()]


def hooks_of_a_computed_tensor(solve):
    raw = torch.tensor(0.3, dtype=DOUBLE, requires_grad=True)
    w = raw.exp()
    w.register_hook(lambda g: g / 2)
    w.retain_grad()
    solve(lambda t, y: -w * y, Y0, [raw]).square().sum().backward()
    return [raw.grad, w.grad]


SCENARIOS = [
    hypernetwork,
    cached,
    cached_until_the_way_back,
    cached_before_the_solve,
    cached_before_the_solve_until_the_way_back,
    weight_norm,
    functional_call,
    functional_call_of_constants,
    contexts,
    rebound_closure,
    lazily_made,
    start_in_f,
    named_twice,
    one_tensor,
    hooks,
    hooks_of_a_computed_tensor,
]


@pytest.mark.parametrize("scenario", SCENARIOS)
@pytest.mark.parametrize("solve", SOLVES.values(), ids=SOLVES)
def test_gradients_are_those_of_direct(scenario, solve):
    for expected, found in zip(scenario(by(Direct())), scenario(solve), strict=True):
        torch.testing.assert_close(found, expected, rtol=0.05, atol=0.05)


@pytest.mark.parametrize("named", ["w", ("w",), {"w": 1.0}])
def test_params_that_are_not_tensors_are_refused(named):
    with pytest.raises(ValueError, match=r"params\[0\] is a str"):
        Solver()(lambda t, y: -y, Y0, [0.0, 1.0], params=named)
    with pytest.raises(ValueError, match=r"adjoint_params\[0\] is a str"):
        torchdiffeq.odeint_adjoint(
            lambda t, y: -y, Y0, torch.tensor([0.0, 1.0]), adjoint_params=named
        )


@pytest.mark.parametrize("inside", [False, True], ids=["outside", "inside"])
@pytest.mark.parametrize("cast", [False, True], ids=["full", "half"])
@pytest.mark.parametrize("gradient", GRADIENTS.values(), ids=GRADIENTS)
def test_f_runs_under_the_autocast_state_of_the_solve_on_the_way_back(gradient, cast, inside):
    seen, results, x = set(), [], torch.linspace(-1, 1, 8).view(2, 4)
    for strategy in (Direct(), gradient):
        torch.manual_seed(0)
        layer, encoder = nn.Linear(4, 4), nn.Linear(4, 4)
        y0 = x.clone().requires_grad_()
        with torch.autocast("cpu", torch.bfloat16, enabled=cast):
            code = encoder(x)

            def f(t, y, layer=layer, code=code):
                product = layer(y)
                seen.add(product.dtype)
                return torch.tanh(product + code)

            solver = Solver("bosh3", 1e-2, 1e-2, gradient=strategy)
            params = [*layer.parameters(), code]
            ys = solver(f, y0, [0.0, 0.37, 1.0], params=params).ys
        with torch.autocast("cpu", torch.bfloat16, enabled=inside):
            ys.square().sum().backward()
        assert ys.dtype == torch.float32
        results.append(torch.cat([y0.grad.flatten(), encoder.weight.grad.flatten()]))
    assert seen == {torch.bfloat16 if cast else torch.float32}
    torch.testing.assert_close(results[1], results[0], rtol=0.05, atol=0.05)
