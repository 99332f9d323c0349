"""Reading results: a seed counts once, only seeds are averaged, and what is missing is named."""

import json
import statistics
from dataclasses import MISSING, fields

import pytest
from report_cases import CONTENT, leave, metrics_with, odenet

from node_runner.report.deviations import deviations
from node_runner.report.files import find_results, read_results, unfinished_runs
from node_runner.report.published import cells
from node_runner.report.results import groups
from node_runner.runs.record import RunRecord

CELL = cells()["node.table1.odenet"]


def load(*folders):
    """Groups, and what was complained of."""
    complaints = []
    files = find_results(map(str, folders), complaints.append)
    results, unusable = read_results(files, complaints.append)
    return groups(results, complaints.append), complaints, unusable


def test_seeds_are_averaged_with_their_sample_deviation(tmp_path):
    errors = [0.012, 0.015, 0.011, 0.02]
    for seed in (2, 0, 3, 1):
        leave(tmp_path / str(seed), seed=seed, metrics=metrics_with(errors[seed]))
    ((group,), complaints, _) = load(tmp_path)
    found = group.spread("test/error", 100)
    assert not complaints
    assert [result.seed for result in group.results] == [0, 1, 2, 3]
    assert found.n == 4
    assert found.mean == pytest.approx(100 * statistics.mean(errors))
    assert found.sd == pytest.approx(100 * statistics.stdev(errors))
    assert group.spread("test/accuracy") is None


def test_one_seed_has_the_standard_error_of_its_samples(tmp_path):
    ((group,), _, _) = load(leave(tmp_path / "a"))
    found = group.spread("test/error", 100)
    assert found.standard_error == pytest.approx(0.12)
    assert found.sd != found.sd  # NaN: no deviation of one


OTHERS = [
    {"options": {"trainer.max_epochs": 3}},
    {"state": "stopped"},
    {"state": "diverged", "metrics": {}},
    {"mode": "evaluate", "run": "x"},
    {"cell": "node.table1.odenet"},
    {"data": {"name": "mnist", "part": "first 1000", "sizes": {"train": 1000}}},
    {"parameters": 1},
]


@pytest.mark.parametrize("changes", OTHERS, ids=lambda changes: next(iter(changes)))
def test_what_differs_in_more_than_its_seed_is_not_averaged(changes, tmp_path):
    leave(tmp_path / "a", seed=0)
    leave(tmp_path / "b", seed=1, **changes)
    found, complaints, _ = load(tmp_path)
    assert [len(group.results) for group in found] == [1, 1]
    assert not complaints


def test_evaluations_of_one_net_are_not_seeds_of_it(tmp_path):
    for seed, run in ((0, "a"), (1, "a"), (2, "b")):
        leave(tmp_path / f"{run}{seed}", mode="evaluate", seed=seed, run=run)
    found, complaints, _ = load(tmp_path)
    assert [len(group.results) for group in found] == [1, 1, 1]
    (tmp_path / "two").mkdir()
    for seed in (0, 1):
        leave(tmp_path / "two" / str(seed), mode="evaluate", seed=seed, run=f"net {seed}")
    leave(tmp_path / "two" / "short", mode="evaluate", seed=2, run="net 2", epochs=1.0)
    found, complaints, _ = load(tmp_path / "two")
    assert sorted(len(group.results) for group in found) == [1, 2]
    assert not complaints


def test_a_seed_counts_once_and_both_folders_are_named(tmp_path):
    one, two = (
        leave(tmp_path / name, metrics=metrics_with(e)) for name, e in (("a", 0.1), ("b", 0.9))
    )
    leave(tmp_path / "c", seed=1, metrics=metrics_with(0.1))
    ((group,), (complaint,), _) = load(tmp_path)
    assert "seed 0" in complaint
    assert str(one) in complaint and str(two) in complaint
    assert group.spread("test/error").mean == pytest.approx(0.1)


def test_a_file_that_is_named_twice_counts_once(tmp_path):
    run = leave(tmp_path / "a")
    ((group,), complaints, _) = load(tmp_path, run, run / "result.json")
    assert len(group.results) == 1
    assert not complaints


REQUIRED = [field.name for field in fields(RunRecord) if field.default is MISSING]


@pytest.mark.parametrize("name", REQUIRED)
def test_a_result_of_another_version_has_its_missing_fields_named(name, tmp_path):
    leave(tmp_path / "good", seed=1)
    old = leave(tmp_path / "old")
    content = {key: value for key, value in CONTENT.items() if key != name}
    (old / "result.json").write_text(json.dumps(content))
    ((group,), (complaint,), _) = load(tmp_path)
    assert group.first.folder.name == "good"
    assert f"{old / 'result.json'} lacks {name}:" in complaint


WRONG = [
    ({"seed": None}, "seed"),
    ({"typed": None, "epochs": "3"}, "typed, epochs"),
    ({"data": {}}, "data.name, data.part, data.sizes"),
    ({"headline": {"metric": 3, "unit": "%", "factor": 1.0}}, "headline.metric"),
    ({"nfe": {"forward": "x", "backward": 1.0, "evaluation": None}}, "nfe.forward"),
    ({"metrics": {"test/error": {"mean": "x"}, "test/nll": 3}}, "metrics.test/error, metrics."),
]


