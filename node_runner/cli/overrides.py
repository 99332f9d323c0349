"""Parser of the command line: flags and overrides, in any order.

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
from typing import Any, NoReturn

from hydra._internal.utils import get_args_parser  # there is no public one
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException

from ..errors import UserError, first_line
from ..runs.paths import quoted

PATHS: tuple[str, ...] = ("run", "resume", "paths.out", "paths.data", "data.root", "data.file")
PATHS += ("data.folder", "hydra.run.dir", "hydra.sweep.dir", "hydra.sweep.subdir")
HELP = ("help", "hydra_help", "shell_completion")
COMMANDS = ("run", "multirun", "cfg", "info", "shell_completion")
MAX_DEPTH = 30  # of brackets; OmegaConf goes some hundred calls deep for 100
_HOME = re.compile(r"(?<=[=,\[(])\s*(?P<quote>['\"]?)~(?=[/,\])'\"]|$)")


@dataclass(frozen=True)
class CommandLine:
    """Flags and overrides that were typed.

    Attributes:
        flags: Flags by their long names, without ``--config-dir``.
        overrides: Parsed overrides.
        composes: Whether they are to make sense together (not for --help).
        multirun: Whether ``-m`` is among the flags.
        config_dir: Folder of the user with groups of configuration files.
        cfg, package: What ``--cfg`` shows, and the part of it.
    """

    flags: list[str]
    overrides: list[Override]
    composes: bool
    multirun: bool
    config_dir: str | None
    cfg: str | None = None
    package: str | None = None

    @property
    def completes(self) -> bool:
        """Whether Hydra is asked for the completions of a command line."""
        return "--shell-completion" in self.flags

    @property
    def shows(self) -> bool:
        """Whether Hydra is to print a configuration rather than run it."""
        return any(flag in ("--cfg", "--info") for flag in self.flags)

    @property
    def texts(self) -> list[str]:
        """Overrides as they were typed."""
        return [override.input_line or "" for override in self.overrides]

    def value(self, key: str) -> Any:
        """Return the value of an option; None if it was not typed."""
        values = [o.value() for o in self.overrides if o.key_or_group == key]
        return values[-1] if values else None


def parse(argv: Sequence[str]) -> CommandLine:
    """Parse the command line as Hydra does, wherever the flags stand.

    Raises:
        UserError: For an unknown flag, flags that do not go together, and a malformed override.
    """
    parser = get_args_parser()
    parser.error = _refuse  # type: ignore[method-assign]
    args = parser.parse_intermixed_args(list(argv))
    _check_flags(args)
    overrides = [_parse_override(text) for text in args.overrides]
    composes = not any(getattr(args, name) for name in HELP)
    config_dir = None if args.config_dir is None else expanduser(args.config_dir)
    if config_dir is not None and not Path(config_dir).is_dir():
        raise UserError(f"--config-dir {args.config_dir}: there is no such folder")
    args.config_dir = None  # registered before Hydra starts
    flags = _flags(parser, args)
    return CommandLine(
        flags, overrides, composes, args.multirun, config_dir, args.cfg, args.package
    )


def _refuse(message: str) -> NoReturn:
    raise UserError(f"{message}; see node-run --hydra-help")


def _check_flags(args: Namespace) -> None:
    """Check that node-run has the flags, and that they go together."""
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
    """Return the flags by their long names, to stand before all overrides as Hydra wants them."""
    flags = []
    for name, value in vars(args).items():
        if name != "overrides" and value not in (None, False):
            flags += [f"--{name.replace('_', '-')}", *([] if value is True else [value])]
    return flags


def _parse_override(text: str) -> Override:
    """Parse one override in Hydra's grammar.

    Raises:
        UserError: If it is malformed.
    """
    if "=" not in text and not text.startswith("~"):
        raise UserError(f"{text!r} is not an override; write key=value, such as task=ffjord_toy")
    depth = _max_depth(text)
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
                f"cannot read the override {_shortened(text)}: {first_line(error)}{hint}"
            ) from error
        override = read(f"{key}={quoted(bare)}")
    if path and isinstance(override.value(), (int, float)):  # a folder named 0, or 1_000
        override = read(f"{key}={quoted(raw.strip())}")
    return override


def _shortened(text: str, length: int = 60) -> str:
    return text if len(text) <= length else f"{text[:length]}..."


def _max_depth(text: str) -> int:
    """Return the largest number of brackets open at once."""
    depth = deepest = 0
    for sign in text:
        depth += (sign in "[{(") - (sign in ")}]")
        deepest = max(deepest, depth)
    return deepest


def _at_home(match: re.Match) -> str:
    """Return the home folder for a ~ at the start of a value that may be in quotes."""
    home = expanduser("~")
    if match["quote"]:
        return match["quote"] + home.replace(match["quote"], f"\\{match['quote']}")
    return home
