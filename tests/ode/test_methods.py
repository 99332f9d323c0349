"""Laws that every file of node_runner/ode/methods obeys, by the order its tableau claims."""

from __future__ import annotations

import pytest
import torch
from support.ode.problems import ADAPTIVE, NAMES, Net, logistic, logistic_exact, slope

from node_runner.ode import Solver, methods
from node_runner.ode.rhs import Rhs
from node_runner.ode.state import Layout, RightSide
from node_runner.ode.stats import Counts
from node_runner.ode.step import Buffer, Tape, take_step

END = 4.0
STARTS = torch.linspace(0.1, 1.5, 8, dtype=torch.float64)


def step_counts(order):
    """Grids fine enough to show the order and coarse enough that rounding does not hide it."""
    return (128, 256, 512) if order <= 4 else (64, 128, 256) if order <= 6 else (24, 32, 48)


def on_grid(name, f, y, times, kind=Buffer):
    """The solution on a given grid, step by step: adaptive methods too take these steps."""
    layout, tableau = Layout(y), methods.get(name).tableau
    stages, rates = kind(tableau, layout), RightSide(Rhs(f, layout.device), layout, Counts())
    ys = [y]
    for t0, t1 in zip(times, times[1:], strict=False):
        stages.put(0, rates(0, t0, ys[-1]))
        ys.append(take_step(rates, tableau, stages, t0, t1, ys[-1], tableau.stages))
    return torch.stack(ys)


def uniform(n):
    return [END * i / n for i in range(n + 1)]


@pytest.mark.parametrize("name", NAMES)
def test_observed_order_is_the_claimed_one(name):
    """RMS over 8 starts and 8 times, so that no error passes through zero."""
    order = methods.get(name).order
    counts, errors = step_counts(order), []
    for n in counts:
        times = uniform(n)
        ys = on_grid(name, logistic, STARTS, times)[:: n // 8]
        exact = logistic_exact(torch.tensor(times[:: n // 8]).double()[:, None], STARTS)
        errors.append((ys - exact).square().mean().sqrt().item())
    assert -slope(counts, errors) == pytest.approx(order, abs=0.25)


@pytest.mark.parametrize("name", ADAPTIVE)
def test_error_estimate_shrinks_with_the_order_that_control_assumes(name):
    """RMS over 8 starts and 8 times, as above, each step from the exact solution."""
    tableau, layout = methods.get(name).tableau, Layout(STARTS)
    rates = RightSide(Rhs(logistic, layout.device), layout, Counts())
    stages = Buffer(tableau, layout)
    counts, estimates = step_counts(tableau.order), []
    for n in counts:
        errors = []
        for t in uniform(8)[:-1]:
            y = logistic_exact(torch.tensor(t).double(), STARTS)
            stages.put(0, rates(0, t, y))
            take_step(rates, tableau, stages, t, t + END / n, y, tableau.stages)
            errors.append(END / n * stages.error())
        estimates.append(torch.stack(errors).square().mean().sqrt().item())
    assert -slope(counts, estimates) == pytest.approx(methods.get(name).exponent, abs=0.25)


@pytest.mark.parametrize("name", NAMES)
def test_steps_with_and_without_a_graph_agree(name, draw):
    """The fused buffer and the tape form the same sums in another order: rounding apart, equal."""
    f, y = Net(), draw(3)
    with torch.no_grad():
        fused = on_grid(name, f, y, uniform(8), Buffer)
    taped = on_grid(name, f, y, uniform(8), Tape)
    assert taped.grad_fn is not None
    torch.testing.assert_close(taped.detach(), fused, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("name", NAMES)
def test_quadratics_in_time_are_exact_from_order_three(name):
    """y' = 3 t^2 is integrated exactly by any method of order 3 or more, and by no Euler."""
    order = methods.get(name).order
    y0 = torch.zeros(1, dtype=torch.float64)
    y1 = on_grid(name, lambda t, y: (3 * t * t).expand(1), y0, [0.0, 1.0])[-1].item()
    assert (abs(y1 - 1) < 1e-12) == (order >= 3)


def test_euler_with_unit_steps_is_a_residual_network(draw):
    """y + f(y), layer by layer with tied weights, bit for bit."""
    layer, x = torch.nn.Linear(4, 4).double(), draw(5, 4)
    ys = Solver("euler", step_size=1.0)(lambda t, y: layer(y).tanh(), x, [0, 1, 2, 3]).ys
    expected = x
    for y in ys:
        assert torch.equal(y, expected)
        expected = expected + layer(expected).tanh()


def test_unknown_method_suggests_the_nearest_and_lists_all():
    with pytest.raises(ValueError, match="unknown method 'dopri6'; did you mean 'dopri") as raised:
        methods.get("dopri6")
    assert all(name in str(raised.value) for name in NAMES)


def test_unknown_method_without_a_near_one_lists_all():
    with pytest.raises(ValueError, match="unknown method 'xyz'; choose from adams, adaptive_heun"):
        Solver("xyz")
