"""Where the configuration lies, and whether what was typed makes sense.

Hydra composes, but by itself it accepts ``tol=abc`` and ``+solver.rtoll=3`` and leaves with exit
code 1 and a page of text on a typo. Here every override is checked before any work starts: groups
and choices against the folders, keys against the composed tree, values against ``schema``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra._internal.utils import get_args_parser
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob, Override, Transformer
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from .schema import UserError, check, dotted, first_line, unknown

HERE = Path(__file__).parent
# Beside the package in a checkout, inside it in a wheel.
FOLDER = HERE / "conf" if (HERE / "conf").is_dir() else HERE.parent / "conf"

VERSION_BASE = "1.3"


def register() -> None:
    """Resolvers, and the choices of eval_solver: those of solver/, so that a new solver is one
    file.
    """
    OmegaConf.register_new_resolver("times", times, replace=True)
    OmegaConf.register_new_resolver("either", either, replace=True)
    store = ConfigStore.instance()
    for file in sorted((FOLDER / "solver").glob("*.yaml")):
        node = {
            "defaults": [{"/solver@_here_": file.stem}, "_self_"],
            "rtol": "${either:${eval_tol},${tol}}",
            "atol": "${times:${either:${eval_tol},${tol}},${atol_ratio}}",
            "gradient": None,
        }
        store.store(group="eval_solver", name=file.stem, node=node, provider="node_runner")


def times(a: float | None, b: float | None) -> float | None:
    """The product; None if a factor is, and what is no number is left for the check to complain
    of.
    """
    if isinstance(a, (int, float)) and isinstance(b, (int, float)):
        return a * b
    return a if not isinstance(a, (int, float)) else b


def either(a: object, b: object) -> object:
    return b if a is None else a


@dataclass(frozen=True)
class CommandLine:
    """What was typed: overrides, and whether Hydra is asked for a run at all (not --help,
    --cfg).
    """

    overrides: list[Override]
    runs: bool
    multirun: bool
    config_dir: str | None


def parse(argv: Sequence[str]) -> CommandLine:
    """Read the command line as Hydra will.

    Raises:
        UserError: for an override that is no override.
    """
    args = get_args_parser().parse_args(list(argv))
    asks = ("help", "hydra_help", "version", "cfg", "shell_completion", "info", "package")
    for text in args.overrides:
        if "=" not in text and not text.startswith("~"):
            raise UserError(f"{text!r} is no override; write key=value, such as task=ffjord_toy")
    try:
        overrides = OverridesParser.create().parse_overrides(args.overrides)
    except HydraException as error:
        raise UserError(f"cannot read the overrides: {first_line(error)}") from error
    runs = not any(getattr(args, name, None) for name in asks)
    return CommandLine(overrides, runs, bool(args.multirun), args.config_dir)


def check_command_line(line: CommandLine) -> None:
    """Compose what was typed, and check all of it: of a sweep, every value.

    Raises:
        UserError: naming the option, what was seen, what is possible, and the nearest name.
    """
    search = (
        [f"hydra.searchpath=[file://{Path(line.config_dir).absolute()}]"] if line.config_dir else []
    )
    with initialize_config_dir(str(FOLDER), version_base=VERSION_BASE):
        groups = [o for o in line.overrides if is_group(o)]
        for override in groups:
            check_choice(override, search)
        base = compose_or_explain([*search, *next(jobs_to_check(groups))])
        for override in line.overrides:
            if override not in groups:
                check_key(override, base)
            if override.is_sweep_override() and not line.multirun:
                raise UserError(
                    f"{override.input_line} is a sweep: node-run -m ... runs each value"
                )
        for overrides in jobs_to_check(line.overrides):
            config = compose_or_explain([*search, *overrides])
            check(config)
            if not line.multirun:
                check_tolerances(line.overrides, config)


def compose_or_explain(overrides: list[str]) -> DictConfig:
    try:
        return compose("config", overrides)
    except (HydraException, OmegaConfBaseException) as error:
        raise UserError(first_line(error)) from error


def loader() -> Any:
    return GlobalHydra.instance().config_loader()


def is_group(override: Override) -> bool:
    """Whether the override chooses a file of conf/ rather than setting a value."""
    return bool(loader().get_group_options(override.key_or_group)) or (
        override.key_or_group == "experiment"
    )


def check_choice(override: Override, search: list[str]) -> None:
    """Each choice of a group, and of a sweep over it, is a file."""
    if search or override.is_delete() or override.value() is None:
        return  # the choices of a folder of the user's own are known to Hydra only once composed
    group = override.key_or_group
    known = loader().get_group_options(group)
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
        if key in tolerances and solver in ("solver", "eval_solver"):
            method = config[solver].method
            if not methods.get(method).adaptive:
                raise UserError(
                    f"{key} does nothing: {method} takes fixed steps; set {solver}.step_size, or "
                    f"choose an adaptive {solver}"
                )


def check_key(override: Override, base: DictConfig) -> None:
    """The key of a plain override is there. (A key added by + is checked by its constructor.)"""
    key = override.key_or_group
    if override.is_add() or override.is_force_add() or key.startswith("hydra."):
        return
    keys = list(dict(dotted(OmegaConf.to_container(base, resolve=False))))
    if key not in keys:
        raise UserError(unknown(key, key, [*keys, *loader().list_groups("")]))
