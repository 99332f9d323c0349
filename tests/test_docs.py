"""docs/: examples run, generated tables list every choice, names and commands exist."""

import ast
import importlib.util
import json
import re
import shlex
from pathlib import Path

import pytest
from fast_selection import SELECTED, SLOW
from forked import node_run

from node_runner.ode import methods
from node_runner.report import figures, formats
from node_runner.runs import config

ROOT = Path(__file__).parents[1]
PAGES = {
    path.relative_to(ROOT / "docs").as_posix(): path.read_text()
    for path in sorted(ROOT.glob("docs/**/*.md"))
}
SPEC = importlib.util.spec_from_file_location("hooks", ROOT / "docs" / "hooks.py")
hooks = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(hooks)
# A python block that starts with an import is an example; one that starts with a path is a file.
BLOCKS = [
    pytest.param(
        block,
        id=f"{name}-{number}",
        marks=[pytest.mark.slow] if 'engine="compiled"' in block else [],
    )
    for name, text in PAGES.items()
    for number, block in enumerate(re.findall(r"```python\n((?:import|from) .*?)```", text, re.S))
]
ALL = "\n".join(PAGES.values())


@pytest.mark.parametrize("block", BLOCKS)
def test_an_example_runs(block):
    exec(block, {})


@pytest.mark.parametrize(
    "name", [name for name, text in PAGES.items() if hooks.MARKER.search(text)]
)
def test_generated_parts_are_filled_in(name):
    text = hooks.filled(PAGES[name])
    assert "<!-- generated" not in text
    rows = [row for row in text.splitlines() if row.startswith("| ")]
    assert all(cell.strip() for row in rows for cell in row.strip("|").split(" | ")[-1:])


def test_every_choice_and_method_is_listed():
    text = hooks.groups(None)
    for group in ("solver", "model", "task", "data", "regularizer", "schedule", "launcher"):
        assert all(f"`{file.stem}`" in text for file in (config.FOLDER / group).glob("*.yaml"))
    assert all(f"| `{name}` |" in hooks.methods(None) for name in methods.names())
    assert all(f"`{name}`" in hooks.figures(None) for name in figures.names())


def test_formats_exist():
    (line,) = re.findall(r"^`--format` is (.*)$", ALL, re.M)
    assert set(re.findall(r"`(\w+)`", line)) == set(formats.names())


def test_choices_that_pages_name_exist():
    """`group=choice` of groups that are folders of conf/, or choices that a recipe adds."""
    text = ALL + (ROOT / "README.md").read_text()
    added = set(re.findall(r"^# (?:conf|mine)/\w+/(\w+)\.yaml", text, re.M))
    folders = {path.name: path for path in config.FOLDER.iterdir() if path.is_dir()}
    folders["eval_solver"] = folders["solver"]
    checked = 0
    for group, values in re.findall(r"(?<![\w.])(\w+)=([a-z0-9][\w.,]*)", text):
        if group in folders:
            names = {file.stem for file in folders[group].rglob("*.yaml")} | added
            assert set(values.rstrip(".,").split(",")) <= names, f"{group}={values}"
            checked += 1
    assert checked > 30


COMMANDS = sorted(
    {
        re.sub(r"=([\w.-]+),[\w.,-]+", r"=\1", line).replace(" -m ", " ")  # one job of a sweep
        for line in re.findall(r"^(?:    |`)\$? ?node-run ([^`#$\n]*)", ALL, re.M)
        if not re.search(r"run=|resume=|--config-dir|\.\.\.", line)
    }
)


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_is_valid(command, tmp_path):
    done = node_run(tmp_path, *shlex.split(command.replace("-m ", "")), "--cfg", "job")
    assert done.returncode == 0, done.stderr


def test_the_keys_of_a_result_are_those_of_the_page(small_run):
    text = PAGES["run-folder.md"].split("## result.json")[1].split("\n## ")[0]
    named = {
        key
        for row in re.findall(r"^\| (`.*?) \|", text, re.M)
        for key in re.findall(r"`(\w+)`", row)
    }
    assert named == set(json.loads((small_run / "result.json").read_text()))


def test_make_has_the_targets():
    targets = set(re.findall(r"(?:^    |`)make ([\w-]+)", ALL, re.M))
    assert targets <= set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.M))


@pytest.mark.parametrize("name", [*PAGES, "CONTRIBUTING.md"])
def test_links_between_pages_exist(name):
    base = ROOT if name == "CONTRIBUTING.md" else (ROOT / "docs" / name).parent
    text = (base / Path(name).name).read_text()
    for target in re.findall(r"\]\(([^)#]+)", text):
        assert target.startswith("http") or (base / target).exists(), target


def test_every_page_is_in_the_navigation_once():
    listed = re.findall(r"([\w/-]+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.M)
    assert len(listed) == len(set(listed)) and set(PAGES) <= set(listed)


def test_the_rooms_of_the_architecture_exist():
    (house,) = re.findall(r"```\n(.*?)```", PAGES["architecture.md"], re.S)
    rooms = re.findall(r"^(?:\w+)? +(\w+(?:/|\.py)) ", house, re.M)
    assert len(rooms) > 15
    for name in rooms:
        assert list((ROOT / "node_runner").rglob(name.rstrip("/"))), name


def test_the_fast_selection_names_files_and_reaches_every_folder_of_tests():
    files = {path.stem: path for path in (ROOT / "tests").rglob("test_*.py")}
    assert SLOW <= set(files) and set(SELECTED) <= SLOW
    for stem, beginnings in SELECTED.items():
        names = [n.name for n in ast.parse(files[stem].read_text()).body if hasattr(n, "name")]
        for beginning in beginnings:
            assert any(name.startswith(beginning) for name in names), (stem, beginning)
    fast = {path.parent for stem, path in files.items() if stem not in SLOW or stem in SELECTED}
    assert fast == {path.parent for path in files.values()}
