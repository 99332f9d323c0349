"""node-report: tables and figures of own and published results."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NoReturn

from ..errors import UserError, unknown_name
from ..streams import make_lenient
from . import figures, formats
from .compose import compose
from .curves import NothingToDraw
from .document import Picture
from .files import find_results, read_results, unfinished_runs
from .published import FILE, load
from .results import Result, groups

OK, MISTAKE = 0, 2
ENDINGS = {"latex": "tex"}  # of files, if not the format's name
PUBLISHED = "published.yaml"  # in a user's own configuration folder


def main(argv: Sequence[str] | None = None) -> None:
    """Run ``node-report``; exit with 0, or 2 if anything named could not be used. The rest is
    reported all the same.
    """
    os.environ["MPLBACKEND"] = "agg"  # figures are files; a notebook's shell sets another
    make_lenient("stderr")
    complaints: list[str] = []
    try:
        if sys.stdout is not None:  # names of folders may hold anything
            sys.stdout.reconfigure(errors="backslashreplace")
        _report(_parse(argv), complaints)
    except BrokenPipeError:  # node-report ... | head
        make_lenient("stdout")
    except (UserError, OSError) as error:
        make_lenient("stdout")  # which may be what failed
        complaints.append(str(error))
    for line in complaints:
        _say(line)
    sys.exit(MISTAKE if complaints else OK)


def _say(line: str) -> None:
    print(f"node-report: {' '.join(line.split())}", file=sys.stderr)


class _Parser(argparse.ArgumentParser):
    """Complains as node-run does."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message}; see node-report --help")


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line.

    Raises:
        UserError: for an unknown name or a file of published figures that cannot be used.
    """
    figure_lines = [f"  {name:<20}{figures.get(name).TITLE}" for name in figures.names()]
    parser = _Parser(
        prog="node-report",
        description="Tables and figures from the result.json files below PATHS: own figures with "
        "those of the papers, and the training behind both.",
        epilog="figures:\n" + "\n".join(figure_lines) + "\n\nown published figures are a file of "
        f"the schema of\n  {FILE}\nwhere papers have tables, and tables cells; a run belongs to a "
        "cell by cell=PAPER.TABLE.CELL",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("paths", nargs="+", metavar="PATH", help="a run, a sweep, or outputs")
    add("--paper", help=f"all tables of one: {', '.join(load())}, or of --published")
    add("--format", default="md", help=f"{', '.join(formats.names())} (default: md)")
    add(
        "--figure",
        action="append",
        default=[],
        metavar="NAME",
        help="draw this one, as PNG, SVG and PDF (NAME,NAME for more); into report/ or --out",
    )
    add(
        "--out",
        type=Path,
        metavar="DIR",
        help="write report.<format> there, with all figures that can be drawn (default: print)",
    )
    add("--published", type=Path, metavar="FILE", help="add published figures of a YAML file")
    add("--config-dir", type=Path, metavar="DIR", help=f"add those of DIR/{PUBLISHED}")
    args = parser.parse_args(argv)
    args.figure = [name for names in args.figure for name in names.split(",")]
    if args.figure and args.out is None:
        args.out = Path("report")
    if args.published is not None and args.config_dir is not None:
        raise UserError("--published and --config-dir: give one of them")
    if args.config_dir is not None:
        args.published = args.config_dir / PUBLISHED
    args.papers = load(args.published)
    for option, given, possible in (
        ("--paper", [args.paper] if args.paper is not None else [], list(args.papers)),
        ("--format", [args.format], formats.names()),
        ("--figure", args.figure, figures.names()),
    ):
        for name in given:
            if name not in possible:
                raise unknown_name(f"{option} {name}", possible, name, listed=True)
    return args


def _report(args: argparse.Namespace, complaints: list[str]) -> None:
    """Print or write the report, and add a line for each thing that could not be used."""
    results, unusable = read_results(find_results(args.paths, complaints.append), complaints.append)
    unusable += unfinished_runs(args.paths)
    grouped = groups(results, _say)
    if not results and not unusable:
        return
    composed = compose(grouped, unusable, args.papers, args.paper)
    with TemporaryDirectory() as scratch:
        if args.out is not None:
            args.out.mkdir(parents=True, exist_ok=True)
            composed = replace(composed, folder=args.out)
        if args.out is not None or args.format == "html":  # a page holds its figures
            folder = args.out or Path(scratch)
            counted = [result for group in grouped for result in group.results]
            composed.pictures.extend(_draw(args.figure, counted, folder, complaints))
    text = formats.get(args.format).render(composed)
    if args.out is None:
        print(text, end="", flush=True)
    else:
        written = args.out / f"report.{ENDINGS.get(args.format, args.format)}"
        written.write_text(text, encoding="utf-8", errors="backslashreplace")
        print(written)


def _draw(
    names: Sequence[str], results: Sequence[Result], folder: Path, complaints: list[str]
) -> list[Picture]:
    """Draw the figures named, or all for which there is something to draw."""
    drawn = []
    for name in names or figures.names():
        try:
            drawn.append(figures.save(name, results, folder))
        except NothingToDraw as error:
            if names:
                complaints.append(f"--figure {name}: {error}")
    return drawn


if __name__ == "__main__":
    main()
