"""Where the backward solve of an adjoint cannot pass the states of the forward solve again, it is
said, logged and counted; where it can, nothing is said.
"""

import logging
from functools import partial

import pytest
import torch
from support.ode.gradient_cases import KINDS, gradients, make_case
from support.ode.problems import ADAPTIVE, make_solver
from torch import nn

import node_runner.ode as ode
from node_runner.ode import Adjoint, Direct, Quadrature, Replay, Solver, SolverError, torchdiffeq


class Leaky(nn.Module):
    """y_0 is drawn to sin 5t at a rate ``leak``, y_1 follows it through a weight."""

    def __init__(self, leak, dtype=torch.float64):
        super().__init__()
        self.leak, self.w = leak, nn.Parameter(torch.tensor(1.3, dtype=dtype))

    def forward(self, t, y):
        return torch.stack((-self.leak * (y[0] - torch.sin(5 * t)), torch.tanh(self.w * y[0])))


START = torch.tensor([1.0, 0.0], dtype=torch.float64)


@pytest.fixture
def said(caplog):
    """What is logged about a drift so far."""
    caplog.set_level(logging.WARNING, logger="node_runner")
    return lambda: [r.getMessage() for r in caplog.records if "adjoint" in r.getMessage()]


def core_loss(method, field, y0, ts, **options):
    solver = make_solver(method, 1e-3, step_size=0.02, gradient=Adjoint(**options))
    return solver(field, y0, ts)


METHODS = [(name, torch.float64) for name in (*ADAPTIVE, "rk4", "euler")]


@pytest.mark.parametrize("method, dtype", [*METHODS, ("dopri5", torch.float32)])
def test_a_contracting_field_is_warned_of(method, dtype, said):
    field, y0 = Leaky(20.0, dtype), START.to(dtype, copy=True).requires_grad_()
    solution = core_loss(method, field, y0, [0.0, 1.0])
    solution.final[1].backward()
    (text,) = said()
    assert "gradient=replay" in text and "at t=0" in text
    assert ("times its tolerance" in text) == (method in ADAPTIVE)
    assert solution.stats.drift > 0.1
    assert solution.stats.nfe()["gradient/drift"] == solution.stats.drift


def interfaces():
    def drop_in(field, y0, t, **options):
        return torchdiffeq.odeint_adjoint(field, y0, t, rtol=1e-5, atol=1e-5, **options)

    def of_y0_alone(field, y0, t):
        field.requires_grad_(False)
        return drop_in(field, y0, t, adjoint_params=())

    steps = {"step_size": 0.02}
    return {
        "drop-in": drop_in,
        "seminorm": partial(drop_in, adjoint_options={"norm": "seminorm"}),
        "fixed": partial(drop_in, method="rk4", options=steps),
        "implicit": partial(drop_in, method="implicit_euler", options=steps),
        "y0 alone": of_y0_alone,
    }


@pytest.mark.parametrize("kind", interfaces())
def test_odeint_adjoint_warns_too_and_once(kind, said):
    field = Leaky(20.0)
    for _ in range(2):
        y0 = START.clone().requires_grad_()
        t = torch.tensor([0.0, 1.0], dtype=torch.float64)
        interfaces()[kind](field, y0, t)[-1, 1].backward()
    assert len(said()) == 1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", [*ADAPTIVE, "rk4"])
def test_a_field_that_can_be_solved_backwards_is_not(method, kind, said):
    """At tolerances at which the gradient is right to a percent."""
    solver = make_solver(method, 1e-4, step_size=0.05, gradient=Adjoint())
    _, stats = gradients(solver, make_case(kind))
    assert 0 < stats.drift < 0.02
    assert not said()


@pytest.mark.parametrize("leak", [2.0, 8.0, 20.0])
@pytest.mark.parametrize("tol", [1e-5, 1e-7])
def test_a_gradient_is_right_to_a_percent_or_warned_of(tol, leak, said):
    found = []
    for gradient in (Adjoint(), Replay()):
        field, y0 = Leaky(leak), START.clone().requires_grad_()
        Solver("dopri5", tol, tol, gradient=gradient)(field, y0, [0.0, 1.0]).final[1].backward()
        found.append(torch.stack((field.w.grad, y0.grad[0])))
    right = torch.allclose(found[0], found[1], rtol=1e-2, atol=0)
    assert right or said()
    assert not (said() and leak == 2.0)


