"""The compiled engine: the numbers, counts and failures of the eager one, and its fallbacks.

What is laid out in graphs is tested with a backend that only traces, in a tenth of the time; the
default backend of torch.compile on a few small problems.
"""

from __future__ import annotations

import gc
import logging
import math
import re
from dataclasses import dataclass, replace
from functools import partial

import pytest
import torch
from support.ode.gradient_cases import gradients, largest_difference, make_case
from support.ode.problems import bend, logistic, make_solver
from torch import nn

from node_runner.fields import MLP
from node_runner.flow import CNF, Exact
from node_runner.ode import Adjoint, Direct, Replay, Solver, SolverError
from node_runner.ode.control import PIControl
from node_runner.ode.engine import graphs
from node_runner.ode.engine.control import propose

Y0 = torch.tensor([1.0, 0.5, 0.8], dtype=torch.float64)
ROUNDING = 1e-13
ENGINES = ("eager", "compiled")
whole_or_steps = pytest.mark.parametrize("grad", [True, False], ids=["steps", "whole"])


@pytest.fixture(autouse=True)
def forgetful():
    """No graph and no warning of the test before; no test where nothing can be compiled."""
    if (missing := graphs.no_compiler()) is not None:
        pytest.skip(missing)
    torch._dynamo.reset()
    graphs.graphs.clear()
    graphs._warned.clear()
    torch._dynamo.utils.counters.clear()


@pytest.fixture
def traced(monkeypatch):
    """A backend that runs what was traced as it is."""
    monkeypatch.setattr(graphs, "inductor", lambda graph, inputs, options: graph.forward)


@pytest.fixture
def warnings(caplog):
    caplog.set_level(logging.WARNING, graphs.__name__)
    return lambda: [r.getMessage() for r in caplog.records if r.name == graphs.__name__]


def compiled_graphs():
    return torch._dynamo.utils.counters["stats"]["unique_graphs"]


def both(name, f, y0, ts, grad=False, **options):
    """The eager solution and the compiled one, without gradient unless asked for."""
    with torch.set_grad_enabled(grad):
        return [make_solver(name, engine=engine, **options)(f, y0, ts) for engine in ENGINES]


def same_costs(one, other):
    """The drift is an error, which rounding changes."""
    both = one.drift, other.drift
    assert both == (None, None) or both[0] == pytest.approx(both[1], rel=1e-3)
    return replace(one, drift=None) == replace(other, drift=None)


def same(eager, compiled):
    assert same_costs(compiled.stats, eager.stats)
    return (compiled.outputs - eager.outputs).abs().max().item()


def late(t, y):
    """Still, then suddenly fast, so that steps are rejected."""
    return torch.sin(y) * (1 + 40 * torch.sigmoid(60 * (t - 0.4)))


@pytest.mark.parametrize(
    "name, ts",
    [
        ("bosh3", [0.0, 1.0]),
        ("dopri5", [0.0, 0.3, 0.35, 1.0]),
        ("fehlberg2", [1.0, 0.0]),
        ("fehlberg2", [0.0, 0.3, 0.35, 1.0]),
        ("rk4", [0.0, 0.3, 0.35, 1.0]),
    ],
)
def test_the_same_steps_are_taken(name, ts, traced, warnings):
    """Whole solves and single steps, with and without FSAL, with and without interpolation: equal
    to rounding, which adaptive steps hand on, in as many evaluations and rejections.
    """
    eager, compiled = both(name, late, Y0, ts)
    assert eager.stats.forward.rejected > 0 or name == "rk4"
    assert same(eager, compiled) < (1e-9 if name[:5] == "dopri" else 1e-7)
    assert warnings() == [] and compiled_graphs() > 0


@pytest.mark.parametrize(
    "start, end", [(0.0, 1.0), (1.0, 0.0), (1.0, 2.0), (-1e6, -1e6 + 1), (1.9, 0.3)]
)
@pytest.mark.parametrize("dt", [0.3, 0.6, 0.995, 2.0, 1e-20])
def test_the_same_step_is_proposed(start, end, dt):
    """Also one below the rounding of time, which is the least there is."""
    found = propose(*(torch.tensor(x, dtype=torch.float64) for x in (start, end, dt)))
    assert found.item() == PIControl(dt, 5).propose(start, end) != start


