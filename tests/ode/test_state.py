"""Forms of the state: what is accepted, what it must equal, and what is refused by name."""

from __future__ import annotations

from math import inf, nan

import pytest
import torch
from support.ode.problems import (
    ADAPTIVE,
    NAMES,
    THEIR_ADAPTIVE,
    THEIR_FIXED,
    Recorded,
    accepted_steps,
    logistic,
    make_solver,
)

from node_runner.ode import Adjoint, Direct, Quadrature, Replay, Solver, SolverError, torchdiffeq
from node_runner.ode import torchdiffeq as options


def decay(t, y):
    return -y


@pytest.mark.parametrize("shape", [(), (1,), (4,), (2, 3), (2, 1, 3), (2, 2, 2, 2)])
@pytest.mark.parametrize("name", NAMES)
def test_shape_is_the_users(name, shape, draw):
    """Any shape solves as the vector of its elements does."""
    y0, shapes = draw(*shape), set()

    def f(t, y):
        shapes.add(tuple(y.shape))
        return logistic(t, y)

    solution = make_solver(name, 1e-4)(f, y0, [0.0, 0.3, 1.0])
    flat = make_solver(name, 1e-4)(logistic, y0.reshape(-1), [0.0, 0.3, 1.0])
    assert shapes == {shape}
    assert solution.ys.shape == (3, *shape) and solution.final.shape == shape
    assert torch.equal(solution.ys.reshape(3, -1), flat.ys)


def pairwise(t, state):
    """A pair of shapes (2, 3) and (4,) in which each drives the other."""
    a, b = state
    return torch.cos(t) * a * b.sum(), -b + a.sum() / 10


def joined(t, y):
    a, b = pairwise(t, (y[:6].view(2, 3), y[6:]))
    return torch.cat([a.reshape(-1), b])


@pytest.mark.parametrize("name", NAMES)
def test_tuple_of_shapes_equals_the_concatenation(name, draw):
    """On a fixed grid no norm is involved, so that only the order of sums may differ. Elsewhere it
    is the maximum over entries in one and the mean over all in the other.
    """
    a, b, ts = draw(2, 3), draw(4), [0.0, 0.33, 1.0]
    a_t, b_t = make_solver(name, 1e-6)(pairwise, (a, b), ts).ys
    y_t = make_solver(name, 1e-6)(joined, torch.cat([a.reshape(-1), b]), ts).ys
    assert a_t.shape == (3, 2, 3) and b_t.shape == (3, 4)
    near = 3e-4 if name in ADAPTIVE else 1e-13
    torch.testing.assert_close(torch.cat([a_t.flatten(1), b_t], 1), y_t, rtol=near, atol=near)


