"""Every figure draws what it says from results that have it, and says what it needs otherwise."""

import json

import pytest
from report_cases import CONTENT, curve, evaluation, leave, results_in

from node_runner.report import figures
from node_runner.report.curves import NothingToDraw

TAGS = ["nfe/forward", "cost/jacobian", "time/trained_s", "validation/error", "cost/kinetic"]


@pytest.fixture
def results(tmp_path):
    """Two nets, one of them with two seeds: trained, and evaluated at three tolerances."""
    for name, seed in (("adam", 0), ("adam", 1), ("sgd", 0)):
        typed = ["task=odenet_mnist", f"optimizer={name}"]
        options = {**CONTENT["options"], "optimizer": name}
        run = leave(tmp_path / f"{name}{seed}", seed=seed, typed=typed, options=options)
        rows = [(20 + i + 2 * seed, 0.1 * i, 5.0 * i, 0.1 / (i + 1), i) for i in range(5)]
        curve(run, TAGS, rows)
        for i, tol in enumerate((1e-1, 1e-2, 1e-3)):
            folder, nfe = tmp_path / f"e{name}{seed}" / str(i), 14 + 6 * i + 2 * seed
            integral = 1 - tol * (1 + seed)
            evaluation(
                folder, tol, nfe, str(run), seed, {"optimizer": name}, density__integral=integral
            )
    return results_in(tmp_path)


@pytest.mark.parametrize("name", [name for name in figures.names() if name != "matching"])
def test_a_figure_has_a_curve_for_each_net_and_a_band_over_seeds(name, results):
    figure = figures.draw(name, results)
    for axis in figure.axes:
        drawn = [line for line in axis.lines if len(line.get_xdata()) > 2]
        assert len(drawn) == 2
        assert len(axis.collections) == (0 if name == "nfe_jacobian" else 1)
        assert axis.get_xlabel() and axis.get_ylabel()
        labels = [" ".join(text.get_text().split()) for text in axis.get_legend().get_texts()]
        assert len(set(labels)) == len(labels) and any("2 seeds" in label for label in labels)


def test_a_figure_is_written_in_three_formats_and_its_legends_cover_no_axes(results, tmp_path):
    figure = figures.draw("figure3", results)
    for _ in range(2):
        figure.draw_without_rendering()
    for axis in figure.axes:
        assert not any(axis.get_legend().get_window_extent().overlaps(a.bbox) for a in figure.axes)
    name = "backward_nfe"
    picture = figures.save(name, results, tmp_path)
    assert picture.svg.lstrip().startswith("<?xml") and "<svg" in picture.svg
    for kind in ("png", "pdf"):
        assert (tmp_path / f"{name}.{kind}").stat().st_size > 5_000


@pytest.mark.parametrize("name", figures.names())
def test_without_what_it_shows_a_figure_says_what_would_have_it(name, tmp_path):
    for results in ([], results_in(leave(tmp_path / "a"))):
        with pytest.raises(NothingToDraw, match="no (evaluation|run) has"):
            figures.draw(name, results)


def test_curves_are_means_over_seeds(results):
    def first(name):
        return figures.draw(name, results).axes[0].lines[0].get_xydata().tolist()

    assert first("error_nfe") == [[15, 1e-3], [21, 1e-3], [27, 1e-3]]
    assert first("backward_nfe") == [[15, 15], [21, 21], [27, 27]]
    density = first("density_tolerance")
    assert [x for x, _ in density] == [1e-3, 1e-2, 1e-1]
    assert [y for _, y in density] == pytest.approx([1.5e-3, 1.5e-2, 1.5e-1])
    assert first("accuracy_nfe")[0] == [15, pytest.approx(98.5)]
    assert first("nfe_training")[:2] == [[10, 21], [20, 22]]
    assert first("nfe_jacobian")[:2] == [[0, 21], [0.1, 22]]
    assert first("bits_time")[:2] == [[0, pytest.approx(10)], [5.0, pytest.approx(5)]]  # %
    band = figures.draw("nfe_training", results).axes[0].collections[0].get_paths()[0]
    assert band.get_extents().get_points()[:, 1].tolist() == [20, 26]


def test_steps_that_are_fixed_have_no_tolerance_to_be_drawn_at(tmp_path):
    for i in range(3):
        run = evaluation(tmp_path / str(i), 1e-5, 10 + i)
        content = json.loads((run / "result.json").read_text())
        content["protocol"]["eval_solver"]["step_size"] = 0.5 / (i + 1)
        (run / "result.json").write_text(json.dumps(content))
    results = results_in(tmp_path)
    with pytest.raises(NothingToDraw):
        figures.draw("density_tolerance", results)
    (line,) = figures.draw("error_nfe", results).axes[0].lines
    assert len(line.get_xdata()) == 3


UNLIKE = {
    "options": lambda i: {"more": {"atol_ratio": i}},
    "one seed of two runs": lambda i: {"run": f"run {i}"},
    "one net with two seeds": lambda i: {"seed": i},
}


@pytest.mark.parametrize("name", UNLIKE)
def test_evaluations_of_unlike_nets_are_not_joined(name, tmp_path):
    for i in range(2):
        for tol, nfe in ((1e-1, 14), (1e-3, 26)):
            evaluation(tmp_path / f"{i}{tol}", tol, nfe, **UNLIKE[name](i))
    (axis,) = figures.draw("error_nfe", results_in(tmp_path)).axes
    assert [len(line.get_xdata()) for line in axis.lines] == [2, 2] and not axis.collections


def test_no_axis_mixes_units(results, tmp_path):
    headline = {"metric": "mse", "unit": "", "factor": 1.0}
    other = {"task": "another", "headline": headline}
    other["data"] = {"name": "physionet", "part": "whole", "sizes": {}}
    folder = tmp_path / "other"
    run = leave(folder / "run", metrics={"test/mse": {"mean": 1}}, **other)
    curve(run, ["time/trained_s", "validation/mse"], [(1, 1), (2, 2)])
    for tol in (1e-1, 1e-2):
        path = evaluation(folder / str(tol), tol, 5, test__mse=0.002) / "result.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | other))
    both = [*results, *results_in(folder)]
    for name in ("bits_time", "metric_tolerance"):
        axes = figures.draw(name, both).axes
        assert [len(axis.lines) for axis in axes] == [2, 1]
        assert "%" in axes[0].get_ylabel() and "x 1e-3" in axes[1].get_ylabel()
    assert axes[1].lines[0].get_ydata().tolist() == [2, 2]