@pytest.mark.parametrize("grad, end", [(True, 1e6), (False, -1e6)], ids=["steps", "whole"])
def test_a_fast_start_of_a_long_interval_is_solved(grad, end, traced, warnings):
    """A step is measured by the rounding of time where it stands, not at the end."""
    early = lambda t, y: 1 / (t.abs() + 1e-12) + 0 * y  # noqa: E731
    eager, compiled = both("bosh3", early, Y0, [0.0, end], grad, tol=1e-4)
    assert same(eager, compiled) < 1e-7 and not warnings() and compiled_graphs() > 0
    exact = Y0 + math.copysign(math.log(1e18), end)
    torch.testing.assert_close(compiled.final, exact, rtol=1e-3, atol=0)


@pytest.mark.parametrize("step_size", [0.07, 0.25, float("inf")])
def test_fixed_grids_agree_to_rounding(step_size, traced):
    assert same(*both("midpoint", bend, Y0, [0.0, 1.3], step_size=step_size)) < ROUNDING


@whole_or_steps
def test_a_first_step_and_tolerances_of_each_entry_are_heeded(grad, traced, warnings):
    y0 = (Y0, torch.zeros(2, 3, dtype=torch.float64)[0])
    options = {"rtol": [1e-4, 1e-7], "atol": [1e-4, 1e-9], "first_step": 0.01}
    with torch.set_grad_enabled(grad):
        eager, compiled = (
            Solver("bosh3", engine=engine, **options)(lambda t, s: (s[1], -s[0]), y0, [0.0, 1.0])
            for engine in ENGINES
        )
    assert same(eager, compiled) < 1e-9 and not warnings()


@pytest.mark.parametrize(
    "gradient, kind, inside",
    [
        (Direct(), "tuple", True),
        (Direct(), "quadratures", False),
        (Replay(), "tuple", False),
        (Replay(), "quadratures", True),
        (Adjoint(), "tuple, quadratures", True),
    ],
    ids=lambda v: str(v) if isinstance(v, (str, bool)) else type(v).__name__,
)
def test_gradients_are_those_of_the_eager_engine(gradient, kind, inside, traced, warnings):
    case = make_case(kind)
    if not inside:
        case.ts = (case.ts[0], case.ts[-1])
    options = {"tol": 1e-5, "gradient": gradient}
    eager, stats = gradients(make_solver("bosh3", **options), case)
    compiled, counted = gradients(make_solver("bosh3", engine="compiled", **options), case)
    assert largest_difference(eager, compiled) < 1e-9 * max(g.abs().max() for g in eager.values())
    assert same_costs(counted, stats) and not warnings()


@pytest.mark.parametrize("gradient", [Replay(), Replay(states=2)], ids=["all", "two"])
def test_replay_may_be_bounded_and_differentiated_twice(gradient, traced, warnings):
    def curvature(engine):
        y0 = Y0.clone().requires_grad_()
        solver = make_solver("bosh3", 1e-3, engine=engine, gradient=gradient)
        end = solver(logistic, y0, [0.0, 1.5]).final
        (once,) = torch.autograd.grad(end.sum(), y0, retain_graph=True)
        (slope,) = torch.autograd.grad(end.sum(), y0, create_graph=True)
        return once, slope, torch.autograd.grad(slope.square().sum(), y0)[0]

    for eager, compiled in zip(*map(curvature, ENGINES), strict=True):
        assert (eager - compiled).abs().max() < 1e-9
    assert not warnings()


@pytest.mark.parametrize("gradient, wanted", [(Replay(), True), (Adjoint(), False)])
@pytest.mark.parametrize("name", ["bosh3", "rk4"])
def test_an_unknown_leaf_is_refused(name, gradient, wanted, traced):
    hidden = torch.ones((), dtype=torch.float64, requires_grad=True)
    solver = make_solver(name, engine="compiled", gradient=gradient)
    with pytest.raises(ValueError, match="params="):
        solver(lambda t, y: hidden * y, Y0.clone().requires_grad_(wanted), [0.0, 1.0])


FAILURES = {
    "blow-up": ("bosh3", lambda t, y: y * y, {}, [0.0, 5.0]),
    "NaN": ("bosh3", lambda t, y: torch.sqrt(0.5 - t) * y, {}, [0.0, 2.0]),
    "first rate": ("bosh3", lambda t, y: y / (t * 0), {}, [0.0, 1.0]),
    "cap": ("bosh3", logistic, {"max_steps": 7}, [0.0, 5.0]),
    "fixed NaN": ("midpoint", lambda t, y: torch.log(0.5 - t) * y, {}, [0.0, 1.0]),
    "fixed cap": ("euler", logistic, {"max_steps": 7}, [0.0, 5.0]),
}


