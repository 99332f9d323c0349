"""Options of the steps: each is obeyed by every method that takes it, and refused by name else."""

from __future__ import annotations

from math import inf

import pytest
import torch
from support.ode.problems import ALL, make_solver

from node_runner.ode import Adjoint, Direct, OptionError, Replay, Solver, SolverError, methods

DTYPE = torch.float64
TIMES = {"forwards": [0.0, 2.0], "backwards": [2.0, 0.0]}
ADAPTIVE = [name for name in ALL if methods.get(name).adaptive]
ONE_STEP = [name for name in ALL if methods.get(name).one_step]


def swing(t, y):
    return torch.cos(3 * t) - y


def kicked(t, y):
    """Decays before t = 1 and grows after; nobody may ask at t = 1 itself."""
    assert t.item() != 1.0
    return torch.where(t < 1.0, -y, 2 * y)


class Log:
    """Of all attempts."""

    def __init__(self):
        self.seen = []

    def __call__(self, event, t, y, dt):
        self.seen.append((event, t, y, dt))

    def steps(self):
        return [(t, t + dt) for event, t, _, dt in self.seen if event == "accept_step"]


def start(grad=False):
    return torch.tensor([[1.0, -0.5], [0.3, 2.0]], dtype=DTYPE, requires_grad=grad)


@pytest.mark.parametrize("direction", TIMES)
@pytest.mark.parametrize("name", ADAPTIVE)
def test_steps_are_bounded(name, direction):
    log, least = Log(), Log()
    Solver(name, 1e-3, 1e-3, max_step=0.05, on_attempt=log)(swing, start(), TIMES[direction])
    assert max(abs(b - a) for a, b in log.steps()) <= 0.05 + 1e-12 and len(log.steps()) >= 40
    tight = Solver(name, 1e-9, 1e-9, min_step=0.2, on_attempt=least, max_steps=60)
    tight(swing, start(), TIMES[direction])
    sizes = [abs(b - a) for a, b in least.steps()]
    assert min(sizes[:-1]) > 0.2 - 1e-12  # the last is what is left
    assert len(sizes) <= 11


@pytest.mark.parametrize("wall", [0.9, 1.0, 1.1, 1.3, 1.7])
@pytest.mark.parametrize("min_step", [0.1, 0.07, 1 / 3])
def test_a_least_step_that_is_not_finite_ends_the_solve(min_step, wall):
    """Wherever it starts: the difference of its ends is not min_step to the last bit."""
    with pytest.raises(SolverError, match=f"min_step={min_step:g} cannot be computed; it is not"):
        solver = Solver(min_step=min_step)
        solver(lambda t, y: torch.where(t > wall, torch.nan, -y), start(), [0.0, 2.0])


def test_safety_and_factors_steer_the_step():
    def attempts(**options):
        log = Log()
        Solver("dopri5", 1e-6, 1e-6, on_attempt=log, **options)(swing, start(), [0.0, 10.0])
        return [(event, dt) for event, _, _, dt in log.seen if event != "step"]

    assert len(attempts(safety=0.3)) > len(attempts())
    sizes = [dt for event, dt in attempts(first_step=1e-4, max_factor=1.5) if event[0] == "a"]
    grown = [b / a for a, b in zip(sizes, sizes[1:], strict=False)]
    assert max(grown) <= 1.5 + 1e-9 and grown[0] > 1.49
    harsh = attempts(first_step=9.0, min_factor=0.9)
    first = [dt for event, dt in harsh if event[0] == "r"][:10]
    assert min(b / a for a, b in zip(first, first[1:], strict=False)) > 0.9 - 1e-9


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("direction", TIMES)
@pytest.mark.parametrize("name", ["dopri5", "bosh3", "adams"])
def test_a_jump_of_a_constant_rate_costs_no_rejection(name, direction, dtype):
    """f is evaluated at the neighbours of the jump in the dtype of the state."""
    seen, ts = [], TIMES[direction]

    def saw(t, y):
        seen.append(t.item())
        return torch.where(t < 1, 1.0, -3.0).to(dtype) * torch.ones_like(y)

    found = Solver(name, 1e-6, 1e-6, jumps=[1.0])(saw, torch.zeros(2, dtype=dtype), ts)
    exact = torch.full((2,), -2.0 if direction == "forwards" else 2.0, dtype=dtype)
    torch.testing.assert_close(found.final, exact, rtol=0, atol=1e-6)
    sides = torch.nextafter(torch.tensor(1.0, dtype=dtype), torch.tensor([0.0, 2.0], dtype=dtype))
    assert 1.0 not in seen and set(sides.tolist()) <= set(seen)
    assert found.stats.forward.rejected == 0


