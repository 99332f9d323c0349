"""Arguments of node-run: flags and overrides, in any order.

Overrides are in Hydra's grammar, with two liberties: a value that begins with ~ is below the home
folder, and a path may hold marks that the grammar would want in quotes.
"""

from __future__ import annotations

import re
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from dataclasses import dataclass
from os.path import expanduser
from pathlib import Path
from typing import NoReturn

from hydra._internal.utils import get_args_parser
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, Quote, QuotedString
from hydra.errors import HydraException

from .schema import UserError, first_line

PATHS = ("run", "resume", "paths.out", "paths.data", "data.root", "data.file", "data.folder")
PATHS += ("hydra.run.dir", "hydra.sweep.dir", "hydra.sweep.subdir")
HELP = ("help", "hydra_help", "shell_completion")
COMMANDS = ("run", "multirun", "cfg", "info", "shell_completion")
MAX_DEPTH = 30  # of brackets; OmegaConf goes some hundred calls deep for 100
# Values that the whole sweep has in common, for Hydra's own part is composed of them.
_OF_A_SWEEP = re.compile(r"(hydra|paths|task|experiment|sweep|launcher)([./]|$)")
_HOME = re.compile(r"(?<=[=,\[(])\s*(?P<quote>['\"]?)~(?=[/,\])'\"]|$)")


@dataclass(frozen=True)
class CommandLine:
    """What was typed: flags, overrides, and whether they are to make sense together (not for
    --help).
    """

    flags: list[str]
    overrides: list[Override]
    composes: bool
    multirun: bool
    config_dir: str | None
    cfg: str | None = None
    package: str | None = None

    @property
    def texts(self) -> list[str]:
        return [override.input_line for override in self.overrides]


def parse(argv: Sequence[str]) -> CommandLine:
    """Read the command line as Hydra will, wherever the flags stand.

    Raises:
        UserError: for an unknown flag, flags that do not go together, and an override that is none.
    """
    parser = get_args_parser()
    parser.error = _refuse
    args = parser.parse_intermixed_args(list(argv))
    _check_flags(args)
    overrides = [_parse_override(text) for text in args.overrides]
    composes = not any(getattr(args, name) for name in HELP)
    config_dir = None if args.config_dir is None else expanduser(args.config_dir)
    if config_dir is not None and not Path(config_dir).is_dir():
        raise UserError(f"--config-dir {args.config_dir}: there is no such folder")
    args.config_dir = config_dir
    flags = _flags(parser, args)
    return CommandLine(
        flags, overrides, composes, args.multirun, config_dir, args.cfg, args.package
    )


def _refuse(message: str) -> NoReturn:
    raise UserError(f"{message}; see node-run --hydra-help")


def _check_flags(args: Namespace) -> None:
    """Flags that node-run has, in combinations that mean something."""
    if args.experimental_rerun is not None:
        raise UserError("--experimental-rerun is not for node-run; resume=PATH resumes a run")
    for name in ("config_path", "config_name"):
        if getattr(args, name) is not None:
            flag = f"--{name.replace('_', '-')}"
            raise UserError(f"{flag} is not for node-run; --config-dir DIR adds files of your own")
    if sum(getattr(args, name) not in (None, False) for name in COMMANDS) > 1:
        every = "--run, --multirun, --cfg, --info and --shell_completion"
        raise UserError(f"Only one of {every} can be specified")
    if args.resolve and args.cfg is None and not args.help:
        raise UserError("--resolve goes with --cfg job; add that")
    if args.package is not None and args.cfg is None:
        raise UserError(f"--package {args.package} goes with --cfg job; add that")


def _flags(parser: ArgumentParser, args: Namespace) -> list[str]:
    """The flags by their long names, before all overrides: the order that Hydra can read."""
    flags = []
    for name, value in vars(args).items():
        if name != "overrides" and value not in (None, False):
            flags += [f"--{name.replace('_', '-')}", *([] if value is True else [value])]
    return flags


def _parse_override(text: str) -> Override:
    """One override in Hydra's grammar.

    Raises:
        UserError: if it is none.
    """
    if "=" not in text and not text.startswith("~"):
        raise UserError(f"{text!r} is no override; write key=value, such as task=ffjord_toy")
    depth = max_depth(text)
    if depth > MAX_DEPTH:
        raise UserError(f"{text[:40]}... is {depth} brackets deep, must be at most {MAX_DEPTH}")
    key, _, raw = text.partition("=")
    text = _HOME.sub(_at_home, text) if "~" in raw else text
    read = OverridesParser.create().parse_override
    path = key.lstrip("+") in PATHS
    try:
        override = read(text)
    except (HydraException, ValueError, RecursionError) as error:
        bare = text.partition("=")[2].strip()
        if not path or "=" in raw or bare[:1] in ("'", '"', "[", "{"):
            hint = "; a path with odd signs needs quotes: \"run='PATH'\"" if path else ""
            raise UserError(
                f"cannot read the override {shortened(text)}: {first_line(error)}{hint}"
            ) from error
        override = read(f"{key}={quoted(bare)}")
    if path and isinstance(override.value(), (int, float)):  # a folder named 0, or 1_000
        override = read(f"{key}={quoted(raw.strip())}")
    return override


def shortened(text: str, length: int = 60) -> str:
    return text if len(text) <= length else f"{text[:length]}..."


def max_depth(text: str) -> int:
    """The most brackets that are open at once."""
    depth = deepest = 0
    for sign in text:
        depth += (sign in "[{(") - (sign in ")}]")
        deepest = max(deepest, depth)
    return deepest


def quoted(text: str | Path) -> str:
    """A text in quotes of Hydra's grammar, in which no mark means anything."""
    return QuotedString(str(text).replace("${", r"\${"), Quote.single).with_quotes()


def _at_home(match: re.Match) -> str:
    """What ~ stands for, at the begin of a value that may be in quotes."""
    home = expanduser("~")
    if match["quote"]:
        return match["quote"] + home.replace(match["quote"], f"\\{match['quote']}")
    return home


def for_jobs(override: Override) -> str:
    """An override of a sweep for Hydra, which composes the sweep itself without what is swept: as a
    sweep of one value it is read by the jobs alone, and may belong to what they sweep over.
    """
    text = override.input_line
    key, _, raw = text.partition("=")
    single = not (override.is_sweep_override() or override.is_delete())
    if not single or not raw.strip() or _OF_A_SWEEP.match(override.key_or_group):
        return text
    if override.value() is None:  # cannot be swept; the key has been checked
        return text if key.startswith("+") or "/" in key else f"++{text}"
    return f"{key}=choice({raw})"