@pytest.mark.parametrize(
    "failure, grad",
    [("blow-up", True), *((name, False) for name in FAILURES), ("fixed NaN", True)],
    ids=lambda value: {True: "steps", False: "whole"}.get(value, value),
)
def test_a_failure_says_the_same(failure, grad, traced):
    name, f, options, ts = FAILURES[failure]
    errors = []
    for engine in ENGINES:
        with torch.set_grad_enabled(grad), pytest.raises(SolverError) as caught:
            make_solver(name, engine=engine, **options)(f, Y0, ts)
        errors.append(caught.value)
    eager, compiled = errors
    # The last step before a singularity differs by rounding, and so the stage that is NaN.
    causes = [re.sub(r"stage \d", "stage", error.cause) for error in errors]
    assert causes[0] == causes[1] and compiled.advice == eager.advice
    assert compiled.steps == pytest.approx(eager.steps, abs=2)  # nearing a singularity
    assert compiled.t == pytest.approx(eager.t) and compiled.component == eager.component


def test_mistakes_in_f_are_shown_as_ever(traced):
    with pytest.raises(ValueError, match="which has shape"):
        Solver("bosh3", engine="compiled")(lambda t, y: y[:2], Y0, [0.0, 1.0])


def test_one_graph_serves_all_times_tolerances_and_closures(traced):
    """What a training loop changes from step to step compiles nothing anew."""

    def solve(scale, end, tol):
        with torch.no_grad():
            f = partial(lambda s, t, y: -s * y, scale)
            return Solver("bosh3", tol, tol, engine="compiled")(f, Y0, [0.0, end]).final

    solve(torch.ones(3, dtype=torch.float64), 1.0, 1e-3)
    made = compiled_graphs()
    for i in range(1, 8):
        end = solve(torch.full((3,), float(i), dtype=torch.float64), 1.0 / i, 10.0 ** -(3 + i % 3))
        assert torch.allclose(end, Y0 * torch.exp(torch.tensor(-1.0)), rtol=1e-2)
    assert compiled_graphs() == made


class Annealed(nn.Module):
    """Has a coefficient that is a Python number."""

    scale = 1.0

    def forward(self, t, y):
        return -y * self.scale


class Counting(Annealed):
    """Counts its calls, as fields written for other solvers do."""

    calls = 0

    def forward(self, t, y):
        self.calls += 1
        return -y * self.scale


@pytest.mark.parametrize("kind", [Counting, Annealed])
@whole_or_steps
def test_python_numbers_that_change_are_heeded_and_end_compiling(kind, grad, traced, warnings):
    f = kind()
    for i in range(5):
        f.scale = 1.0 if kind is Counting else 0.5 + i / 4
        assert same(*both("adaptive_heun", f, Y0, [0.0, 0.2], grad, tol=1e-3)) < 1e-9
        if i == 2:
            made = compiled_graphs()
    assert compiled_graphs() == made
    assert any("Python number that changes" in line for line in warnings())
    assert not any("RecompileLimit" in line for line in warnings())


def test_a_switch_to_evaluation_and_back_goes_on_compiled(traced, warnings):
    f = nn.Sequential(nn.Linear(3, 3), nn.Tanh()).double()
    with torch.no_grad():
        for f_mode in (f.train, f.eval, f.train, f.eval):
            f_mode()
            Solver("bosh3", engine="compiled")(lambda t, y: f(y), Y0, [0.0, 1.0])
    assert warnings() == [] and compiled_graphs() > 0


def reads_a_value(t, y):
    return -y if y.sum().item() > 0 else -2 * y


def branches(t, y):
    return -y if t < 0.5 else -2 * y


@pytest.mark.parametrize("f", [reads_a_value, branches])
def test_what_cannot_be_compiled_runs_eagerly_and_says_so_once(f, traced, warnings):
    assert same(*both("bosh3", f, Y0, [0.0, 1.0])) < ROUNDING
    said = warnings()
    assert said and all("falls back to eager: f (" in line and f.__name__ in line for line in said)
    both("bosh3", f, Y0, [0.0, 2.0])
    Solver("bosh3", engine="compiled")(f, Y0, [0.0, 1.0])
    assert len(warnings()) == len(set(warnings()))


