"""What was typed, and whether it makes sense.

Hydra composes, but by itself it accepts ``tol=abc`` and ``+solver.rtoll=3`` and leaves with exit
code 1 and a page of text on a typo. Here every override is checked before any work starts: groups
and choices against the folders, keys against the composed tree, values against ``schema``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra import initialize_config_dir
from hydra._internal.utils import get_args_parser
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob, Override, Transformer
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf

from . import stored
from .config import FOLDER, VERSION_BASE, compose_or_explain, files
from .launcher import check_launcher
from .schema import MODES, OF_A_RUN, UserError, check, dotted, first_line, told, unknown
from .sweep import folder_of


@dataclass(frozen=True)
class CommandLine:
    """What was typed: overrides, and whether they are to make sense together (not for --help)."""

    overrides: list[Override]
    composes: bool
    multirun: bool
    config_dir: str | None


def parse(argv: Sequence[str]) -> CommandLine:
    """Read the command line as Hydra will.

    Raises:
        UserError: for an override that is no override.
    """
    args = get_args_parser().parse_args(list(argv))
    asks = ("help", "hydra_help", "version", "shell_completion")
    for text in args.overrides:
        if "=" not in text and not text.startswith("~"):
            raise UserError(f"{text!r} is no override; write key=value, such as task=ffjord_toy")
    try:
        overrides = OverridesParser.create().parse_overrides(args.overrides)
    except HydraException as error:
        paths = any(text.startswith(("run=", "resume=", "paths.")) for text in args.overrides)
        hint = "; a path with odd signs needs quotes: \"run='PATH'\"" if paths else ""
        raise UserError(f"cannot read the overrides: {first_line(error)}{hint}") from error
    composes = not any(getattr(args, name, None) for name in asks)
    if args.config_dir is not None and not Path(args.config_dir).is_dir():
        raise UserError(f"--config-dir {args.config_dir}: there is no such folder")
    return CommandLine(overrides, composes, bool(args.multirun), args.config_dir)


def value_of(line: CommandLine, key: str) -> Any:
    """The value of an option, None if it was not typed."""
    values = [o.value() for o in line.overrides if o.key_or_group == key]
    return values[-1] if values else None


def with_stored(argv: Sequence[str], line: CommandLine) -> list[str]:
    """The command line of the run that run= or resume= names, then what was typed.

    Raises:
        UserError: if it names none, or the two options do not go together with the others.
    """
    mode, run, resume = (value_of(line, key) for key in stored.CALL)
    run, resume = (str(path) if isinstance(path, int) else path for path in (run, resume))
    if mode not in (None, *MODES):
        return list(argv)  # the check of all values has more to say
    if (mode in OF_A_RUN) != (run is not None):
        raise UserError(
            "mode=evaluate, or mode=sample, and run=PATH go together: PATH is a run's folder or "
            "one of its checkpoints (to train on, resume=PATH)"
        )
    if resume is not None and mode not in (None, "train"):
        raise UserError(f"resume={resume} goes on with training; it does not go with mode={mode}")
    for key, path in (("run", run), ("resume", resume)):
        if path is not None and not isinstance(path, str):
            raise UserError(f"{key} takes one folder; call node-run once for each")
    if resume not in (None, "auto") and line.multirun:
        raise UserError(f"resume={resume} goes on with one run; with -m there is resume=auto")
    option, path = ("resume", resume) if run is None else ("run", run)
    if path in (None, "auto"):
        return list(argv)
    source = stored.read(path, option)
    if option == "resume" and source.config.get("mode") != "train":
        raise UserError(f"resume={path} trained nothing; resume the run that it was made of")
    again = {override.key_or_group for override in line.overrides}
    for key in ("task", "experiment"):
        if key in again:
            raise UserError(f"{option}={path} brings its {key}; leave {key}= out")
    kept = [
        override.input_line
        for override in OverridesParser.create().parse_overrides(source.overrides)
        if override.key_or_group not in again  # nor the values of a choice that is made anew
        and not any(override.key_or_group.startswith(f"{key}.") for key in again)
    ]
    folder = source.config_dir if line.config_dir is None else None
    return [*(("--config-dir", folder) if folder else ()), *behind(argv, line, kept)]


def behind(argv: Sequence[str], line: CommandLine, overrides: Sequence[str]) -> list[str]:
    """The command line with more overrides before its own: they have to stand together."""
    first = list(argv).index(line.overrides[0].input_line) if line.overrides else len(argv)
    return [*argv[:first], *overrides, *argv[first:]]


def check_command_line(line: CommandLine, typed: CommandLine | None = None) -> Path | None:
    """Compose what was typed, and check all of it: of a sweep, every value.

    Args:
        typed: what was typed of it, if the rest is that of a stored run.

    Returns:
        The folder of a sweep; None for a single run.

    Raises:
        UserError: naming the option, what was seen, what is possible, and the nearest name.
    """
    search = (
        [f"hydra.searchpath=[file://{Path(line.config_dir).absolute()}]"] if line.config_dir else []
    )
    with initialize_config_dir(str(FOLDER), version_base=VERSION_BASE):
        groups = [o for o in line.overrides if is_group(o)]
        for override in groups:
            check_choice(override, line.config_dir)
        base = compose_or_explain([*search, *next(jobs_to_check(groups))], hydra=True)
        check_launcher(line.overrides, line.multirun, base)
        for override in line.overrides:
            if override not in groups:
                check_key(override, base)
            if override.is_sweep_override() and not line.multirun:
                raise UserError(
                    f"{override.input_line} is a sweep: node-run -m ... runs each value"
                )
        if not line.multirun and any(o.key_or_group == "sweep" and o.value() for o in groups):
            raise UserError("sweep= is several jobs: node-run -m ... runs them")
        if not line.multirun:
            config = compose_or_explain([*search, *next(jobs_to_check(line.overrides))])
            check(config)
            check_tolerances((typed or line).overrides, config)
            return None
        whole = compose_or_explain([*search, *next(jobs_to_check(line.overrides))], hydra=True)
        for overrides in jobs_to_check([*preset(whole), *line.overrides]):
            check(compose_or_explain([*search, *overrides]))
        folder = whole.hydra.sweep.dir
        given = value_of(line, "hydra.sweep.dir") is not None
        return Path(folder) if given else folder_of(folder, line.overrides)


def preset(config: DictConfig) -> list[Override]:
    """The sweep of a file of conf/sweep/, as it would be typed."""
    params = config.hydra.sweeper.params or {}
    typed = [f"{key}={value}" for key, value in params.items()]
    return OverridesParser.create().parse_overrides(typed)


def loader() -> Any:
    return GlobalHydra.instance().config_loader()


def is_group(override: Override) -> bool:
    """Whether the override chooses a file of conf/ rather than setting a value."""
    group = override.key_or_group
    return bool(loader().get_group_options(group)) or group == "experiment"


def check_choice(override: Override, own: str | None) -> None:
    """Each choice of a group, and of a sweep over it, is a file."""
    if override.is_delete() or override.value() is None:
        return
    group = override.key_or_group
    # A folder of the user's own is known to Hydra only once composed, eval_solver only to Hydra.
    known = sorted({*loader().get_group_options(group), *files(group, own)})
    for value in choices(override):
        if value is not None and value not in known:
            raise UserError(unknown(f"{group}={value}", str(value), known, listed=True))


def choices(override: Override) -> Iterator[object]:
    if override.is_sweep_override():
        value = override.value()
        listed = getattr(value, "list", None)
        yield from listed or ()  # a glob or a range is expanded by Hydra
    elif isinstance(override.value(), list):
        yield from override.value()
    else:
        yield override.value()


def values(override: Override) -> list[str]:
    """The override with each value of its sweep. A glob, which Hydra expands, gives none."""
    if not override.is_sweep_override():
        return [override.input_line]
    if isinstance(override.value(), Glob):
        return []
    return [
        f"{override.get_key_element()}={value}"
        for value in override.sweep_iterator(transformer=Transformer.encode)
    ]


def jobs_to_check(overrides: Sequence[Override]) -> Iterator[list[str]]:
    """Command lines that hold each value of each sweep once: as many as values, not as jobs."""
    swept = [found for found in map(values, overrides) if found]
    yield [found[0] for found in swept]
    for i, found in enumerate(swept):
        for value in found[1:]:
            yield [value if i == j else other[0] for j, other in enumerate(swept)]


def check_tolerances(overrides: Sequence[Override], config: DictConfig) -> None:
    """A tolerance typed for a solver whose steps are fixed would do nothing."""
    from .ode import methods  # needs torch

    for override in overrides:
        key = override.key_or_group
        solver = "eval_solver" if key == "eval_tol" else key.partition(".")[0]
        tolerances = (f"{solver}.rtol", f"{solver}.atol", "eval_tol")
        given = not override.is_delete() and override.value() is not None
        if given and key in tolerances and solver in ("solver", "eval_solver"):
            method = config[solver].method
            if not told(methods.get, method).adaptive:
                raise UserError(
                    f"{key} does nothing: {method} takes fixed steps; set {solver}.step_size, or "
                    f"choose an adaptive {solver}"
                )


def check_key(override: Override, base: DictConfig) -> None:
    """The key of a plain override is there. (A key added by + is checked by its constructor.)"""
    key = override.key_or_group
    if override.is_add() or override.is_force_add() or key.startswith("hydra/"):
        return
    keys = [*dict(dotted(OmegaConf.to_container(base, resolve=False))), *loader().list_groups("")]
    hydras = key.startswith("hydra.")
    if key not in keys:
        near = [k for k in keys if (k.partition(".")[0] == "hydra") == hydras]
        raise UserError(unknown(key, key, near))
