"""node-report as a user meets it: every format, and one line for each mistake."""

import csv
import io
import os
import re
import subprocess
import sys
from html.parser import HTMLParser

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
    assert len(tables) == 4
    for table in tables:
        assert len({line.count(" | ") for line in table.splitlines()}) == 1
    line = next(line for line in text.splitlines() if "ODE-Net" in line)
    assert "| 0.42 % " in line and "| 2.50 ± 1.77 " in line and "| 0, 1 " in line
    assert "| nothing " in line
    line = next(line for line in text.splitlines() if "| ResNet" in line)
    assert "1.50 (s.e. 0.12) * " in line and "3 of 160 epochs; stopped" in line


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
    """Open tags, and where they point."""

    def __init__(self):
        super().__init__()
        self.open, self.links = [], []

    def handle_starttag(self, tag, attrs):
        self.links += [value for name, value in attrs if name in ("src", "href")]
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_a_page_needs_nothing_but_itself(report, runs):
    leave(runs / "odd", task="<b>&", typed=["a=<script>"])
    _, text, _ = report(runs, "--format", "html")
    page = Page()
    page.feed(text)
    assert page.open == []
    assert page.links
    assert all(link.startswith("data:image/svg+xml;base64,") for link in page.links)
    assert "<script>" not in text


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
        assert (tmp_path / "there" / name).with_suffix(".svg").exists()
    assert "(figure3.png)" in written
    report(runs, "--figure", "nfe_training")
    assert {path.name for path in (tmp_path / "report").iterdir()} == {
        "nfe_training.png",
        "nfe_training.svg",
        "report.md",
    }


MISTAKES = [
    (["nothing"], "nothing: there is no such file or folder"),
    (["empty"], "empty holds no result.json"),
    (["outputs", "--paper", "nod"], "unknown --paper nod; did you mean node? (choose from ffjord,"),
    (["outputs", "--figure", "bits_tim"], "unknown --figure bits_tim; did you mean bits_time?"),
    (["outputs", "--format", "markdwn"], "unknown --format markdwn; choose from csv, html, latex,"),
    (["outputs", "--fromat", "md"], "unrecognized arguments: --fromat"),
    ([], "the following arguments are required: PATH"),
    (["outputs", "--figure", "error_nfe"], "--figure error_nfe: no evaluation has solve/error"),
    (["outputs", "--out", "file/x"], "Not a directory"),
]


@pytest.mark.parametrize(("typed", "message"), MISTAKES, ids=[" ".join(t) for t, _ in MISTAKES])
def test_a_mistake_is_one_line(typed, message, report, runs, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    code, _, (complaint,) = report(*typed)
    assert code == 2
    assert message in complaint and complaint.startswith("node-report: ")


def test_what_can_be_used_is_reported_beside_the_complaints(report, runs):
    leave(runs / "again", **odenet(seed=1))
    code, text, complaints = report(runs, "nothing")
    assert code == 2
    assert len(complaints) == 2
    assert "ODE-Net" in text and "0, 1 " in text


def test_a_command_that_was_run_twice_is_said_and_is_no_mistake(report, runs):
    leave(runs / "again", **odenet(seed=1))
    code, text, (note,) = report(runs)
    assert code == 0
    assert "seed 1 is there twice" in note and "a command was run twice" in note
    assert "ODE-Net" in text


DAMAGED = {
    "not json": "cannot be read",
    "[" * 100000: "cannot be read",
    "[]": "holds no result of a run",
    "{}": "lacks state",
    '{"state": NaN}': "lacks message",
}


@pytest.mark.parametrize("content", DAMAGED, ids=DAMAGED.values())
def test_a_file_that_is_no_result_is_named_and_the_others_are_reported(content, report, runs):
    (runs / "r" / "result.json").write_text(content)
    code, text, (complaint,) = report(runs)
    assert code == 2
    assert f"{runs / 'r' / 'result.json'} {DAMAGED[content]}" in complaint
    assert "ODE-Net" in text


def test_pipes_in_place_of_files_are_not_waited_for(report, runs):
    for name in ("result.json", "metrics.jsonl"):
        (runs / "t0.001" / name).unlink()
        os.mkfifo(runs / "t0.001" / name)
    code, text, (complaint,) = report(runs, "--format", "html")
    assert code == 2
    assert "result.json cannot be read: it is not a file" in complaint
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
