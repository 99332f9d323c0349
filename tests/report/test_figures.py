"""Every figure draws what it says from results that have it, and says what it needs otherwise."""

import json

import pytest
from report_cases import curve, evaluation, leave

from node_runner.report import figures
from node_runner.report.curves import NothingToDraw
from node_runner.report.files import find, read


def nobody(line):
    raise AssertionError(line)


@pytest.fixture
def results(tmp_path):
    """Evaluations of two nets at three tolerances, and two trained runs with all their curves."""
    for run in ("one", "two"):
        for i, tol in enumerate((1e-1, 1e-2, 1e-3)):
            integral = 1 - tol * (2 if run == "two" else 1)
            folder, seed = tmp_path / run / str(i), int(run == "two")
            evaluation(folder, tol, 14 + 6 * i, run, seed=seed, density__integral=integral)
    tags = ["nfe/forward", "cost/jacobian", "time/trained_s", "validation/error", "cost/kinetic"]
    for seed in (0, 1):
        typed = ["task=odenet_mnist", f"seed={seed}"]
        run = leave(tmp_path / f"s{seed}", seed=seed, typed=typed)
        curve(run, tags, [(20 + i, 0.1 * i, 5.0 * i, 0.1 / (i + 1), i) for i in range(5)])
    return read(find([str(tmp_path)], nobody), nobody)[0]


@pytest.mark.parametrize("name", [name for name in figures.names() if name != "matching"])
def test_a_figure_has_a_line_for_each_run(name, results, tmp_path):
    figure = figures.draw(name, results)
    for axis in figure.axes:
        drawn = [line for line in axis.lines if len(line.get_xdata()) > 2]
        assert len(drawn) == 2
        assert axis.get_xlabel() and axis.get_ylabel()
        labels = [text.get_text() for text in axis.get_legend().get_texts()]
        assert len(set(labels)) == 2
    picture = figures.save(name, results, tmp_path)
    assert picture.svg.lstrip().startswith("<?xml") and "<svg" in picture.svg
    assert (tmp_path / f"{name}.png").stat().st_size > 10_000


@pytest.mark.parametrize("name", figures.names())
def test_without_what_it_shows_a_figure_says_what_would_have_it(name, tmp_path):
    leave(tmp_path / "a")
    results, _ = read(find([str(tmp_path)], nobody), nobody)
    with pytest.raises(NothingToDraw, match="no (evaluation|run) has"):
        figures.draw(name, results)


def line_of(name, results):
    figure = figures.draw(name, results)
    return figure.axes[0].lines[0].get_xydata().tolist()


def test_the_lines_are_the_results(results):
    assert line_of("error_nfe", results) == [[14, 1e-3], [20, 1e-3], [26, 1e-3]]
    assert line_of("backward_nfe", results) == [[14, 14], [20, 20], [26, 26]]
    density = line_of("density_tolerance", results)
    assert [x for x, _ in density] == [1e-3, 1e-2, 1e-1]
    assert [y for _, y in density] == pytest.approx([1e-3, 1e-2, 1e-1])
    assert line_of("accuracy_nfe", results)[0] == [14, pytest.approx(98.5)]
    assert line_of("nfe_training", results)[:2] == [[10, 20], [20, 21]]
    assert line_of("nfe_jacobian", results)[:2] == [[0, 20], [0.1, 21]]
    assert line_of("bits_time", results)[:2] == [[0, 0.1], [5.0, 0.05]]


def test_steps_that_are_fixed_have_no_tolerance_to_be_drawn_at(tmp_path):
    for i in range(3):
        run = evaluation(tmp_path / str(i), 1e-5, 10 + i)
        content = json.loads((run / "result.json").read_text())
        content["protocol"]["eval_solver"]["step_size"] = 0.5 / (i + 1)
        (run / "result.json").write_text(json.dumps(content))
    results, _ = read(find([str(tmp_path)], nobody), nobody)
    with pytest.raises(NothingToDraw):
        figures.draw("density_tolerance", results)


def test_evaluations_of_other_options_are_lines_of_their_own(tmp_path):
    for ratio in (1.0, 0.01):
        for i, tol in enumerate((1e-1, 1e-3)):
            more = {"atol_ratio": ratio}
            evaluation(tmp_path / f"{ratio}{tol}", tol, 14 + 6 * i, more=more)
    results, _ = read(find([str(tmp_path)], nobody), nobody)
    assert len(figures.draw("error_nfe", results).axes[0].lines) == 2


def test_runs_of_another_task_are_not_drawn_on_one_axis_of_nats(results, tmp_path):
    other = leave(tmp_path / "other", task="another", typed=["task=another"])
    curve(other, ["time/trained_s", "validation/error"], [(1, 1), (2, 2)])
    both = [*results, *read(find([str(other)], nobody), nobody)[0]]
    assert len(figures.draw("bits_time", both).axes[0].lines) == 2


def test_without_runs_there_is_nothing_to_draw():
    for name in figures.names():
        with pytest.raises(NothingToDraw):
            figures.draw(name, [])
