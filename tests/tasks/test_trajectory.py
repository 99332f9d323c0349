"""Trajectories: what is learned from, how far ahead, and that f comes near the true one."""

from __future__ import annotations

from copy import deepcopy
from functools import partial

import numpy as np
import pytest
import torch
from forked import node_run
from torch import nn

from node_runner.data.csv import Csv
from node_runner.data.series import Series, full
from node_runner.data.toy import Toy
from node_runner.data.trajectory import Simulated
from node_runner.fields import MLP
from node_runner.ode import Solver
from node_runner.tasks.trajectory import Trajectory, field_error
from node_runner.training.metrics import evaluate
from node_runner.trajectory import Dynamics, HorizonSchedule
from node_runner.trajectory.model import Normalisation, _solve
from node_runner.trajectory.segments import interpolate, segments

CPU = torch.device("cpu")
SOLVER = Solver("dopri5", 1e-3, 1e-3)
FIELD = partial(MLP, hidden=(16,), activation="softplus", layer="none")


def made(horizon=None):
    torch.manual_seed(0)
    return Trajectory(FIELD, SOLVER, Solver("dopri5", 1e-5, 1e-5), horizon)


def train(task, data, steps, optimizer=None, first=0):
    task.bind(data)
    optimizer = optimizer or torch.optim.Adam(task.parameters(), 0.02)
    for step in range(first, first + steps):
        optimizer.zero_grad()
        task.step(data.train_batch(step)).loss.backward()
        optimizer.step()
    return optimizer


def test_short_training_finds_a_law_of_cooling():
    data, task = (
        Simulated(0, CPU, "newton_cooling", observations=50),
        made(HorizonSchedule(steps=80)),
    )
    task.bind(data)
    curve = next(data.batches("test")).target
    with torch.no_grad():
        before, wrong = (
            evaluate(task, data, "test"),
            field_error(task.dynamics.rate, data.system.f, curve),
        )
    train(task, data, 160)
    with torch.no_grad():
        after = evaluate(task, data, "test")
        assert field_error(task.dynamics.rate, data.system.f, curve) < 0.1 < 0.5 < wrong
    assert after["mse"]["mean"] < 0.002 < before["mse"]["mean"]
    assert after["rmse_beyond"]["mean"] < 1.5 < before["rmse_beyond"]["mean"]  # degrees
    assert after["nfe"]["mean"] > 0


def test_the_figures_are_those_of_the_data_in_their_own_units():
    """mse is in units of each state's variance, rmse in those of the data."""
    data, task = Simulated(0, CPU, "sir", observations=30, trajectories=2), made()
    task.bind(data)
    (batch,) = data.batches("test")
    with torch.no_grad():
        x, _ = task.dynamics.predict(task.eval_solver, batch.target.times)
        found = evaluate(task, data, "test")
    errors = (x - batch.target.values).double()
    observed = data.train_batch(0).observed.values
    sd = observed.double().flatten(0, 1).std(dim=0, correction=0)
    assert found["mse"]["n"] == 2
    assert found["mse"]["mean"] == pytest.approx((errors / sd).square().mean().item(), rel=1e-3)
    assert found["rmse"]["mean"] == pytest.approx(errors.square().mean().sqrt().item(), rel=1e-3)


def test_missing_values_do_not_enter_the_loss():
    data = Simulated(0, CPU, "lotka_volterra", observations=40, missing=0.4, trajectories=2)
    batch, losses = data.train_batch(0), []
    for value in (0.0, 1e3):
        series = batch.observed
        series = series._replace(values=torch.where(series.mask, series.values, value))
        step = made().step(batch._replace(observed=series, target=series))
        losses.append(step.loss.item())
    assert losses[0] == losses[1]