@pytest.mark.parametrize("direction", TIMES)
@pytest.mark.parametrize("name", ALL)
def test_steps_end_where_they_are_told(name, direction):
    """And nowhere outside the interval."""
    log = Log()
    wanted = {"stops": [0.31, 1.7, 5.0], "on_attempt": log}
    make_solver(name, 1e-3, step_size=0.25, **wanted)(swing, start(), TIMES[direction])
    ends = [b for _, b in log.steps()]
    assert {0.31, 1.7} <= {round(b, 12) for b in ends} and max(ends) <= 2.0


@pytest.mark.parametrize("direction", TIMES)
@pytest.mark.parametrize("name", ALL)
def test_a_jump_is_seen_from_both_sides_and_never_itself(name, direction):
    y0 = start()
    solved = make_solver(name, 1e-6, step_size=0.05, jumps=[1.0])(kicked, y0, TIMES[direction])
    exact = y0 * torch.tensor(1.0 if direction == "forwards" else -1.0, dtype=DTYPE).exp()
    coarse = 0.2 if methods.get(name).order == 1 else 2e-2
    torch.testing.assert_close(solved.final, exact, rtol=coarse, atol=coarse)


@pytest.mark.parametrize(
    "gradient", [Direct(), Replay(), Adjoint()], ids=["direct", "replay", "adjoint"]
)
@pytest.mark.parametrize("name", ["dopri5", "rk4", "kvaerno3", "adams"])
def test_gradients_pass_a_jump(name, gradient):
    if name == "adams" and isinstance(gradient, Replay):
        gradient = Direct()
    y0 = start(grad=True)
    tol = 1e-5 if name == "kvaerno3" else 1e-8
    solver = make_solver(name, tol, step_size=0.02, jumps=[1.0], gradient=gradient)
    solver(kicked, y0, [0.0, 2.0]).final.sum().backward()
    exact = torch.full_like(y0, 1.0).exp()
    torch.testing.assert_close(y0.grad, exact, rtol=1e4 * tol if tol < 1e-6 else 1e-3, atol=0)


@pytest.mark.parametrize("ts", [[0.0, 1.0, 2.0], [1.0, 2.0], [2.0, 1.0]], ids=str)
def test_gradients_of_times_never_ask_at_a_jump(ts):
    """dL/dt_i is of the side that the solve comes from, dL/dt_0 of the side it leaves to."""
    times = torch.tensor(ts, dtype=DTYPE, requires_grad=True)
    y0 = start(grad=True)
    ys = Solver("dopri5", 1e-8, 1e-8, jumps=[1.0])(kicked, y0, times).ys
    ys[1].sum().backward()
    rate = -1.0 if ts[0] == 0.0 else 2.0
    assert times.grad[1].item() == pytest.approx(rate * ys[1].sum().item(), rel=1e-6)
    assert torch.isfinite(times.grad).all()
    if ts[0] == 1.0:
        with pytest.raises(AssertionError):  # f is asked there where it is not told of
            Solver("dopri5")(kicked, y0, times)


def test_a_stop_near_the_start_costs_no_more_than_its_step():
    def cost(stops):
        solver = Solver("dopri5", 1e-8, 1e-8, stops=stops)
        return solver(swing, start(), [0.0, 2.0]).stats.forward.nfe

    most = cost([]) + 4 * 6
    assert cost([1e-8]) <= most and cost([1e-14]) <= most


def test_a_jump_that_is_told_of_saves_evaluations():
    def field(t, y):
        return torch.where(t < 1.0, -y, 2 * y)

    told, untold = (
        Solver("dopri5", 1e-8, 1e-8, jumps=jumps)(field, start(), [0.0, 2.0]).stats.forward.nfe
        for jumps in ([1.0], [])
    )
    assert told < 0.7 * untold


@pytest.mark.parametrize("name", ADAPTIVE)
def test_an_error_norm_takes_the_place_of_the_rms(name):
    """A larger one asks for shorter steps, the RMS itself for the same."""
    seen = []

    def rms(state, factor=1.0):
        seen.append(state)
        return factor * state.square().mean().sqrt()

    def steps(**options):
        log = Log()
        Solver(name, 1e-4, 1e-4, on_attempt=log, **options)(swing, start(), [0.0, 2.0])
        return log.steps()

    usual, own = steps(), steps(error_norm=rms)
    assert len(own) == len(usual) and all(y.shape == (2, 2) for y in seen)
    torch.testing.assert_close(torch.tensor(own), torch.tensor(usual), rtol=1e-6, atol=1e-6)
    assert len(steps(error_norm=lambda y: rms(y, 1e3))) > len(usual)


