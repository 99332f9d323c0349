"""Figures of flows: costs over training, and density matching."""

import numpy as np
import pytest
from report_cases import curve, leave, results_in

from node_runner.report import figures
from node_runner.report.curves import NothingToDraw

JACOBIAN, KINETIC = "cost/jacobian", "cost/kinetic"


def trained(folder, typed, tags, task="ffjord_toy", **changes):
    run = leave(folder, task=task, typed=[typed], options={"typed": typed}, **changes)
    return curve(run, tags, [[scale * i for scale in range(1, len(tags) + 1)] for i in range(5)])


@pytest.fixture
def ablation(tmp_path):
    """Runs of one task with both costs, one and none; and a run of a task without costs."""
    for name, tags in (
        ("none", []),
        ("jacobian", [JACOBIAN]),
        ("kinetic", [KINETIC]),
        ("rnode", [JACOBIAN, KINETIC]),
    ):
        trained(tmp_path / name, f"regularizer={name}", ["nfe/forward", *tags])
    trained(tmp_path / "other", "x=y", ["nfe/forward"], task="odenet_mnist")
    return tmp_path


def test_a_run_is_in_the_panels_that_it_has_a_curve_for_and_has_one_colour(ablation):
    axes = figures.draw("costs_training", results_in(ablation)).axes
    assert len(axes) == 3  # no panel of the other task
    drawn = [{line.get_label().split("=")[1]: line for line in axis.lines} for axis in axes]
    assert [set(lines) for lines in drawn] == [
        {"none", "jacobian", "kinetic", "rnode"},
        {"jacobian", "rnode"},
        {"kinetic", "rnode"},
    ]
    for name in ("jacobian", "kinetic", "rnode"):
        assert len({lines[name].get_color() for lines in drawn if name in lines}) == 1
    for axis, lines in zip(axes, drawn, strict=True):
        labels = {text.get_text().split("=")[1] for text in axis.get_legend().get_texts()}
        assert labels == set(lines)
    assert drawn[2]["rnode"].get_xydata().tolist()[:2] == [[10, 0], [20, 3]]


def test_many_runs_have_no_legend(tmp_path):
    for i in range(9):
        trained(tmp_path / str(i), f"x={i}", ["nfe/forward", JACOBIAN, KINETIC])
    for axis in figures.draw("costs_training", results_in(tmp_path)).axes:
        assert axis.get_legend() is None and len(axis.lines) == 9


def test_costs_that_no_run_measured_are_named_with_what_measures_them(tmp_path):
    trained(tmp_path / "a", "x=y", ["nfe/forward", KINETIC])
    with pytest.raises(NothingToDraw, match="cost/jacobian"):
        figures.draw("costs_training", results_in(tmp_path))


SIZES = {"NF": "model.layers", "CNF": "model.field.width"}


def matched(folder, family, size, kl, energy="u1", other=None, **changes):
    """A run of cnf_density, with a ring as target and one of another radius as what it learned."""
    options = {"task.energy": energy, SIZES[family]: size, **(other or {})}
    metrics = {"test/kl": {"mean": kl}} if kl is not None else {}
    leave(folder, **{"task": "cnf_density", "options": options, "metrics": metrics, **changes})
    (folder / "arrays").mkdir()
    y, x = np.meshgrid(*2 * [np.linspace(-4, 4, 40)], indexing="ij")
    for name, radius in (("target", 2.0), ("learned", 2.0 + kl if kl else 1.0)):
        ring = np.exp(-2 * (np.hypot(x, y + 1) - radius) ** 2)
        np.save(folder / "arrays" / f"density_{name}.npy", ring.astype("float32"))
    return folder


@pytest.fixture
def matches(tmp_path):
    """Two energies, both families in three sizes; two seeds of one, and a short try of another."""
    for energy in ("u2", "u1"):
        for size in (2, 8, 32):
            for family, factor in (("NF", 2.0), ("CNF", 1.0)):
                folder = tmp_path / f"{energy}{family}{size}"
                matched(folder, family, size, factor / size, energy)
    matched(tmp_path / "seed", "CNF", 8, 0.325, seed=1)
    matched(tmp_path / "try", "CNF", 32, 3.0, steps=10)
    return tmp_path


def points(axis):
    return {line.get_label().partition(" (")[0]: line.get_xydata().tolist() for line in axis.lines}


def test_a_row_for_each_energy_holds_target_flows_and_divergences(matches, tmp_path):
    results = results_in(matches)
    axes = figures.draw("matching", results).axes
    titles = [axis.get_title() for axis in axes]
    assert [bar.get_ylabel() for bar in axes[8:]] == 2 * ["probability density"]
    assert titles[:4] == ["u1, target", "NF, K = 32 layers", "CNF, M = 32 units", ""]
    assert titles[4] == "u2, target"
    shown = axes[2].images[0]
    learned = np.load(matches / "u1CNF32" / "arrays" / "density_learned.npy")
    assert np.array_equal(shown.get_array(), learned)
    assert shown.origin == "lower"
    assert {axis.images[0].get_clim() for axis in axes[:3]} == {axes[0].images[0].get_clim()}
    lines = points(axes[3])
    assert lines["NF"] == [[2, 1.0], [8, 0.25], [32, 0.0625]]
    assert lines["CNF"] == [[2, 0.5], [8, pytest.approx((0.125 + 0.325) / 2)], [32, 0.03125]]
    (band,) = axes[3].collections  # over the two seeds of CNF 8
    assert band.get_paths()[0].get_extents().max[1] == pytest.approx(0.5)
    assert band.get_paths()[0].contains_point((8, 0.32))


def test_a_family_that_was_not_run_is_left_blank(tmp_path):
    matched(tmp_path / "a", "NF", 4, 0.1)
    _, one, other, divergence, _ = figures.draw("matching", results_in(tmp_path)).axes
    assert one.images and not other.images
    assert [text.get_text() for text in other.texts] == ["no CNF"]
    assert points(divergence) == {"NF": [[4, 0.1]]}


UNUSABLE = [
    {"task": "another"},
    {"mode": "evaluate", "run": "x"},
    {"metrics": {}, "state": "diverged"},
    {"options": {"task.energy": "u1"}},
]


@pytest.mark.parametrize("changes", UNUSABLE, ids=lambda changes: next(iter(changes)))
def test_other_runs_match_nothing(changes, tmp_path):
    matched(tmp_path / "a", "NF", 4, 0.1, **changes)
    with pytest.raises(NothingToDraw, match="test/kl"):
        figures.draw("matching", results_in(tmp_path))


@pytest.mark.parametrize("content", [None, b"", b"not an array"])
def test_a_run_without_its_arrays_is_left_out(content, matches):
    path = matches / "u2NF32" / "arrays" / "density_learned.npy"
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    axes = figures.draw("matching", results_in(matches)).axes
    assert axes[5].get_title() == "NF, K = 8 layers"
    assert list(map(len, points(axes[7]).values())) == [2, 3]


def test_runs_of_unlike_configurations_are_not_joined(tmp_path):
    for size in (2, 8):
        for rate in (0.1, 0.2):
            typed = [f"lr={rate}", f"model.layers={size}"]
            folder = tmp_path / f"{size}{rate}"
            matched(folder, "NF", size, rate / size, other={"lr": rate}, typed=typed)
    axes = figures.draw("matching", results_in(tmp_path)).axes
    assert points(axes[3]) == {
        "NF, lr=0.1": [[2, 0.05], [8, 0.0125]],
        "NF, lr=0.2": [[2, 0.1], [8, 0.025]],
    }
