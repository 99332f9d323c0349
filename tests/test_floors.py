"""Imports go down only: the house of README "Architecture", read off the syntax trees."""

import ast
from pathlib import Path

import pytest

import node_runner

ROOT = Path(node_runner.__file__).parent
FLOORS = {
    "below": {"disk", "plotting"},
    "ground": {"ode", "fields", "nets", "data", "training"},
    "first": {"flow", "latent", "odenet", "trajectory"},
    "second": {"tasks"},
    "top": {"annotation", "schema", "config", "stored", "sweep", "command_line", "result", "run"}
    | {"build", "data_state", "cli", "launcher", "report", "__main__", "__init__"}
    | {"origin", "lock", "trust", "replay", "arguments", "streams"},
}
LEVEL = {room: level for level, rooms in enumerate(FLOORS.values()) for room in rooms}
FILES = sorted(ROOT.rglob("*.py"))


def module_of(file: Path) -> list[str]:
    parts = list(file.relative_to(ROOT).with_suffix("").parts)
    return parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts


def imported_rooms(file: Path) -> set[str]:
    """Rooms of the house that a file imports from, however it writes the import."""
    package = ["node_runner", *file.relative_to(ROOT).parent.parts]
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name.split(".") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            base = base + (node.module.split(".") if node.module else [])
            names = [[*base, alias.name] for alias in node.names]
        found |= {name[1] for name in names if name[0] == "node_runner" and len(name) > 1}
    return found & set(LEVEL)


@pytest.mark.parametrize("file", FILES, ids=lambda f: str(f.relative_to(ROOT)))
def test_a_file_imports_only_from_its_room_and_the_floors_below(file):
    room = module_of(file)[0]
    assert room in LEVEL, f"{room} has no floor yet: add it to FLOORS"
    for other in imported_rooms(file) - {room}:
        both_top = room in FLOORS["top"] and other in FLOORS["top"]
        below = LEVEL[other] < LEVEL[room] or (room == "__init__" and other == "ode")
        assert below or both_top, f"{room} imports {other}, which is not below it"


def test_the_check_sees_every_way_to_write_an_import(tmp_path):
    text = "from ..flow import CNF\nimport node_runner.tasks.density\nfrom node_runner import ode\n"
    file = ROOT / "ode" / "not_written.py"
    tree = ast.parse(text)
    assert len(tree.body) == 3
    original = Path.read_text
    try:
        Path.read_text = lambda self, *a, **k: text if self == file else original(self, *a, **k)
        assert imported_rooms(file) == {"flow", "tasks", "ode"}
    finally:
        Path.read_text = original


def test_the_solver_core_needs_torch_alone():
    allowed = {"torch", "node_runner"} | {"__future__", "collections", "contextlib", "dataclasses"}
    allowed |= {
        "difflib",
        "functools",
        "importlib",
        "itertools",
        "math",
        "pathlib",
        "pkgutil",
        "re",
        "typing",
    }
    allowed |= {"bisect", "copy", "logging", "statistics", "time", "types", "warnings", "weakref"}
    for file in (ROOT / "ode").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module]
            else:
                continue
            assert {name.split(".")[0] for name in names} <= allowed, file