@pytest.mark.parametrize("name", ADAPTIVE)
def test_equal_entries_take_the_steps_of_one(name, draw):
    """The maximum over entries that are alike is the norm of each, and of their concatenation."""
    y, ts = draw(4).abs(), [0.0, 0.4, 2.0]
    solver = make_solver(name, 1e-5)
    one = solver(logistic, y, ts)
    two = solver(lambda t, s: (logistic(t, s[0]), logistic(t, s[1])), (y, y), ts)
    both = solver(logistic, torch.cat([y, y]), ts)
    assert one.stats == two.stats == both.stats
    for ys in (*two.ys, *both.ys.split(4, 1)):
        torch.testing.assert_close(ys, one.ys, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(
    "gradient", [Direct(), Replay(), Adjoint()], ids=["direct", "replay", "adjoint"]
)
def test_tuple_of_one_stays_a_tuple(gradient, draw):
    """In f, in the solution, and on the way back."""
    y0 = draw(3).requires_grad_()
    solution = Solver(gradient=gradient)(lambda t, s: (-s[0],), (y0,), [0.0, 0.5, 1.0])
    assert isinstance(solution.ys, tuple) and isinstance(solution.final, tuple)
    assert solution.ys[0].shape == (3, 3) and solution.final[0].shape == (3,)
    solution.final[0].sum().backward()
    torch.testing.assert_close(y0.grad, torch.full((3,), -1.0).double().exp(), rtol=1e-4, atol=0)


def test_state_need_not_be_contiguous(draw):
    y = draw(3, 4).abs()
    transposed = Solver()(lambda t, y: logistic(t, y.t()).t(), y.t(), [0.0, 0.5, 1.0]).ys
    torch.testing.assert_close(
        transposed.transpose(1, 2), Solver()(logistic, y, [0.0, 0.5, 1.0]).ys, rtol=1e-13, atol=0
    )


@pytest.mark.parametrize("ts", [torch.tensor([0, 1, 2]), [0, 1, 2], (0.0, 1.0, 2.0)])
def test_times_may_be_integers_or_a_sequence(ts, draw):
    y0 = draw(3)
    expected = Solver()(decay, y0, torch.tensor([0.0, 1.0, 2.0])).ys
    assert torch.equal(Solver()(decay, y0, ts).ys, expected)


Y = torch.ones(3, dtype=torch.float64)
UNFIT_STARTS = [[1.0, 2.0], None, (), (Y, 1.0), torch.ones(3, dtype=torch.long), Y.half()]
UNFIT_STARTS += [Y.to(torch.complex128), (Y, Y.float())]
UNFIT_TIMES = [[], [0.0, nan], [0.0, inf], torch.zeros(2, 2), torch.tensor(1.0)]
TURNING = {0: [0.0, 0.0], 1: [0.0, 1.0, 0.5], 2: [2.0, 1.0, 0.5, 0.5]}
OF_STATE, OF_ENTRY = "rate of the state", "rate of entry 1 of the state"
UNFIT_RATES = [
    (Y, Y[:2], rf"f returned \(2,\) as the {OF_STATE}, which has shape \(3,\)"),
    (Y, Y[None], rf"f returned \(1, 3\) as the {OF_STATE}"),
    (Y, None, f"f returned NoneType as the {OF_STATE}"),
    (Y, 0.0, f"f returned float as the {OF_STATE}"),
    (Y, (Y,), f"f returned tuple as the {OF_STATE}"),
    ((Y, Y), (Y, Y[:2]), rf"f returned \(2,\) as the {OF_ENTRY}"),
    ((Y, Y), (Y,), "f returned 1 rates for 2 entries"),
    ((Y, Y), (Y, Y, Y), "f returned 3 rates for 2 entries"),
    ((Y, Y), None, "f returned NoneType"),
]


@pytest.mark.parametrize("y0", UNFIT_STARTS, ids=lambda y0: str(type(y0)))
def test_unfit_start_is_refused(y0):
    with pytest.raises(ValueError, match="^y0 must be"):
        Solver()(decay, y0, [0.0, 1.0])


@pytest.mark.parametrize("ts", UNFIT_TIMES, ids=str)
def test_unfit_times_are_refused(ts):
    with pytest.raises(ValueError, match="^ts must be"):
        Solver()(decay, Y, ts)


@pytest.mark.parametrize("place", TURNING)
def test_times_that_turn_are_refused_where_they_do(place):
    with pytest.raises(ValueError, match=rf"^ts must be .*ts\[{place}\]=.*ts\[{place + 1}\]="):
        Solver()(decay, Y, TURNING[place])


@pytest.mark.parametrize("y0, returned, message", UNFIT_RATES)
def test_unfit_rate_is_refused(y0, returned, message):
    with pytest.raises(ValueError, match=message):
        Solver()(lambda t, y: returned, y0, [0.0, 1.0])


def test_tolerances_may_differ_by_entry(draw):
    """Loose on an entry that is hard, tight on one that is easy: fewer steps than tight on both,
    and the same as one tolerance where both are equal.
    """
    y0, ts = (draw(3), draw(3)), [0.0, 3.0]

    def f(t, state):
        return -state[0], -state[1] + torch.sin(20 * t)

    def nfe(rtol, atol):
        return Solver(rtol=rtol, atol=atol)(f, y0, ts).stats.forward.nfe

    tight, loose = nfe(1e-8, 1e-8), nfe([1e-8, 1e-2], [1e-8, 1e-2])
    assert loose < tight / 2
    assert nfe([1e-8, 1e-8], 1e-8) == nfe(1e-8, [1e-8, 1e-8]) == tight


@pytest.mark.parametrize("name", ["rtol", "atol"])
@pytest.mark.parametrize("values", [[1e-3], [1e-3, 1e-3, 1e-3]])
def test_wrong_numbers_of_tolerances_and_weights_are_refused(name, values):
    with pytest.raises(ValueError, match=f"{name} has {len(values)} values for 2 entries"):
        Solver(**{name: values})(lambda t, s: s, (Y, Y), [0.0, 1.0])
    with pytest.raises(ValueError, match=f"weights has {len(values)} values for 2 entries"):
        Solver()(lambda t, s: s, (Y, Y), [0.0, 1.0], weights=values)


def with_passenger(t, state):
    """The first entry alone; the second is far harder and does not act on the first."""
    return logistic(t, state[0]), torch.cos(50 * t) * torch.ones_like(state[1])


@pytest.mark.parametrize("name", ADAPTIVE)
def test_entry_of_weight_zero_chooses_no_step(name, draw):
    """The same attempts at the same times (to rounding: the entries share one buffer)."""
    y0, span, solver = draw(3).abs(), [0.0, 2.0], make_solver(name, 1e-5)
    alone = accepted_steps(solver, logistic, y0, span)
    ridden = accepted_steps(solver, with_passenger, (y0, draw(2)), span, weights=(1.0, 0.0))
    felt = accepted_steps(solver, with_passenger, (y0, draw(2)), span, weights=(1.0, 1.0))
    torch.testing.assert_close(torch.tensor(ridden), torch.tensor(alone), rtol=1e-9, atol=1e-9)
    assert len(felt) > len(alone)


def test_nan_in_an_entry_of_weight_zero_rejects_the_step(draw):
    """The third call is a stage of the first attempt."""

    def f(t, state):
        return -state[0], torch.full_like(state[1], nan if len(calls.times) == 3 else 0.0)

    calls = Recorded(f)
    solution = Solver(first_step=0.1)(calls, (draw(3), draw(2)), [0.0, 1.0], weights=[1.0, 0.0])
    assert solution.stats.forward.rejected == 1
    assert all(torch.isfinite(y).all() for y in solution.final)


def test_lasting_nan_in_an_entry_of_weight_zero_raises(draw):
    with pytest.raises(SolverError, match="f returned NaN or inf"):
        Solver()(lambda t, s: (-s[0], s[1] * nan), (Y, Y), [0.0, 1.0], weights=[1.0, 0.0])


EMPTY = [
    torch.ones(0, 3, dtype=torch.float64),
    (torch.ones(2, dtype=torch.float64), torch.ones(2, 0, dtype=torch.float64)),
    (torch.ones(0, dtype=torch.float64), torch.ones(2, dtype=torch.float64)),
    (torch.ones(0, dtype=torch.float64), torch.ones(0, 2, dtype=torch.float64)),
]


def decays(t, y):
    return tuple(-each for each in y) if isinstance(y, tuple) else -y


def check_empty(y0, ys, gradient=True):
    """exp(-t) where there are elements, and the shapes of y0 everywhere."""
    for start, y in zip(*((y0, ys) if isinstance(y0, tuple) else ((y0,), (ys,))), strict=True):
        exact = torch.full_like(start, 0.3679)
        assert y.shape == (len(TIMES), *start.shape)
        torch.testing.assert_close(y[-1].detach(), exact, rtol=0.06, atol=0)
        if gradient:
            (found,) = torch.autograd.grad(y[-1].sum(), start, retain_graph=True)
            torch.testing.assert_close(found, exact, rtol=0.06, atol=0)


TIMES = [0.0, 0.4, 1.0]


def with_gradient(y0):
    if isinstance(y0, tuple):
        return tuple(y.clone().requires_grad_() for y in y0)
    return y0.clone().requires_grad_()


@pytest.mark.parametrize("gradient", [None, Direct(), Replay(), Replay(1), Adjoint()])
@pytest.mark.parametrize(
    "name, y0", [*((name, EMPTY[1]) for name in NAMES), *(("dopri5", y0) for y0 in EMPTY)]
)
def test_empty_batches_and_entries(name, gradient, y0):
    with torch.set_grad_enabled(gradient is not None):
        y0 = with_gradient(y0)
        ys = make_solver(name, 1e-3, gradient=gradient)(decays, y0, TIMES).ys
        check_empty(y0, ys, gradient is not None)


@pytest.mark.parametrize("y0", EMPTY, ids=["batch", "entry", "first", "all"])
def test_dense_output_events_and_quadratures_of_empty_states(y0):
    solver = Solver("dopri5", 1e-4, 1e-4, gradient=Adjoint(norm="full"))
    y0, unused = with_gradient(y0), torch.zeros(0, dtype=torch.float64, requires_grad=True)
    check_empty(y0, solver(decays, y0, TIMES, params=[unused]).ys)
    check_empty(y0, solver.dense(decays, y0, 0.0, 1.0)(TIMES))
    assert solver.event(decays, y0, 0.0, lambda t, y: t - 0.5, t_end=1.0).found
    with_area = Solver()(
        lambda t, y: (decays(t, y), (t * 1.0,)), y0, TIMES, quadratures=[Quadrature(unused.sum())]
    )
    assert with_area.final_quadratures[0].item() == pytest.approx(0.5, abs=1e-4)


METHODS = [*THEIR_ADAPTIVE, *THEIR_FIXED, "scipy_solver"]


@pytest.mark.filterwarnings("ignore:.*corrector has not converged")
@pytest.mark.parametrize(
    "method, y0",
    [*((method, EMPTY[1]) for method in METHODS)]
    + [(method, y0) for y0 in EMPTY for method in ("dopri5", "trapezoid", "scipy_solver")],
)
def test_empty_batches_and_entries_in_the_drop_in(method, y0):
    if method == options.SCIPY:
        pytest.importorskip("scipy", reason="SciPy is not installed")
    t = torch.tensor(TIMES, dtype=torch.float64)
    chosen = {} if method in (*THEIR_ADAPTIVE, "scipy_solver") else {"step_size": 0.1}
    y0, common = with_gradient(y0), {"rtol": 1e-3, "atol": 1e-3, "method": method}
    ys = torchdiffeq.odeint(decays, y0, t, options=chosen, **common)
    check_empty(y0, ys, method != options.SCIPY)
    if method != options.SCIPY:
        ys = torchdiffeq.odeint_adjoint(decays, y0, t, options=chosen, adjoint_params=(), **common)
        check_empty(y0, ys)