def test_the_horizon_grows_to_the_whole_by_equal_factors():
    series = full(torch.linspace(0, 16, 200), torch.zeros(1, 200, 1))
    horizon = HorizonSchedule(first=1.0, steps=4)
    lengths = [horizon.step(series) for _ in range(6)]
    assert lengths == pytest.approx([1, 2, 4, 8, 16, 16])
    assert HorizonSchedule(1.0, 0).length(series) == 16
    few = full(torch.linspace(0, 16, 8), torch.zeros(1, 8, 1))
    assert HorizonSchedule(1.0, 4).length(few) == 8  # four of eight observations
    for options, message in (((0.0, 5), "first is 0.0, must be p"), ((1.0, -1), "steps is -1")):
        with pytest.raises(ValueError, match=message):
            HorizonSchedule(*options)


def test_a_resumed_run_goes_on_where_it_was():
    data, one, other = (
        Simulated(0, CPU, observations=30),
        made(HorizonSchedule(steps=10)),
        made(None),
    )
    optimizer = train(one, data, 5)
    other.bind(data)
    other.horizon = HorizonSchedule(steps=10)
    other.load_state_dict(one.state_dict())
    assert other.horizon.done == 5
    second = torch.optim.Adam(other.parameters(), 0.02)
    second.load_state_dict(deepcopy(optimizer.state_dict()))
    train(one, data, 4, optimizer, 5)
    train(other, data, 4, second, 5)
    for a, b in zip(one.parameters(), other.parameters(), strict=True):
        assert torch.equal(a, b)


def series_of(times, values, seen=None):
    values = torch.tensor(values)[None]
    mask = torch.ones_like(values, dtype=torch.bool) if seen is None else torch.tensor(seen)[None]
    return Series(torch.tensor(times)[None], values * mask, mask)


def test_segments_hold_what_lies_in_them():
    series = series_of([0.0, 1.0, 2.5, 4.0], [[1.0], [2.0], [3.0], [4.0]])
    starts, parts = segments(series, 1.6, 4.0)
    assert starts.tolist() == pytest.approx([0, 1.2, 2.4])
    assert [parts.values[i][parts.mask[i]].tolist() for i in range(3)] == [[1, 2], [3], [3, 4]]
    assert parts.times[2][parts.mask[2, :, 0]].tolist() == pytest.approx([0.1, 1.6])
    starts, whole = segments(series, 4.0, 4.0)
    assert starts.tolist() == [0]
    assert all(torch.equal(a, b) for a, b in zip(whole, series, strict=True))


def test_between_observations_is_a_straight_line():
    seen = [[True, False, False], [False, True, False], [True, True, False], [True, False, False]]
    values = [[1.0, 0.0, 0.0], [0.0, 5.0, 0.0], [3.0, 7.0, 0.0], [4.0, 0.0, 0.0]]
    series = series_of([0.0, 1.0, 2.0, 4.0], values, seen)
    found = interpolate(series, torch.tensor([0.0, 1.0, 1.5, 3.0, 5.0]))[0]
    assert found[:, 0].tolist() == [1, 2, 2.5, 3.5, 4]
    assert found[:, 1].tolist() == [
        5,
        5,
        6,
        7,
        7,
    ]  # as at the nearest, where there is one side only
    assert found[:, 2].tolist() == [0, 0, 0, 0, 0]


class Decay(nn.Module):
    def forward(self, t, x):
        return -x


def test_each_trajectory_is_solved_at_times_of_its_own(draw):
    start, times = draw(3, 2), draw(3, 7).abs().sort(dim=1).values
    u, stats = _solve(Solver("dopri5", 1e-9, 1e-9), Decay(), start, times)
    torch.testing.assert_close(u, start[:, None] * (-times[:, :, None]).exp(), rtol=1e-6, atol=1e-7)
    assert stats.forward.nfe > 0


def test_the_networks_units_are_of_size_one_whatever_those_of_the_data():
    """And its rates too: du/ds of the true curve, by its own f."""
    for system, times, values in (("spiral", 1.0, 1.0), ("lotka_volterra", 86400.0, 1e-4)):
        data = Simulated(0, CPU, system, trajectories=2)
        observed = data.train_batch(0).observed
        observed = observed._replace(times=observed.times * times, values=observed.values * values)
        units = Normalisation(observed)
        inner = units.inner(observed).values
        assert inner.mean((0, 1)).abs().max() < 1e-3
        assert (inner.std(dim=(0, 1)) - 1).abs().max() < 1e-2
        torch.testing.assert_close(
            units.outer(inner), observed.values, rtol=1e-4, atol=1e-4 * values
        )
        curve = next(data.batches("test")).target.values
        rate = data.system.f(curve) * values / times / units.sd * units.time
        assert 0.6 < rate.square().mean().sqrt() < 1.6


