"""node-report as a user sees it: every format, and one line for each mistake."""

import csv
import io
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest
from report_cases import CONTENT, curve, evaluation, leave, metrics_with, odenet

from node_runner.report import formats
from node_runner.report.cli import main
from node_runner.report.published import load


@pytest.fixture
def report(capsys, monkeypatch, tmp_path):
    """Runs node-report and returns its code, what it printed, and its complaints."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        with pytest.raises(SystemExit) as ended:
            main([str(argument) for argument in arguments])
        shown = capsys.readouterr()
        return ended.value.code, shown.out, shown.err.splitlines()

    return run


@pytest.fixture
def runs(tmp_path):
    """Two seeds of a cell, a run of another cell that stopped early, and a sweep of no cell."""
    folder = tmp_path / "outputs"
    for seed, error in ((0, 0.0125), (1, 0.0375)):
        leave(folder / f"o{seed}", **odenet(seed=seed, metrics=metrics_with(error)))
    leave(
        folder / "r",
        cell="node.table1.resnet",
        epochs=3.0,
        state="stopped",
        typed=["experiment=node.table1.resnet"],
    )
    for tol in (1e-3, 1e-5):
        run = leave(folder / f"t{tol}", task="ffjord_toy", typed=[f"tol={tol}"], options={"t": tol})
        curve(run, ["nfe/forward", "time/trained_s", "validation/error"], [(20, 1, 3), (30, 2, 2)])
    leave(folder / "d", task="ffjord_toy", state="diverged", metrics={}, typed=["tol=1e9"])
    return folder


@pytest.mark.parametrize("name", formats.names())
def test_every_format_holds_published_and_own_and_what_is_missing(name, report, runs):
    code, text, complaints = report(runs, "--format", name)
    assert (code, complaints) == (0, [])
    for part in ("ODE-Net", "0.42", "RK-Net", "missing", "3 of 160 epochs", "stopped", "diverged"):
        assert part in text, part
    assert re.search(r"2\.50 .{1,9} 1\.77|,2\.5,1\.767", text)  # of 1.25 and 3.75 %
    assert "232,970" in text or "232970" in text


def test_a_markdown_table_has_rows_of_one_length(report, runs):
    _, text, _ = report(runs)
    tables = re.findall(r"(?:^\|.*\n)+", text, re.M)
    assert len(tables) >= 3
    for table in tables:
        assert len({line.count(" | ") for line in table.splitlines()}) == 1
    line = next(line for line in text.splitlines() if "ODE-Net" in line)
    for cell in ("0.42 %", "2.50 ± 1.77", "2 (seeds 0, 1)", "nothing"):
        assert f"| {cell} " in line
    line = next(line for line in text.splitlines() if "| ResNet" in line)
    for cell in ("1.50 (s.e. 0.12) *", "1 (seed 0)", "3 of 160 epochs; stopped"):
        assert f"| {cell} " in line


def test_the_values_that_a_program_reads_are_plain_numbers(report, runs):
    _, text, _ = report(runs, "--format", "csv")
    rows = {row["cell"] or row["label"]: row for row in csv.DictReader(io.StringIO(text))}
    own = rows["node.table1.odenet"]
    assert float(own["own"]) == pytest.approx(2.5)
    assert float(own["own_sd"]) == pytest.approx(1.7678, rel=1e-3)
    assert float(own["published"]) == 0.42
    assert float(own["hours"]) == 2.0
    assert own["seeds"] == "0 1"
    assert rows["node.table1.rknet"]["state"] == "missing"
    assert rows["node.table1.rknet"]["own"] == ""
    assert rows["tol=1e9"]["own"] == ""


class Page(HTMLParser):
    """Open tags, where links point, and what can be pointed at."""

    def __init__(self):
        super().__init__()
        self.open, self.links, self.images, self.ids = [], [], [], set()

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.links += [attrs["href"]] if "href" in attrs else []
        self.images += [attrs["src"]] if "src" in attrs else []
        self.ids.add(attrs.get("id"))
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_a_page_holds_its_figures_and_links_contents_runs_and_pictures(report, runs, tmp_path):
    odd = leave(runs / "javascript:a b", task="<b>&", typed=["a=<script>"])
    (odd / "figures").mkdir()
    (odd / "figures" / "density.png").touch()
    for out in ([], ["--out", tmp_path / "there"]):
        _, text, _ = report(runs, "--format", "html", *out)
        base = Path(out[1]) if out else Path.cwd()
        text = (base / "report.html").read_text() if out else text
        page = Page()
        page.feed(text)
        assert page.open == [] and "<script>" not in text
        assert page.images
        assert all(link.startswith("data:image/svg+xml;base64,") for link in page.images)
        contents = [link for link in page.links if link.startswith("#")]
        assert len(contents) >= 4 and {link[1:] for link in contents} <= page.ids
        targets = [base / unquote(link) for link in page.links if link not in contents]
        assert all(target.exists() for target in targets)
        assert odd.resolve() in [target.resolve() for target in targets]
        assert (odd / "figures" / "density.png").resolve() in [t.resolve() for t in targets]
        assert not any(":" in link for link in page.links)


def test_lines_of_markdown_are_short_and_lose_nothing(report, runs, tmp_path):
    typed = [f"model.field.width={i}" for i in range(30)]
    metrics = metrics_with(0.01, **{f"test__number_{i}": 0.5 for i in range(20)})
    leave(runs / "long", task="wide", typed=typed, metrics=metrics, options={"w": 1})
    leave(runs / "bad", task="wide", state="diverged", metrics={}, message="- a | b " + "x " * 200)
    _, text, _ = report(runs)
    assert max(map(len, text.splitlines())) <= 160
    for part in (*typed, *(f"number_{i}" for i in range(20)), "dopri5 at 0.001, Adjoint"):
        assert part in text
    for paper in load():
        _, text, _ = report(runs, "--paper", paper)
        assert max(map(len, text.splitlines())) <= 160


OWN = """
mine:
  reference: "Me 2025"
  tables:
    t:
      title: Toys
      source: table 1
      protocol: As here.
      metric: test/error
      unit: "%"
      factor: 100
      sure: paper
      cells:
        a: {label: My net, value: 1.25, other_methods: {Theirs: [1.5, 0.2]}}