@pytest.mark.parametrize(("changes", "names"), WRONG, ids=[names for _, names in WRONG])
def test_values_of_another_type_are_named(changes, names, tmp_path):
    leave(tmp_path / "good", seed=1)
    bad = leave(tmp_path / "bad", seed=0)
    (bad / "result.json").write_text(json.dumps(CONTENT | changes))
    ((group,), (complaint,), _) = load(tmp_path)
    assert group.first.folder.name == "good"
    assert str(bad / "result.json") in complaint and names in complaint


@pytest.mark.parametrize("text", ["", "{", "[1, 2]", "{}", "null"])
def test_a_file_that_is_no_result_is_named(text, tmp_path):
    leave(tmp_path / "good")
    bad = leave(tmp_path / "bad", seed=1) / "result.json"
    bad.write_text(text)
    (found, (complaint,), _) = load(tmp_path)
    assert len(found) == 1
    assert str(bad) in complaint and "\n" not in complaint


def test_absent_and_empty_folders_are_named(tmp_path):
    (tmp_path / "empty").mkdir()
    _, complaints, _ = load(tmp_path / "nothing", tmp_path / "empty")
    assert [line.split()[0].rstrip(":") for line in complaints] == [
        str(tmp_path / name) for name in ("nothing", "empty")
    ]


def test_jobs_that_came_to_nothing_are_told(tmp_path):
    failed = tmp_path / "3"
    failed.mkdir()
    (failed / "result.json").write_text('{"state": "failed", "message": "no data", "metrics": {}}')
    running = tmp_path / "4"
    running.mkdir()
    (running / "command.yaml").touch()
    _, complaints, unusable = load(tmp_path)
    assert not complaints
    assert [(u.folder, u.state, u.message) for u in unusable] == [(failed, "failed", "no data")]
    twice = [str(tmp_path), str(running)]
    assert [u.folder for u in unfinished_runs(twice)] == [running]
    assert load(running)[1] == []


def test_what_was_drawn_from_a_run_is_no_result(tmp_path):
    leave(tmp_path / "run")
    leave(tmp_path / "drawn", mode="sample", run=str(tmp_path / "run"), metrics={})
    failed = tmp_path / "failed"
    failed.mkdir()
    (failed / "result.json").write_text('{"state": "failed", "mode": "sample", "message": "x"}')
    ((group,), complaints, unusable) = load(tmp_path)
    assert [result.folder.name for result in group.results] == ["run"]
    assert not complaints and not unusable
    assert load(tmp_path / "drawn") == ([], [], [])


def test_a_run_to_the_published_budget_as_configured_has_no_marks(tmp_path):
    ((group,), _, _) = load(leave(tmp_path / "a", **odenet()))
    assert deviations(group, CELL) == []


LESS = [
    ({"epochs": 3.0}, "3 of 160 epochs"),
    ({"epochs": 1600.0}, "1,600 of 160 epochs"),
    ({"state": "stopped"}, "stopped"),
    ({"typed": ["experiment=node.table1.resnet"]}, "experiment=node.table1.resnet"),
    (
        {"typed": ["experiment=node.table1.odenet", "cell=node.table1.odenet"]},
        "cell=node.table1.odenet",
    ),
    ({"typed": ["experiment=node.table1.odenet", "runtime.amp=true"]}, "runtime.amp=true"),
    ({"data": {"name": "mnist", "part": "first 100", "sizes": {}}}, "data: first 100"),
    ({"typed": ["experiment=node.table1.odenet", "solver=rk4"]}, "solver=rk4"),
    ({"typed": ["experiment=node.table1.odenet", "trainer.best_on=test"]}, "trainer.best_on=test"),
]


@pytest.mark.parametrize(("changes", "mark"), LESS, ids=[mark for _, mark in LESS])
def test_what_is_less_or_other_is_marked(changes, mark, tmp_path):
    ((group,), _, _) = load(leave(tmp_path / "a", **odenet(**changes)))
    assert deviations(group, CELL) == [mark]


def test_what_a_run_is_made_on_is_no_mark(tmp_path):
    typed = ["seed=3", "paths.out=x", "runtime.threads=1", "trainer.log_every=1", "launcher=joblib"]
    typed += ["sweep=seeds", "runtime=cuda", "trainer.max_epochs=160"]
    run = leave(tmp_path / "a", **odenet(typed=["experiment=node.table1.odenet", *typed]))
    ((group,), _, _) = load(run)
    assert deviations(group, CELL) == []


def test_a_typed_limit_is_marked_where_no_budget_is_published(tmp_path):
    cell = cells()["node.table1.mlp"]
    typed = [f"experiment={cell.name}", "trainer.max_steps=1"]
    ((group,), _, _) = load(leave(tmp_path / "a", cell=cell.name, typed=typed))
    assert deviations(group, cell) == ["trainer.max_steps=1"]


def test_fewer_seeds_than_published_are_marked(tmp_path):
    cell = cells()["ffjord.table2.power"]
    ((group,), _, _) = load(leave(tmp_path / "a", cell=cell.name, typed=[]))
    assert deviations(group, cell) == ["1 of 3 seeds"]