def test_the_worst_interval_counts_and_those_without_an_adjoint_do_not(said):
    """A short last interval hides no long one; after the last output of the loss, y is of no
    consequence.
    """
    ts = [0.0, 0.01, 1.0]
    field, y0 = Leaky(20.0), START.clone().requires_grad_()
    solution = core_loss("dopri5", field, y0, ts)
    solution.ys[1, 1].backward()
    assert solution.stats.drift < 1e-3 and not said()
    solution = core_loss("dopri5", field, y0, ts)
    solution.ys[2, 1].backward()
    assert solution.stats.drift > 0.1 and "at t=0.01" in said()[0]


def test_an_entry_of_weight_zero_is_left_out(said):
    """Nobody controls its error."""
    y0 = tuple(torch.ones(1, dtype=torch.float64, requires_grad=True) for _ in range(2))
    solver = Solver(gradient=Adjoint())
    solution = solver(lambda t, y: (-0.1 * y[0], -20 * y[1]), y0, [0.0, 1.0], weights=[1.0, 0.0])
    solution.final[0].sum().backward()
    assert solution.stats.drift < 1e-3 and not said()


def test_quadratures_are_not_compared(said):
    """They are not solved backwards."""
    y0 = torch.ones(2, dtype=torch.float64, requires_grad=True)
    one = [Quadrature(torch.zeros((), dtype=torch.float64))]
    solver = Solver(gradient=Adjoint())
    solution = solver(lambda t, y: (-y, (y.sum(),)), y0, [0.0, 1.0], quadratures=one)
    solution.final_quadratures[0].backward()
    assert 0 < solution.stats.drift < 1e-3 and not said()


def test_rounding_is_no_drift(said):
    """A tolerance below that of float32, where rounding is many times the tolerance."""
    y0 = torch.randn(64, 2, requires_grad=True)
    solver = Solver("dopri8", 1e-7, 1e-12, gradient=Adjoint())
    solver(lambda t, y: torch.stack((y[:, 1], -y[:, 0]), 1), y0, [0.0, 1.0]).final.sum().backward()
    assert not said()


def test_a_start_that_was_written_to_is_not_compared(said):
    y0 = torch.ones(2, dtype=torch.float64)
    w = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    solver = Solver(gradient=Adjoint())
    solution = solver(lambda t, y: -w * y, y0, [0.0, 0.5, 1.0], params=[w])
    y0.mul_(100)
    solution.final.sum().backward()
    assert solution.stats.drift < 1e-3 and not said()


def test_a_looser_forward_solve_is_no_drift(said):
    """The backward solve then ends as far off as the forward one was allowed to."""
    _, stats = gradients(
        Solver("dopri5", 1e-3, 1e-3, gradient=Adjoint(1e-11, 1e-11)), make_case("tensor")
    )
    assert stats.drift < 0.01 and not said()


@pytest.mark.parametrize("gradient", [Direct(), Replay()])
def test_the_other_strategies_have_none(gradient):
    _, stats = gradients(Solver(gradient=gradient), make_case("tensor"))
    assert stats.drift is None and "gradient/drift" not in stats.nfe()


def test_a_total_has_the_largest():
    stats = [ode.Stats(drift=0.1), ode.Stats(), ode.Stats(drift=0.3)]
    assert ode.total(stats).drift == 0.3 and ode.total(stats[1:2]).drift is None


def test_a_backward_solve_that_fails_suggests_replay():
    field, y0 = Leaky(60.0), START.clone().requires_grad_()

    def f(t, y):
        return field(t, y) - torch.cat((y[:1] ** 3, y[1:]))

    solver = Solver("dopri5", 1e-5, 1e-5, gradient=Adjoint(), max_steps=150)
    loss = solver(f, y0, [0.0, 2.0], params=[field.w]).final[1]
    with pytest.raises(SolverError, match="backward solve of the adjoint.*Try gradient=replay"):
        loss.backward()
    with pytest.raises(SolverError, match="backward solve of the adjoint.*Try gradient=replay"):
        t = torch.tensor([0.0, 2.0], dtype=torch.float64)
        torchdiffeq.odeint_adjoint(
            f,
            y0,
            t,
            rtol=1e-5,
            atol=1e-5,
            adjoint_params=(field.w,),
            adjoint_options={"max_num_steps": 150},
        )[-1, 1].backward()


def test_a_method_of_low_order_at_its_cap_is_said_to_be_one():
    field, y0 = Leaky(0.1), START.clone().requires_grad_()
    solver = Solver("adaptive_heun", 1e-3, 1e-3, gradient=Adjoint(1e-9, 1e-9), max_steps=50)
    loss = solver(field, y0, [0.0, 1.0]).final[1]
    with pytest.raises(SolverError, match="backward solve .* cap of 50 .* higher order"):
        loss.backward()
