"""Laws of every recurrent cell: what may change a state, and what may not."""

from __future__ import annotations

import pytest
import torch
from series_cases import alone, random_series, shuffled, spread
from torch import nn

from node_runner.fields import MLP
from node_runner.latent import GRUD, RNN, Decay, ODECell
from node_runner.ode import Solver

SIZE = 3
MAKE = {
    "gru": lambda dim: RNN(dim, SIZE, gaps=False),
    "gru with gaps": lambda dim: RNN(dim, SIZE),
    "tanh": lambda dim: RNN(dim, SIZE, gaps=False, kind="tanh"),
    "tanh with gaps": lambda dim: RNN(dim, SIZE, kind="tanh"),
    "decay": lambda dim: Decay(dim, SIZE),
    "gru-d": lambda dim: GRUD(dim, SIZE),
    "ode": lambda dim: ODECell(dim, MLP(SIZE, (6,), layer="none"), Solver("dopri8", 1e-10, 1e-10)),
}
every_cell = pytest.mark.parametrize("name", MAKE)
FADES = {"decay": "rate", "gru-d": "state_rate"}  # by which part the state fades


def make(name, dim=2):
    return spread(MAKE[name](dim))


def states(cell, series):
    """After each observation of each series, nothing behind its end."""
    reading = cell.read(series)
    assert reading.states.shape == (len(series.times), series.times.shape[1] + 1, cell.hidden_size)
    assert not reading.states[:, 0].any()
    return [each[: n + 1] for each, n in zip(reading.states, series.lengths.tolist(), strict=True)]


def assert_close(found, expected, name):
    """To rounding, or to the solver's tolerance."""
    atol = 1e-8 if name == "ode" else 1e-13
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=atol)


@every_cell
def test_what_else_is_in_the_batch_and_padding_change_nothing(name):
    cell, series = make(name), random_series()
    together = states(cell, series)
    assert_close(together, [states(cell, alone(series, i))[0] for i in range(4)], name)
    order = [2, 0, 3, 1]
    assert_close(states(cell, shuffled(series, order)), [together[i] for i in order], name)


@every_cell
def test_each_state_is_told_of_its_own_observation_and_those_before_it(name):
    cell, series = make(name), random_series((5,))
    values = series.values.clone().requires_grad_()
    found = cell.read(series._replace(values=values)).states[0]
    for k in range(6):
        (grad,) = torch.autograd.grad(found[k].sum(), values, retain_graph=True)
        assert torch.equal(grad[0].abs().sum(1) > 0, torch.arange(5) < k)


@every_cell
def test_values_that_were_not_observed_never_matter(name):
    """Series holds 0 there; a cell does not rely on it."""
    cell, series = make(name), random_series()
    assert (series.present & ~series.mask.all(2)).any()
    for rubbish in (1e3, float("nan")):
        values = torch.where(series.mask, series.values, rubbish)
        assert_close(states(cell, series._replace(values=values)), states(cell, series), "")


def take_in(name, cell, h, x, seen, gap):
    """An observation, by the formulas of the papers; h is evolved."""
    inputs, net = torch.cat((x, seen.to(x.dtype))), cell.net
    if name.endswith("with gaps"):
        inputs = torch.cat((inputs, gap[None]))
    if isinstance(cell, RNN):
        weights = {k.removesuffix("_l0"): v for k, v in net.state_dict().items()}
        kind = nn.GRUCell if name.startswith("gru") else nn.RNNCell
        net = kind(len(inputs), cell.hidden_size).double()
        net.load_state_dict(weights)
    return net(inputs[None], h[None])[0]


def by_hand(name, cell, series):
    """The states of one series, observation by observation."""
    h, time, found = torch.zeros(SIZE, dtype=torch.float64), torch.tensor(0.0), []
    found.append(h)
    if name == "gru-d":
        last, when = cell.mean, torch.zeros(2, dtype=torch.float64)
    for t, x, seen in zip(*(part[0] for part in series), strict=True):
        if name == "gru-d":
            since = t - when
            keep = (-(cell.input_rate * since + cell.input_bias).clamp(min=0)).exp()
            x = torch.where(seen, x, keep * last + (1 - keep) * cell.mean)
            last, when = torch.where(seen, x, last), torch.where(seen, t, when)
            h = h * (-(cell.state_rate.weight @ since + cell.state_rate.bias).clamp(min=0)).exp()
        elif name == "decay":
            h = h * (-(cell.rate.weight[:, 0] * (t - time) + cell.rate.bias).clamp(min=0)).exp()
        elif name == "ode":
            h = cell.solver(cell.field, h[None], [0.0, float(t - time)]).final[0]
        h, time = take_in(name, cell, h, x, seen, t - time), t
        found.append(h)
    return torch.stack(found)