def test_without_a_compiler_solves_run_eagerly_and_say_so_once(monkeypatch, warnings):
    monkeypatch.setattr(graphs, "no_compiler", lambda: "no C++ compiler was found")
    for _ in range(2):
        assert same(*both("bosh3", logistic, Y0, [0.0, 1.0])) == 0.0
    (said,) = warnings()
    assert "no C++ compiler" in said and compiled_graphs() == 0


def test_shapes_of_one_f_have_an_end(monkeypatch, traced, warnings):
    monkeypatch.setattr(graphs, "LIMIT", 2)
    for n in range(1, 5):
        y0 = torch.ones(n, dtype=torch.float64)
        assert same(*both("euler", bend, y0, [0.0, 0.2])) < ROUNDING
    assert compiled_graphs() <= 2 * 3
    assert any("2 compiled graphs" in line for line in warnings())


def test_graphs_go_with_their_field(traced):
    f = Annealed()
    with torch.no_grad():
        Solver("euler", step_size=0.5, engine="compiled")(f, Y0, [0.0, 1.0])
    assert len(graphs.graphs) == 1
    del f
    gc.collect()
    assert len(graphs.graphs) == 0


def test_an_unknown_engine_is_refused():
    with pytest.raises(ValueError, match="engine.*did you mean 'compiled'"):
        Solver(engine="compile")


@pytest.mark.parametrize("gradient", [Direct(), Replay(), Adjoint()], ids=["d", "r", "a"])
def test_dense_output_and_events_follow_compiled_steps(traced, gradient):
    found = []
    for engine in ENGINES:
        y0 = Y0.clone().requires_grad_()
        solver = make_solver("bosh3", 1e-5, engine=engine, gradient=gradient)
        path = solver.dense(bend, y0, 0.0, 1.0)
        hit = solver.event(bend, y0, 0.0, lambda t, y: y[0] - 0.7, t_end=2.0)
        loss = path([0.3, 0.9]).sum() + hit.t + hit.state.sum()
        nfe = path.stats.forward.nfe, hit.stats.forward.nfe
        found.append((loss.detach(), *torch.autograd.grad(loss, y0), torch.tensor(nfe)))
    for eager, compiled in zip(*found, strict=True):
        torch.testing.assert_close(compiled, eager, rtol=1e-7, atol=1e-9)
    assert compiled_graphs() > 0


# With the default backend.


def test_a_whole_solve_on_the_device(warnings):
    assert same(*both("adaptive_heun", late, Y0, [0.0, 0.5], tol=1e-3)) < 1e-9 and not warnings()


@pytest.mark.parametrize("gradient", [Direct(), Replay()], ids=lambda g: type(g).__name__)
def test_a_training_step(gradient, warnings):
    case = make_case("tensor")
    case.ts = (0.0, 1.0)
    options = {"step_size": 0.4, "gradient": gradient}
    eager, stats = gradients(make_solver("heun2", **options), case, times=False)
    compiled, counted = gradients(make_solver("heun2", engine="compiled", **options), case, False)
    assert largest_difference(eager, compiled) < ROUNDING and same_costs(counted, stats)
    assert not warnings()


@dataclass(frozen=True)
class Fixed:
    """A divergence with the same probes each time."""

    signs: torch.Tensor

    def probes(self, x):
        return self.signs


def flow_both_ways(solver, options, divergence):
    field, x = MLP(2, (4,)).double(), torch.randn(5, 2, dtype=torch.float64)
    with torch.no_grad():
        return [
            CNF(field, Solver(solver, engine=engine, **options), divergence).transport(x)
            for engine in ENGINES
        ]


def test_the_field_of_a_flow_is_traced(traced, warnings):
    """A divergence by torch.func.vjp, here under vmap, within the loop of a graph."""
    eager, compiled = flow_both_ways("adaptive_heun", {}, Exact())
    assert (eager.log_prob - compiled.log_prob).abs().max() < 1e-9 and not warnings()
    assert compiled.stats == eager.stats


@pytest.mark.skipif(
    torch.torch_version.TorchVersion(torch.__version__) < "2.15",
    reason="inductor of torch 2.11 fails on the loop of a flow's field, which then runs eagerly",
)
def test_the_field_of_a_flow_is_compiled(warnings):
    divergence = Fixed(torch.tensor([1.0, -1.0], dtype=torch.float64).expand(1, 5, 2))
    eager, compiled = flow_both_ways("heun2", {"step_size": 0.5}, divergence)
    assert (eager.log_prob - compiled.log_prob).abs().max() < ROUNDING and not warnings()
