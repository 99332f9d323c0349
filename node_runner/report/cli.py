"""node-report: what runs came to, beside what was published."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NoReturn

from ..errors import UserError, unknown_name
from ..streams import make_lenient
from . import figures, formats
from .compose import compose
from .curves import NothingToDraw
from .document import Picture
from .files import find, left_running, read
from .published import load
from .results import Result, groups

OK, MISTAKE = 0, 2
ENDINGS = {"latex": "tex"}  # of files, where it is not the format's name


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point of ``node-report``; exits with 0, or 2 if anything named could not be used. What
    could be used is reported all the same.
    """
    os.environ["MPLBACKEND"] = "agg"  # pictures are files; a notebook's shell names another
    make_lenient("stderr")
    complaints: list[str] = []
    try:
        if sys.stdout is not None:  # names of folders may hold anything
            sys.stdout.reconfigure(errors="backslashreplace")
        report(arguments(argv), complaints)
    except BrokenPipeError:  # node-report ... | head
        make_lenient("stdout")
    except (UserError, OSError) as error:
        make_lenient("stdout")  # which may be what failed
        complaints.append(str(error))
    for line in complaints:
        say(line)
    sys.exit(MISTAKE if complaints else OK)


def say(line: str) -> None:
    """One line on standard error."""
    print(f"node-report: {' '.join(line.split())}", file=sys.stderr)


class Parser(argparse.ArgumentParser):
    """Complains as node-run does."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message}; see node-report --help")


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """What was typed.

    Raises:
        UserError: for a name that is not known.
    """
    figure_lines = (f"  {name:<20}{figures.get(name).TITLE}" for name in figures.names())
    parser = Parser(
        prog="node-report",
        description="Tables and figures from the result.json files below PATHS: own figures beside "
        "those of the papers, with what each was trained for.",
        epilog="figures:\n" + "\n".join(figure_lines),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("paths", nargs="+", metavar="PATH", help="a run, a sweep, or outputs")
    parser.add_argument("--paper", help=f"all tables of one: {', '.join(load())}")
    parser.add_argument("--format", default="md", help=f"{', '.join(formats.names())} (default md)")
    parser.add_argument(
        "--figure",
        action="append",
        default=[],
        metavar="NAME",
        help="draw this one, as PNG and SVG (NAME,NAME for more); without --out, into report/",
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="write report.<format> there, with all figures there is something for; else to print",
    )
    args = parser.parse_args(argv)
    args.figure = [name for names in args.figure for name in names.split(",")]
    if args.figure and args.out is None:
        args.out = Path("report")
    for option, given, known in (
        ("--paper", [args.paper] if args.paper is not None else [], list(load())),
        ("--format", [args.format], formats.names()),
        ("--figure", args.figure, figures.names()),
    ):
        for name in given:
            if name not in known:
                raise unknown_name(f"{option} {name}", known, name, listed=True)
    return args


def report(args: argparse.Namespace, complaints: list[str]) -> None:
    """Print or write what was asked for, and add a line for each thing that could not be used."""
    results, unusable = read(find(args.paths, complaints.append), complaints.append)
    unusable += left_running(args.paths)
    found = groups(results, say)
    if not results and not unusable:
        return
    composed = compose(found, unusable, args.paper)
    with TemporaryDirectory() as scratch:
        if args.out is not None:
            args.out.mkdir(parents=True, exist_ok=True)
        if args.out is not None or args.format == "html":  # a page holds its figures
            folder = args.out or Path(scratch)
            counted = [result for group in found for result in group.results]
            composed.pictures.extend(pictures(args.figure, counted, folder, complaints))
    text = formats.get(args.format).render(composed)
    if args.out is None:
        print(text, end="", flush=True)
    else:
        written = args.out / f"report.{ENDINGS.get(args.format, args.format)}"
        written.write_text(text, encoding="utf-8", errors="backslashreplace")
        print(written)


def pictures(
    asked: Sequence[str], results: Sequence[Result], folder: Path, complaints: list[str]
) -> list[Picture]:
    """The figures asked for, or all for which there is something to draw."""
    drawn = []
    for name in asked or figures.names():
        try:
            drawn.append(figures.save(name, results, folder))
        except NothingToDraw as error:
            if asked:
                complaints.append(f"--figure {name}: {error}")
    return drawn


if __name__ == "__main__":
    main()
