"""Replay that keeps few states: the same gradient to the last bit, in bounded memory."""

from __future__ import annotations

import pytest
import torch
from support.ode.gradient_cases import METHODS_AND_KINDS, gradients, make_case
from support.ode.problems import NAMES, Net, make_solver

from node_runner.ode import Replay, Solver
from node_runner.ode.gradients import replay
from node_runner.ode.problem import make_problem

STATES = [1, 2, 3, 7]


@pytest.mark.parametrize("name, kind", METHODS_AND_KINDS)
def test_few_states_give_the_same_gradient_to_the_last_bit(name, kind):
    case = make_case(kind)
    whole, _ = gradients(make_solver(name, 1e-3, gradient=Replay()), case)
    bounded, _ = gradients(make_solver(name, 1e-3, gradient=Replay(3)), case)
    for key, value in whole.items():
        assert torch.equal(bounded[key], value), key


@pytest.mark.parametrize("states", STATES)
def test_no_more_states_are_kept_nor_recomputed_at_one_time(states, draw, monkeypatch):
    """Of 200 steps: at most S kept; between two of them at most 2 N / S, and what is recomputed is
    each step but those kept.
    """
    steps, retaken, peak = 200, [], []
    real = replay.recompute_state

    def counted(context, record, y):
        retaken.append(record)
        return real(context, record, y)

    class Watched(replay.StepHistory):
        def back(self, context, states):
            peak.append(len(states))
            for pair in super().back(context, states):
                peak.append(len(retaken))
                yield pair

    monkeypatch.setattr(replay, "recompute_state", counted)
    monkeypatch.setattr(replay, "StepHistory", Watched)
    solver = Solver("rk4", step_size=1 / steps, gradient=Replay(states))
    solution = solver(Net(3), draw(3).requires_grad_(), [0.0, 1.0])
    solution.final.sum().backward()
    kept, grown = peak[0], [b - a for a, b in zip([0, *peak[1:]], peak[1:], strict=False)]
    assert kept <= states and max(grown) < max(2 * steps / states, 2)
    assert len(retaken) == steps - kept
    assert solution.stats.backward.nfe == 4 * (2 * steps - kept)


@pytest.mark.parametrize("name", NAMES)
def test_a_state_recomputed_is_the_one_that_was_there(name, draw):
    """So an FSAL method's first stage, taken over in the solve, is evaluated to the same bits."""
    seen = []
    solver = make_solver(name, 1e-4, gradient=Replay())
    net, y0 = Net(3), draw(3)

    def keep(step, inside, lands):
        seen.append((step.t0, step.t1, step.y0, step.y1))

    problem = make_problem(net, y0, [0.0, 3.0], None)
    with torch.no_grad():
        solver.integrate(problem, keep)
        context = type("Context", (), {"solver": solver, "problem": problem, "norm": None})
        for t0, t1, start, end in seen:
            again = replay.recompute_state(context, replay.StepRecord(t0, t1, [], False), start)
            assert torch.equal(again, end)


def test_less_than_one_state_is_refused():
    with pytest.raises(ValueError, match=r"states is 0, must be at least 1"):
        Replay(0)