def test_a_start_is_the_first_value_of_each_state():
    series = series_of(
        [0.0, 1.0, 2.0], [[0.0, 4.0], [3.0, 6.0], [5.0, 8.0]], [[0, 1], [1, 1], [1, 1]]
    )
    series = series._replace(mask=series.mask.bool())
    dynamics = Dynamics(FIELD(2), series)
    assert dynamics.units.outer(dynamics.start)[0].tolist() == pytest.approx([3, 4])
    assert dynamics.start.requires_grad


@torch.no_grad()
def test_the_field_is_shown_in_the_plane_and_states_in_time():
    data, task = Simulated(0, CPU, "spiral", observations=20, trajectories=2, missing=0.2), made()
    found = task.visualize(data)
    true, learned, bar = found.figures["field"].axes
    assert (true.get_title(), learned.get_title()) == ("true", "learned")
    assert (true.get_xlabel(), true.get_ylabel()) == ("x", "y") and bar.get_ylabel()
    assert [axis.get_ylabel() for axis in found.figures["states"].axes] == ["x", "", "y", ""]
    wanted = {"field/error", "rmse/x", "rmse/y", "rmse_beyond/x", "rmse_beyond/y"}
    assert set(found.scalars) == wanted
    assert found.arrays["states"].shape == (2, len(found.arrays["times"]), 2)
    other = made().visualize(Simulated(0, CPU, "sir", observations=20))
    assert set(other.figures) == {"states"}


@torch.no_grad()
def test_the_learned_rate_is_the_derivative_of_what_is_predicted():
    data, task = Simulated(0, CPU, "lotka_volterra", observations=20), made()
    task.bind(data)
    tight = Solver("dopri8", 1e-6, 1e-6)
    x, _ = task.dynamics.predict(tight, torch.tensor([[1.0, 1.02, 1.04]]))
    slope = (x[0, 2] - x[0, 0]) / 0.04
    torch.testing.assert_close(task.dynamics.rate(x[0, 1:2])[0], slope, rtol=1e-2, atol=1e-2)


def test_other_data_are_refused():
    with pytest.raises(ValueError, match="learns from data=trajectory or data=csv, not from 8gau"):
        made().bind(Toy(0, CPU))


def circle(folder, name="own.csv", x=0.0, y=0.0, t=0.0, swing=1.0, rows=range(60)):
    """A table of a circle about (x, y) in values that float64 holds whatever the offset."""
    lines = [
        (t + i / 8, x + swing * round(64 * np.cos(i / 8)) / 64, y + round(64 * np.sin(i / 8)) / 64)
        for i in rows
    ]
    text = "t,x,y\n" + "".join(f"{a!r},{b!r},{c!r}\n" for a, b, c in lines)
    (folder / name).write_text(text)
    return str(folder / name)


def fitted(file, **options):
    """The losses of a few steps, metrics and what is shown."""
    torch.manual_seed(0)
    data, task = Csv(0, CPU, file, **options), made(HorizonSchedule(steps=2))
    optimizer, losses = None, []
    for step in range(4):
        optimizer = train(task, data, 1, optimizer, step)
        losses.append(task.step(data.train_batch(step)).loss.item())
    (batch,) = data.batches("test")
    with torch.no_grad():
        found, shown = task.evaluate(batch, "test"), task.visualize(data)
    return losses, found, shown


OFFSETS = [{"x": 1e7}, {"x": 101325.0, "swing": 1 / 16}, {"x": -1e9, "t": 1.7e9}]


