"""Build hooks of the documentation: tables of choices, and pages that lie outside of docs/.

A line ``<!-- generated: NAME ARGUMENT -->`` in a page is replaced by the table or code that the
function ``NAME`` below returns. They read conf/ and the package, so a new file shows up by itself.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
CONF = ROOT / "conf"
MARKER = re.compile(r"^<!-- generated: (\w+)(?: ([\w/.-]+))? -->$", re.M)
OUTSIDE = ("benchmarks/RESULTS.md", "benchmarks/pictures/*.png", "examples/*.py")
OUTSIDE += ("CHANGELOG.md", "CONTRIBUTING.md")


def on_files(files: Any, config: Any) -> Any:
    """Add the files of the repository that pages show or link to."""
    from mkdocs.structure.files import File

    for pattern in OUTSIDE:
        for path in sorted(ROOT.glob(pattern)):
            name = path.relative_to(ROOT).as_posix()
            files.append(File.generated(config, name, abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Fill in generated parts; lead links out of docs/ to the copies that ``on_files`` made."""
    here = page.file.src_uri
    if here in ("CHANGELOG.md", "CONTRIBUTING.md"):
        return markdown.replace("](docs/", "](")
    return filled(markdown).replace("](../", "](") if "/" not in here else filled(markdown)


def filled(markdown: str) -> str:
    """The page with every marker replaced."""
    return MARKER.sub(lambda found: GENERATED[found[1]](*found.groups()[1:]), markdown)


def table(head: tuple[str, ...], rows: Iterator[tuple[str, ...]]) -> str:
    """A markdown table."""
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def folders() -> Iterator[str]:
    """Groups: the folders of conf/ that hold choices."""
    for folder in sorted(path for path in CONF.rglob("*") if path.is_dir()):
        name = folder.relative_to(CONF).as_posix()
        if any(folder.glob("*.yaml")) and name not in ("task/base", "model/flow"):
            yield name


def groups(_: None) -> str:
    """Every group with its choices."""

    def choices(group: str) -> str:
        names = sorted(file.stem for file in (CONF / group).glob("*.yaml"))
        if group == "experiment":
            return f"{len(names)} cells of published tables, see [Reports](reports.md)"
        return " ".join(f"`{name}`" for name in names)

    return table(("group", "choices"), ((f"`{group}`", choices(group)) for group in folders()))


def group(name: str) -> str:
    """The choices of one group, each with what its file or its class says of it."""
    files = sorted((CONF / name).glob("*.yaml"))
    rows = ((f"`{name}={file.stem}`", described(file)) for file in files)
    return table(("choice", "description"), rows)


def described(file: Path) -> str:
    """The comment at the head of a yaml file, or else the first line of its class's docstring."""
    text = file.read_text()
    head = re.match(r"(?:# @package.*\n)?((?:# .*\n)+)", text)
    if head:
        return sentence(re.sub(r"\s*\n?# ", " ", head[1]))
    target = re.search(r"^ *_target_: ([\w.]+)", text, re.M)
    if target:
        ours = target[1].startswith("node_runner")
        return first_line(target[1]) if ours else f"`{target[1]}`"
    lines = (line.strip(" -") for line in text.splitlines())
    kept = [f"`{line}`" for line in lines if line and line not in ("defaults:", "_self_", "{}")]
    return ", ".join(kept) or "none"


def first_line(target: str) -> str:
    """The first sentence of the docstring of a class or function of the package."""
    from importlib import import_module

    module, _, name = target.rpartition(".")
    return sentence(getattr(import_module(module), name).__doc__ or "")


def sentence(text: str) -> str:
    """The first sentence of the first paragraph, for a cell of a table."""
    text = " ".join(text.split("\n\n")[0].split()).replace("``", "`")
    for end in re.finditer(r"\.(?= [A-Z])|[.:]$", text):
        before = text[: end.start()]
        if before.count("(") == before.count(")") and not re.search(r"\b[A-Z]$", before):
            text = before
            break
    return text.replace("|", "\\|")


def methods(_: None) -> str:
    """Solver methods, by kind."""
    from node_runner.ode import methods as registry

    def kind(method: Any) -> str:
        steps = "adaptive" if method.adaptive else "fixed step"
        return ("implicit" if method.implicit else "explicit") + ", " + steps

    def order(method: Any) -> str:
        return f"1 to {method.order}" if method.variable else str(method.order)

    rows = [
        (kind(method), f"`{name}`", order(method), "yes" if method.one_step else "no", about(name))
        for name, method in ((name, registry.get(name)) for name in registry.names())
    ]
    head = ("kind", "method", "order", "`Replay`", "description")
    return table(head, sorted(rows))


def about(method: str) -> str:
    """The first sentence of a method's module docstring."""
    source = (ROOT / "node_runner" / "ode" / "methods" / f"{method}.py").read_text()
    return sentence(ast.get_docstring(ast.parse(source)) or "")


def example(name: str) -> str:
    """An example's docstring as text, then its code."""
    source = (ROOT / "examples" / f"{name}.py").read_text()
    text = ast.get_docstring(ast.parse(source)) or ""
    code = source.split('"""', 2)[2].strip()
    return f"{text}\n\n```python\n{code}\n```"


def readme(section: str) -> str:
    """A section of the README without its heading."""
    text = (ROOT / "README.md").read_text()
    return text.split(f"## {section.replace('-', ' ')}\n", 1)[1].split("\n## ")[0].strip()


def experiments(_: None) -> str:
    """Experiments with the part of a paper that each reproduces."""
    files = sorted((CONF / "experiment").glob("*.yaml"))
    rows = ((f"`experiment={file.stem}`", described(file)) for file in files)
    return table(("experiment", "description"), rows)


def figures(_: None) -> str:
    """Figures of node-report, by their titles."""
    from node_runner.report import figures as registry

    rows = ((f"`{name}`", registry.get(name).TITLE) for name in registry.names())
    return table(("`--figure`", "title"), rows)


FUNCTIONS = (groups, group, methods, example, readme, experiments, figures)
GENERATED: dict[str, Callable[[str | None], str]] = {f.__name__: f for f in FUNCTIONS}