@every_cell
def test_reading_is_a_walk_by_the_papers_formulas(name):
    cell, series = make(name), random_series()
    expected = [by_hand(name, cell, alone(series, i)) for i in range(4)]
    assert_close(states(cell, series), expected, name)


@every_cell
def test_reading_is_to_evolve_and_to_update_where_all_is_observed(name):
    cell, series = make(name), random_series((4, 4, 4), whole=True)
    h, walked = torch.zeros(3, SIZE, dtype=torch.float64), []
    for k in range(4):
        gap = series.gaps[:, k]
        h = cell.update(cell.evolve(h, gap)[0], series.values[:, k], gap)
        walked.append(h)
    assert_close(torch.stack(walked, 1), cell.read(series).states[:, 1:], name)


@every_cell
def test_a_gap_of_zero_changes_nothing(name, draw):
    """A fading state has an offset, too: it then fades at each observation, as published."""
    cell, h = make(name), draw(4, SIZE)
    zero = torch.zeros(4, dtype=h.dtype)
    if name in FADES:
        assert not torch.equal(cell.evolve(h, zero)[0], h)
        getattr(cell, FADES[name]).bias.data.zero_()
    found, solves = cell.evolve(h, zero)
    assert torch.equal(found, h) and solves == ()
    gap = torch.tensor([0.0, 0.7, 0.0, 2.0], dtype=h.dtype)  # beside longer ones
    assert_close(cell.evolve(h, gap)[0][[0, 2]], h[[0, 2]], "")


@every_cell
def test_gaps_add_up(name, draw):
    """Of a fading state without an offset and rates above 0."""
    cell, h = make(name), draw(4, SIZE)
    if name in FADES:
        part = getattr(cell, FADES[name])
        part.bias.data.zero_()
        part.weight.data.abs_()
    one, two = torch.rand(2, 4, dtype=h.dtype)
    two[1] = 0  # beside longer ones
    in_turn = cell.evolve(cell.evolve(h, one)[0], two)[0]
    at_once = cell.evolve(h, one + two)[0]
    assert torch.allclose(at_once, h, atol=0.01) == isinstance(cell, RNN)
    assert_close(at_once, in_turn, name)


@every_cell
def test_each_state_has_a_gap_of_its_own(name, draw):
    """Whatever the gaps beside it, in any shape."""
    cell, h, gap = make(name), draw(2, 3, SIZE), torch.rand(2, 3, dtype=torch.float64)
    found = cell.evolve(h, gap)[0]
    for i in range(2):
        for j in range(3):
            one = cell.evolve(h[i, j][None], gap[i, j][None])[0][0]
            assert_close([found[i, j]], [one], name)


@every_cell
def test_a_reading_holds_the_state_after_any_number_of_observations(name):
    reading, counts = (
        make(name).read(random_series()),
        torch.tensor([[0, 5], [2, 1], [1, 1], [4, 0]]),
    )
    found = reading.at(counts)
    for i, row in enumerate(counts.tolist()):
        assert torch.equal(found[i], torch.stack([reading.states[i, n] for n in row]))


@every_cell
def test_every_parameter_has_a_gradient(name):
    cell, series = make(name), random_series((5, 4))
    for rate in (getattr(cell, "input_rate", None), getattr(cell, "input_bias", None)):
        if rate is not None:
            rate.data.abs_()  # below 0 a missing input does not fade, and nothing is learned
    reading = cell.read(series)
    reading.at(series.lengths[:, None]).square().sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in cell.parameters())
    assert bool(reading.solves) == (name == "ode")


def test_an_ode_between_observations_costs_one_solve_a_gap_of_the_longest_series():
    cell, series = make("ode"), random_series()
    assert len(cell.read(series).solves) == 5
    starts = series._replace(times=series.times - series.times[:, :1])
    assert len(cell.read(starts).solves) == 4  # nothing moves before the first


def test_an_ode_of_fixed_steps_steps_no_further_in_a_short_gap_than_in_the_longest(draw):
    """Steps of 0.25 over a longest gap of 1: four, in any gap of the batch."""
    cell, h = make("ode"), draw(2, SIZE)
    cell.solver = Solver("euler", step_size=0.25)
    found, (stats,) = cell.evolve(h, torch.tensor([1.0, 0.2], dtype=h.dtype))
    assert stats.forward.nfe == 4
    for i, dt in enumerate((0.25, 0.05)):
        one = h[i]
        for _ in range(4):
            one = one + dt * cell.field(None, one)
        assert_close([found[i]], [one], "")