@pytest.mark.parametrize("offset", OFFSETS, ids=str)
def test_an_offset_of_values_and_times_changes_nothing_but_itself(offset, tmp_path):
    """A float32 would lose all of the swing, or merge the times."""
    swing = offset.get("swing", 1.0)
    losses, plain, shown = fitted(circle(tmp_path, swing=swing))
    others, found, moved = fitted(circle(tmp_path, "moved.csv", **offset))
    assert others == pytest.approx(losses, rel=1e-4)
    for name in ("rmse", "rmse_beyond"):
        one, two = (each.pooled[name] for each in (plain, found))
        assert two.of(*two.parts) == pytest.approx(one.of(*one.parts), rel=1e-4)
    assert moved.scalars == pytest.approx(shown.scalars, rel=1e-4)
    x, t = (moved.arrays[name] - shown.arrays[name] for name in ("states", "times"))
    assert (x[..., 0] - offset.get("x", 0.0)).abs().max() < 1e-4 * swing
    assert (t - offset.get("t", 0.0)).abs().max() < 1e-6
    for figure in moved.figures.values():
        figure.canvas.draw()


@pytest.mark.parametrize("jitter", [0.0, 1.5e-11])
def test_a_column_that_is_constant_to_rounding_is_kept_and_drawn(jitter, tmp_path):
    rows = "".join(f"{i / 8},{np.cos(i / 8)},{101325 + jitter * (i % 2)!r}\n" for i in range(40))
    (tmp_path / "own.csv").write_text("t,x,p\n" + rows)
    _, found, shown = fitted(str(tmp_path / "own.csv"))
    assert found.values["mse"].isfinite().all()
    for figure in shown.figures.values():
        figure.canvas.draw()


@pytest.fixture(scope="module")
def learned(tmp_path_factory):
    """A table, its data, and a model of it."""
    folder = tmp_path_factory.mktemp("learned")
    data, task = Csv(0, CPU, circle(folder, t=1.7e9, x=1e7)), made(HorizonSchedule(steps=2))
    train(task, data, 4)
    return folder, data, task


def evaluated(learned, file, caplog, **options):
    """A run's model on another table, as node-run has it: data, model, and what was said."""
    _, run, task = learned
    data, again = Csv(0, CPU, file, state=run.state_dict(), **options), made()
    again.bind(data)
    again.load_state_dict(task.state_dict())
    return data, again, [record.getMessage() for record in caplog.records]


@torch.no_grad()
def curve(task, data, at):
    """States predicted at times of the clock, (T, D)."""
    (batch,) = data.batches("test")
    return task.predict(batch, torch.tensor([at], dtype=torch.float64) - data.origin)[0][0]


def test_a_table_that_begins_later_goes_on_with_the_runs_trajectory(learned, caplog):
    folder, run, task = learned
    file = circle(folder, "later.csv", t=1.7e9, x=1e7, rows=range(20, 60))
    data, again, said = evaluated(learned, file, caplog)
    assert "it is taken for the same trajectory, predicted from the run's start" in said[0]
    assert (data.origin, len(said)) == (1.7e9, 1)
    at = [1.7e9 + t for t in (0.0, 2.5, 5.0)]
    assert torch.equal(curve(again, data, at), curve(task, run, at))


def test_a_table_that_begins_after_the_run_is_predicted_from_its_first_values(learned, caplog):
    """As one that was logged on another day."""
    folder = learned[0]
    file = circle(folder, "next.csv", t=1.7e9 + 86400, x=1e7 + 0.5)
    data, again, said = evaluated(learned, file, caplog)
    assert "it is taken for another trajectory, predicted from its first values" in said[0]
    found = curve(again, data, [1.7e9 + 86400])[0].tolist()
    assert found == [pytest.approx(1e7 + 1.5, rel=1e-13), pytest.approx(0, abs=1e-6)]


