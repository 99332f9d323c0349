"""Imports go down only: the floors of docs/architecture.md, read off the syntax trees."""

import ast
import sys
from pathlib import Path

import node_runner

ROOT = Path(node_runner.__file__).parent
FLOORS = (
    {"disk", "errors", "plotting", "streams"},
    {"ode", "fields", "nets", "training"},
    {"data"},
    {"flow", "latent", "odenet", "trajectory"},
    {"tasks"},
    {"runs"},
    {"cli", "report"},
    {"__main__", "__init__"},
)
LEVEL = {room: level for level, rooms in enumerate(FLOORS) for room in rooms}


def imported(path: Path, text: str) -> set[tuple[str, ...]]:
    """Full names that a file imports, however it writes the import."""
    package = ("node_runner", *path.relative_to(ROOT).parent.parts)
    names = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            names |= {tuple(alias.name.split(".")) for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            base += tuple(node.module.split(".")) if node.module else ()
            names |= {(*base, alias.name) for alias in node.names}
    return names


def imported_rooms(path: Path, text: str) -> set[str]:
    names = imported(path, text)
    return {name[1] for name in names if name[0] == "node_runner" and name[1:2]} & set(LEVEL)


def test_a_file_imports_only_from_its_room_and_the_floors_below():
    wrong = []
    for file in sorted(ROOT.rglob("*.py")):
        room = file.relative_to(ROOT).with_suffix("").parts[0]
        assert room in LEVEL, f"{room} has no floor yet: add it to FLOORS"
        for other in imported_rooms(file, file.read_text()) - {room}:
            if LEVEL[other] >= LEVEL[room]:
                wrong.append(f"{file.relative_to(ROOT)} imports {other}")
    assert not wrong


def test_the_check_sees_every_way_to_write_an_import():
    text = "from ..flow import CNF\nimport node_runner.tasks.density\nfrom node_runner import ode\n"
    assert imported_rooms(ROOT / "ode" / "not_written.py", text) == {"flow", "tasks", "ode"}


def test_the_solver_core_needs_torch_alone():
    for file in (ROOT / "ode").rglob("*.py"):
        packages = {name[0] for name in imported(file, file.read_text())}
        assert packages <= {"torch", "node_runner", *sys.stdlib_module_names}, file