"""


def test_own_published_figures_join_the_report(report, runs, tmp_path):
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "published.yaml").write_text(OWN)
    leave(runs / "mine", cell="mine.t.a", typed=["x=1"], metrics=metrics_with(0.01))
    for option in (["--published", tmp_path / "conf" / "published.yaml"], ["--config-dir", "conf"]):
        code, text, complaints = report(runs, *option)
        assert (code, complaints) == (0, [])
        line = next(line for line in text.splitlines() if "My net" in line)
        assert "1.25 %" in line and "1.00 " in line and "Theirs 1.5 ± 0.2" in text
        assert "ODE-Net" in text
        code, text, _ = report(runs, *option, "--paper", "mine")
        assert code == 0 and "My net" in text and "ODE-Net" not in text


WRONG = {  # in place of what, what, and the words of the complaint
    "not YAML": ("mine:", "mine: [", "published.yaml"),
    "a list": (OWN, "[1]", "mapping"),
    "the package's paper": ("mine:", "node:", "node"),
    "no reference": ('reference: "Me 2025"', "", "mine"),
    "misspelt": ("value: 1.25", "valeu: 1.25", "mine.t.a.valeu value"),
    "no value": ("value: 1.25, ", "", "mine.t.a value"),
    "text": ("value: 1.25", "value: high", "mine.t.a.value 'high'"),
    "sure": ("sure: paper", "sure: certainly", "sure 'certainly' memory"),
    "method": ("[1.5, 0.2]", "[1.5]", "other_methods.Theirs"),
    "budget": ("value: 1.25", "value: 1.25, budget: {epoch: 3}", "budget.epoch epochs"),
    "no cells": (OWN[OWN.index("        a:") :], "        {}", "mine.t.cells"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_mistake_in_own_published_figures_is_one_line(name, report, runs, tmp_path):
    old, new, words = WRONG[name]
    (tmp_path / "published.yaml").write_text(OWN.replace(old, new))
    code, text, (complaint,) = report(runs, "--published", tmp_path / "published.yaml")
    assert (code, text) == (2, "")
    assert "published.yaml" in complaint and all(word in complaint for word in words.split())


def test_a_report_holds_no_markup_or_formula_of_a_strangers_run(report, runs):
    marks = ("<img src=x onerror=a>", "=cmd|'/C calc'!A0", "[a](javascript:b)", "\x1b]0;title\x07")
    for i, mark in enumerate(marks):
        leave(runs / str(i), task=mark, typed=[mark])
    _, text, _ = report(runs)
    assert "<img" not in text and "](java" not in text and "\x1b" not in text
    _, text, _ = report(runs, "--format", "csv")
    assert "'=cmd" in text and ",=cmd" not in text and "\n=cmd" not in text
    assert not re.search(r"[\x1b\x07]", text)


def test_odd_options_and_curves_are_shown_too(report, runs):
    protocol = CONTENT["protocol"]
    solver = protocol["solver"] | {"rtol": [1e-3, 1e-5], "atol": 1e-6}
    leave(runs / "list", task="odd", protocol=protocol | {"solver": solver, "eval_solver": solver})
    fixed = {"method": "rk4", "rtol": 1e-5, "atol": 1e-5, "step_size": 0.25}
    protocol = {"solver": fixed, "eval_solver": fixed}
    run = leave(runs / "fixed", task="odd", options={"x": 1}, protocol=protocol)
    (run / "metrics.jsonl").write_bytes(b'3\n{"nfe/forward": 1}\n\xff\n[]\n')
    code, text, complaints = report(runs, "--format", "html")
    assert (code, complaints) == (0, [])
    assert "dopri5 at rtol [0.001,1e-5], atol 1e-6" in text
    assert "rk4, step 0.25" in text


def test_why_a_run_did_not_end_well_is_told(report, runs):
    leave(runs / "nan", task="x", state="diverged", message="the loss is nan", metrics={})
    (runs / "failed").mkdir()
    (runs / "failed" / "result.json").write_text('{"state": "failed", "message": "no data"}')
    _, text, _ = report(runs)
    assert "diverged: the loss is nan" in text
    assert "no data" in text
    assert "no data" in report(runs, "--paper", "node")[1]


def test_complaints_are_all_told_even_if_nothing_can_be_written(report, runs, tmp_path):
    (tmp_path / "file").touch()
    code, _, complaints = report("nothing", runs, "--out", "file/x")
    assert code == 2
    assert len(complaints) == 2


def test_a_sweep_that_has_just_begun_is_no_mistake(report, tmp_path):
    (tmp_path / "0").mkdir()
    (tmp_path / "0" / "command.yaml").touch()
    code, text, complaints = report(tmp_path / "0", "--format", "html")
    assert (code, complaints) == (0, [])
    assert "unfinished" in text


def test_latex_escapes_its_own_signs(report, runs):
    _, text, _ = report(runs, "--format", "latex")
    body = text.partition("\n")[2]
    assert r"0.42 \%" in body and r"$\pm$" in body
    assert not re.search(r"(?<!\\)[%#]|(?<!\\)_", re.sub(r"\{!\}\{%", "", body))
    assert body.count("{") - body.count(r"\{") == body.count("}") - body.count(r"\}")
    rows = [line for line in body.splitlines() if line.endswith(r"\\")]
    assert len(rows) > 8


def test_a_paper_shows_all_its_tables_and_nothing_else(report, runs):
    _, text, _ = report(runs, "--paper", "node")
    for table in load()["node"]:
        assert f"## {table.name}: " in text
    assert "ffjord_toy" not in text
    for paper in ("ffjord", "rnode", "latent"):
        code, text, _ = report(runs, "--paper", paper)
        assert code == 0
        assert all(text.count(cell.label) for table in load()[paper] for cell in table.cells)


def test_what_is_not_read_in_a_paper_says_so(report, runs):
    _, text, _ = report(runs, "--paper", "rnode")
    line = next(line for line in text.splitlines() if "MNIST, RNODE" in line)
    assert "0.97 (secondary)" in line


def test_a_folder_is_written_with_its_figures(report, runs, tmp_path):
    for tol, nfe in ((1e-1, 14), (1e-3, 26)):
        evaluation(runs / f"e{nfe}", tol, nfe)
    curve(runs / "o0", ["nfe/forward"], [(20,), (26,)])
    code, text, _ = report(runs, "--out", tmp_path / "there")
    assert (code, text.strip()) == (0, str(tmp_path / "there" / "report.md"))
    written = (tmp_path / "there" / "report.md").read_text()
    for name in re.findall(r"!\[.*\]\((.*)\)", written):
        assert (tmp_path / "there" / name).stat().st_size > 5000
        for ending in (".svg", ".pdf"):
            assert (tmp_path / "there" / name).with_suffix(ending).exists()
    assert "(figure3.png)" in written
    report(runs, "--figure", "nfe_training")
    assert {path.name for path in (tmp_path / "report").iterdir()} == {
        "nfe_training.pdf",
        "nfe_training.png",
        "nfe_training.svg",
        "report.md",
    }


MISTAKES = [
    (["nothing"], "nothing"),
    (["empty"], "empty result.json"),
    (["outputs", "--paper", "nod"], "--paper nod node? ffjord"),
    (["outputs", "--figure", "bits_tim"], "--figure bits_tim bits_time?"),
    (["outputs", "--format", "markdwn"], "--format markdwn csv, html, latex"),
    (["outputs", "--fromat", "md"], "--fromat"),
    (["outputs", "--published", "nothing"], "nothing"),
    (["outputs", "--config-dir", "empty"], "empty/published.yaml"),
    ([], "PATH"),
    (["outputs", "--figure", "error_nfe"], "--figure error_nfe solve/error"),
    (["outputs", "--out", "file/x"], "file/x"),
]


@pytest.mark.parametrize(("typed", "words"), MISTAKES, ids=[" ".join(t) for t, _ in MISTAKES])
def test_a_mistake_is_one_line(typed, words, report, runs, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    code, _, (complaint,) = report(*typed)
    assert code == 2 and complaint.startswith("node-report: ")
    assert all(word in complaint for word in words.split())


def test_what_can_be_used_is_reported_beside_the_complaints(report, runs):
    leave(runs / "again", **odenet(seed=1))
    code, text, complaints = report(runs, "nothing")
    assert code == 2
    assert len(complaints) == 2
    assert "ODE-Net" in text and "seeds 0, 1" in text


def test_a_command_that_was_run_twice_is_said_and_is_no_mistake(report, runs):
    leave(runs / "again", **odenet(seed=1))
    code, text, (note,) = report(runs)
    assert code == 0
    assert "seed 1" in note
    assert "ODE-Net" in text


DAMAGED = {
    "not json": "",
    "[" * 100000: "",
    "[]": "",
    "{}": "state",
    '{"state": NaN}': "message",
}


@pytest.mark.parametrize("content", DAMAGED, ids=["text", "deep", "list", "empty", "nan"])
def test_a_file_that_is_no_result_is_named_and_the_others_are_reported(content, report, runs):
    (runs / "r" / "result.json").write_text(content)
    code, text, (complaint,) = report(runs)
    assert code == 2
    assert str(runs / "r" / "result.json") in complaint and DAMAGED[content] in complaint
    assert "ODE-Net" in text


def test_pipes_in_place_of_files_are_not_waited_for(report, runs):
    for name in ("result.json", "metrics.jsonl"):
        (runs / "t0.001" / name).unlink()
        os.mkfifo(runs / "t0.001" / name)
    code, text, (complaint,) = report(runs, "--format", "html")
    assert code == 2
    assert "result.json" in complaint
    assert "ODE-Net" in text


CLOSED = "a, b = os.pipe(); os.close(a); os.dup2(b, 1)"
FULL = "os.dup2(os.open('/dev/full', os.O_WRONLY), 1)"
ENDINGS = [(CLOSED, 0, ""), (FULL, 2, "node-report: [Errno 28] No space left on device")]


@pytest.mark.parametrize(("patch", "code", "said"), ENDINGS, ids=["closed", "full"])
def test_a_report_that_cannot_be_printed_has_no_traceback(patch, code, said, runs):
    call = f"import os\n{patch}\nfrom node_runner.report.cli import main\nmain([{str(runs)!r}])"
    env = {**os.environ, "MPLBACKEND": "module://nothing"}
    done = subprocess.run([sys.executable, "-c", call], env=env, capture_output=True, text=True)
    assert (done.returncode, done.stderr.strip()) == (code, said)