def test_an_error_norm_of_tuples_and_on_the_way_back():
    """It sees y and its adjoint, each as y0 is; 0 of an entry forgets it."""
    seen = []

    def first(state):
        seen.append(tuple(y.shape for y in state))
        return state[0].square().mean().sqrt()

    def field(t, state):
        return -state[0], torch.cos(20 * t) * state[1]

    y0 = (start(grad=True), torch.ones(3, dtype=DTYPE))
    cost = {}
    for norm in (None, first):
        solver = Solver("dopri5", 1e-6, 1e-6, error_norm=norm, gradient=Adjoint())
        solution = solver(field, y0, [0.0, 2.0])
        solution.final[0].sum().backward()
        cost[norm] = solution.stats.forward.nfe, solution.stats.backward.nfe
    assert set(seen) == {((2, 2), (3,))}
    assert cost[first][0] < cost[None][0] and cost[first][1] < cost[None][1]


@pytest.mark.parametrize("name", ALL)
def test_attempts_are_told_and_change_nothing(name):
    log = Log()
    options = {"first_step": 1.5} if name in ADAPTIVE else {}
    told = make_solver(name, 1e-6, step_size=0.25, on_attempt=log, **options)
    silent = make_solver(name, 1e-6, step_size=0.25, **options)
    solution = told(swing, start(), [0.0, 2.0])
    assert torch.equal(solution.final, silent(swing, start(), [0.0, 2.0]).final)
    events = [event for event, *_ in log.seen]
    assert events[::2] == ["step"] * (len(events) // 2)
    counts = solution.stats.forward
    assert events.count("accept_step") == counts.accepted
    assert events.count("reject_step") == counts.rejected


def test_steps_that_are_explained_are_told_once():
    log = Log()
    f = lambda t, y: torch.where(t > 0.5, torch.nan, -y)  # noqa: E731
    with pytest.raises(SolverError, match="not finite after this step"):
        Solver("rk4", step_size=0.25, on_attempt=log)(f, start(), [0.0, 1.0])
    assert [event for event, *_ in log.seen].count("step") == 4


@pytest.mark.parametrize("returned", [torch.ones(3), None, "x"], ids=str)
def test_an_error_norm_returns_a_number(returned):
    with pytest.raises(OptionError, match="error_norm returned .*, must return one number"):
        Solver(error_norm=lambda y: returned)(swing, start(), [0.0, 1.0])


def test_weights_and_an_error_norm_exclude_each_other():
    solver = Solver(error_norm=lambda y: y.abs().max())
    with pytest.raises(ValueError, match="weights and error_norm exclude each other"):
        solver(swing, start(), [0.0, 1.0], weights=[1.0])


def test_tolerances_of_single_numbers():
    """What is asked of one number alone costs more than of none, and no more than of all."""

    def cost(tol):
        return Solver("dopri5", tol, tol)(swing, start(), [0.0, 8.0]).stats.forward.nfe

    one = torch.tensor([[1e-3, 1e-9], [1e-3, 1e-3]], dtype=DTYPE)
    assert cost(1e-3) < cost([one]) <= cost(1e-9)
    assert cost([one]) == cost([one.tolist()])
    with pytest.raises(ValueError, match=r"rtol\[0\] has shape \(3,\), must broadcast to \(2, 2\)"):
        cost([torch.ones(3)])


REFUSED = {
    "min_step": -1.0,
    "max_step": 0.0,
    "safety": 1.5,
    "min_factor": 1.0,
    "max_factor": 0.5,
    "stops": [0.0, inf],
    "jumps": "soon",
}


@pytest.mark.parametrize("name", REFUSED)
def test_values_out_of_range(name):
    with pytest.raises(ValueError, match=f"^{name} is"):
        Solver(**{name: REFUSED[name]})


FOREIGN = {"min_step": 0.1, "max_step": 0.1, "safety": 0.5, "error_norm": torch.max}
COMPILED = {**FOREIGN, "stops": [0.5], "jumps": [0.5], "on_attempt": print}


@pytest.mark.parametrize("name", FOREIGN)
def test_fixed_steps_take_no_options_of_step_control(name):
    with pytest.raises(ValueError, match=f"{name} is .*, but rk4 takes fixed steps"):
        Solver("rk4", step_size=0.1, **{name: FOREIGN[name]})


@pytest.mark.parametrize("name", ["safety", "min_factor", "max_factor"])
@pytest.mark.parametrize("method", ["adams", "bdf"])
def test_methods_of_variable_order_have_rules_of_their_own(method, name):
    value = {"safety": 0.5, "min_factor": 0.5, "max_factor": 2.0}[name]
    with pytest.raises(ValueError, match=f"{name} is .*, but {method} chooses order and"):
        Solver(method, **{name: value})


@pytest.mark.parametrize("name", COMPILED)
def test_compiled_steps_obey_none(name):
    with pytest.raises(ValueError, match=f"{name} is .* leave engine at eager"):
        Solver(engine="compiled", **{name: COMPILED[name]})