def test_a_table_that_begins_otherwise_is_predicted_from_its_first_values(learned, caplog):
    folder, first = learned[0], [pytest.approx(1e7 + 1.5, rel=1e-13), pytest.approx(0, abs=1e-6)]
    file = circle(folder, "other.csv", t=1.7e9, x=1e7 + 0.5)
    data, again, said = evaluated(learned, file, caplog)
    assert "it is taken for another trajectory, predicted from its first values" in said[0]
    assert curve(again, data, [1.7e9])[0].tolist() == first
    file = circle(folder, "late.csv", t=1.7e9 + 100, x=1e7 + 0.5)
    data, again, said = evaluated(learned, file, caplog, same_trajectory=False)
    assert len(said) == 1  # what is typed is not said again
    assert curve(again, data, [1.7e9 + 100])[0].tolist() == first
    with pytest.raises(ValueError, match="early.csv begins at 0, the run's data went"):
        evaluated(learned, circle(folder, "early.csv"), caplog, same_trajectory=True)


def test_columns_of_a_table_are_those_of_the_run_in_its_order(learned, caplog):
    folder, run, task = learned
    table = [line.split(",") for line in (folder / "own.csv").read_text().splitlines()]
    turned = "\n".join(",".join((t, y, "0" if t != "t" else "z", x)) for t, x, y in table)
    (folder / "turned.csv").write_text(turned)
    data, again, said = evaluated(learned, str(folder / "turned.csv"), caplog)
    assert said == []
    assert data.states == ("x", "y")
    assert evaluate(again, data, "test") == evaluate(task, run, "test")
    (folder / "named.csv").write_text(turned.replace("x", "u"))
    with pytest.raises(ValueError, match="named.csv has no column x, which the run has learned"):
        evaluated(learned, str(folder / "named.csv"), caplog)


def test_trajectories_of_another_number_are_predicted_from_their_own_starts():
    run, task = Simulated(0, CPU, "sir", observations=20), made()
    task.bind(run)
    state = {"state": run.state_dict()}
    same = Simulated(0, CPU, "sir", observations=30, noise=0.3, **state)
    more = Simulated(0, CPU, "sir", observations=20, noise=0.0, trajectories=3, **state)
    assert (same.another, more.another) == (False, True)
    again = made()
    again.bind(more)
    again.load_state_dict(task.state_dict())
    with torch.no_grad():
        (batch,) = more.batches("test")
        x = again.predict(batch, batch.target.times[:, :1])[0]
    torch.testing.assert_close(x, batch.target.values[:, :1])


TINY = ["task=trajectory", "data=csv", "data.file=own.csv", "trainer.max_steps=4"]
TINY += ["trainer.validate_every=2", "task.field.hidden=[4]", "task.horizon.steps=2"]


def test_a_table_of_ones_own_is_learned_from_and_a_bad_one_is_not(tmp_path):
    t = np.sort(np.random.default_rng(0).uniform(2000, 2010, 30))
    rows = [f"{a:.3f},{np.cos(a):.3f},{np.sin(a):.3f}" for a in t]
    (tmp_path / "own.csv").write_text("\n".join(["year,hares,lynxes", *rows]))
    run = node_run(tmp_path, *TINY)
    assert run.returncode == 0, run.stderr
    assert "rmse_beyond/lynxes" in run.stdout + run.stderr
    (folder,) = (path.parent for path in tmp_path.rglob("result.json"))
    assert np.load(folder / "arrays" / "times.npy")[0] == pytest.approx(t[0], abs=1e-2)
    assert (folder / "figures" / "field.png").is_file()
    (tmp_path / "own.csv").write_text("\n".join(["year,hares,lynxes", rows[1], *rows]))
    run = node_run(tmp_path, *TINY)
    assert run.returncode == 2
    (line,) = run.stderr.strip().splitlines()
    assert "own.csv, line 3, column year: 2000." in line
    assert len(list(tmp_path.rglob("result.json"))) == 1


def test_a_file_is_one_trajectory(tmp_path):
    file = tmp_path / "own.csv"
    file.write_text("t,x\n" + "".join(f"{i},{i % 3}\n" for i in range(20)))
    data, task = Csv(0, CPU, str(file)), made(HorizonSchedule(steps=2))
    train(task, data, 3)
    assert task.dynamics.start.shape == (1, 1)
    with torch.no_grad():
        assert task.visualize(data).scalars == {}  # one state, and no known f
