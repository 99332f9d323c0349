"""odeint and its kin: torchdiffeq's signatures, our methods, no option ignored."""

from __future__ import annotations

from math import log

import pytest
import torch
from ode_problems import FIXED, NAMES, Net, Recorded, logistic

import node_runner
from node_runner import odeint, odeint_adjoint, odeint_event
from node_runner.ode import Solver, compat

Y0 = torch.tensor([0.1, 0.5, 1.3], dtype=torch.float64)
TS = torch.tensor([0.0, 0.3, 1.0, 4.0], dtype=torch.float64)
both = pytest.mark.parametrize("solve", [odeint, odeint_adjoint])


def with_no_parameters(solve, *args, **options):
    """odeint_adjoint wants to be told."""
    if solve is odeint_adjoint:
        options["adjoint_params"] = ()
    return solve(*args, **options)


@both
def test_agrees_with_scipy(solve):
    """Both at 1e-10: what differs is a few tolerances."""
    integrate = pytest.importorskip("scipy.integrate")
    net = Net(3)

    def f(t, y):
        with torch.no_grad():
            return net(torch.tensor(t).double(), torch.from_numpy(y)).numpy()

    theirs = integrate.solve_ivp(
        f, (0.0, 4.0), Y0.numpy(), t_eval=TS.numpy(), rtol=1e-10, atol=1e-10
    )
    ours = solve(net, Y0, TS, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(ours.detach(), torch.from_numpy(theirs.y.T), rtol=0, atol=1e-8)


@both
def test_defaults_are_dopri5_at_1e_7_and_1e_9(solve):
    f, g = Recorded(logistic), Recorded(logistic)
    a = with_no_parameters(solve, f, Y0, TS)
    b = with_no_parameters(solve, g, Y0, TS, rtol=1e-7, atol=1e-9, method="dopri5")
    assert torch.equal(a, b) and f.times == g.times
    g = Recorded(logistic)
    with_no_parameters(solve, g, Y0, TS, rtol=1e-7, atol=1e-7)
    assert f.times != g.times


@pytest.mark.parametrize("method", [None, *NAMES])
@both
def test_every_method_is_available(solve, method):
    ys = with_no_parameters(solve, logistic, Y0, TS[:3], method=method, rtol=1e-3, atol=1e-3)
    assert ys.shape == (3, 3) and torch.equal(ys[0], Y0)


@both
def test_tuples_go_in_and_come_out(solve):
    ys = with_no_parameters(
        solve, lambda t, s: (-s[0], s[1] * t), (Y0, Y0[:2]), TS, rtol=[1e-3, 1e-5]
    )
    assert isinstance(ys, tuple) and [tuple(y.shape) for y in ys] == [(4, 3), (4, 2)]


@pytest.mark.parametrize("name", FIXED)
@both
def test_fixed_steps_go_from_output_to_output_unless_told(solve, name):
    f = Recorded(logistic)
    with_no_parameters(solve, f, Y0, TS, method=name)
    starts = sorted(set(f.times) & set(TS.tolist()))
    assert starts[:3] == TS[:3].tolist()
    assert len(f.times) == 3 * node_runner.ode.methods.get(name).tableau.stages


@both
def test_step_size_is_honoured(solve):
    f = Recorded(logistic)
    with_no_parameters(solve, f, Y0, TS, method="rk38", options={"step_size": 0.5})
    assert len(f.times) == 4 * 8


@both
def test_first_step_and_cap_are_honoured(solve):
    f = Recorded(logistic)
    with_no_parameters(solve, f, Y0, TS, options={"first_step": 0.01})
    assert max(f.times[:7]) == 0.01
    with pytest.raises(node_runner.ode.SolverError, match="cap of 3 steps"):
        with_no_parameters(solve, logistic, Y0, TS, options={"max_num_steps": 3})


@pytest.mark.parametrize("option", ["dtype", "norm", "perturb", "grid_points", "max_steps"])
@both
def test_option_that_is_not_honoured_is_named(solve, option):
    with pytest.raises(ValueError, match=f"options has {option}, not honoured"):
        with_no_parameters(solve, logistic, Y0, TS, options={option: 1, "first_step": 0.1})


@both
def test_options_are_not_changed(solve):
    options = {"max_num_steps": 1000}
    with_no_parameters(solve, logistic, Y0, TS, method="rk38", options=options)
    assert options == {"max_num_steps": 1000}


@pytest.mark.parametrize("backwards", [False, True])
@both
def test_a_solve_ends_at_an_event(solve, backwards):
    """y = y0 exp(-t) is c at t = t0 + log(y0 / c), and then has the gradients of c."""
    y0 = torch.tensor([3.0], dtype=torch.float64, requires_grad=True)
    t0 = torch.tensor(0.5, dtype=torch.float64, requires_grad=True)
    c = torch.tensor(5.0 if backwards else 2.0, dtype=torch.float64, requires_grad=True)
    t, ys = odeint_event(
        lambda t, y: -y,
        y0,
        t0,
        event_fn=lambda t, y: y[0] - c,
        reverse_time=backwards,
        odeint_interface=lambda *args, **options: with_no_parameters(solve, *args, **options),
        rtol=1e-10,
        atol=1e-10,
    )
    exact = 0.5 + torch.log(3 / c.detach())
    torch.testing.assert_close(t.detach(), exact, rtol=1e-8, atol=0)
    torch.testing.assert_close(ys.detach(), torch.stack([y0.detach(), c.detach()[None]]))
    of_time = torch.autograd.grad(t, (y0, t0, c), retain_graph=True)
    assert [g.item() for g in of_time] == pytest.approx([1 / 3, 1, -1 / c.item()], rel=1e-6)
    of_state = torch.autograd.grad(ys[1].sum(), (y0, t0, c))
    assert [g.item() for g in of_state] == pytest.approx([0, 0, 1], abs=1e-6)


@both
def test_an_event_ends_tuples_too(solve):
    states = (Y0[:1], Y0)
    t, ys = with_no_parameters(
        solve, lambda t, s: (-s[0], -s[1]), states, TS[:2], event_fn=lambda t, s: s[0] - 0.05
    )
    assert t.item() == pytest.approx(log(2)) and [tuple(y.shape) for y in ys] == [(2, 1), (2, 3)]
    torch.testing.assert_close(ys[1], torch.stack([Y0, Y0 / 2]), rtol=1e-6, atol=1e-8)


@both
def test_an_event_needs_a_start_and_a_direction(solve):
    with pytest.raises(ValueError, match="t has 4 times, must have 2 with event_fn"):
        with_no_parameters(solve, logistic, Y0, TS, event_fn=lambda t, y: y[0])


@both
def test_unknown_method_is_refused(solve):
    with pytest.raises(ValueError, match="unknown method 'dopri55'; did you mean 'dopri5'"):
        with_no_parameters(solve, logistic, Y0, TS, method="dopri55")


def gradients_of(solve, net, **options):
    y0, ts = Y0.clone().requires_grad_(), TS.clone().requires_grad_()
    loss = solve(net, y0, ts, rtol=1e-9, atol=1e-9, **options).square().sum()
    return torch.autograd.grad(loss, (y0, ts, *net.parameters()))


@pytest.mark.parametrize("norm", [None, "seminorm", "full"])
def test_adjoint_agrees_with_backpropagation(norm):
    net = Net(3)
    options = {} if norm is None else {"adjoint_options": {"norm": norm}}
    direct, adjoint = gradients_of(odeint, net), gradients_of(odeint_adjoint, net, **options)
    for a, b in zip(direct, adjoint, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-6)


def test_adjoint_needs_to_know_the_parameters():
    with pytest.raises(ValueError, match="func is no nn.Module, so adjoint_params must"):
        odeint_adjoint(logistic, Y0, TS)


def test_adjoint_params_are_those_named():
    net = Net(3)
    odeint_adjoint(net.forward, Y0, TS, adjoint_params=tuple(net.parameters())).sum().backward()
    assert all(p.grad.abs().sum() > 0 for p in net.parameters())


def test_adjoint_params_that_leave_some_out_are_refused():
    net, y0 = Net(3), Y0.clone().requires_grad_()
    with pytest.raises(ValueError, match="requires a gradient"):
        odeint_adjoint(net, y0, TS, adjoint_params=(net.outer.weight,))


def test_adjoint_tolerances_are_those_of_the_backward_solve():
    def backward_calls(**options):
        net, calls = Net(3), []
        net.register_forward_pre_hook(lambda *_: calls.append(1))
        ys = odeint_adjoint(net, Y0, TS, rtol=1e-4, atol=1e-4, **options)
        calls.clear()
        ys.sum().backward()
        return len(calls)

    assert backward_calls(adjoint_rtol=1e-9, adjoint_atol=1e-9) > 2 * backward_calls()


@pytest.mark.parametrize(
    "options, message",
    [
        ({"norm": "mixed"}, "adjoint_options norm is 'mixed', must be one of seminorm, full"),
        ({"step_size": 0.1}, "adjoint_options has step_size, not honoured"),
    ],
)
def test_unfit_adjoint_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        odeint_adjoint(Net(3), Y0, TS, adjoint_options=options)


def test_adjoint_method_that_differs_is_refused():
    with pytest.raises(ValueError, match="adjoint_method is 'rk4'; only the forward method"):
        odeint_adjoint(Net(3), Y0, TS, method="dopri5", adjoint_method="rk4")


@pytest.mark.parametrize("method", [None, "dopri5"])
def test_adjoint_method_may_be_the_forward_method(method):
    assert odeint_adjoint(Net(3), Y0, TS, method=method, adjoint_method="dopri5").shape == (4, 3)


@both
def test_rk4_is_the_drop_ins_and_says_so(solve):
    """The 3/8 rule, as torchdiffeq has it: one name is not two methods without a word."""
    with pytest.warns(UserWarning, match="the 3/8 rule, and not the classic"):
        ys = with_no_parameters(solve, logistic, Y0, TS, method="rk4")
    torch.testing.assert_close(ys, compat.odeint(logistic, Y0, TS, method="rk4"))
    torch.testing.assert_close(ys, with_no_parameters(solve, logistic, Y0, TS, method="rk38"))
    classic = Solver("rk4", step_size=float("inf"))(logistic, Y0, TS).ys
    assert (ys - classic).abs().max() > 1e-9
