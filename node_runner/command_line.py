"""What was typed, and whether it makes sense.

Hydra composes, but by itself it accepts ``tol=abc`` and ``+solver.rtoll=3`` and leaves with exit
code 1 and a page of text on a typo. Here every override is checked before any work starts: groups
and choices against the folders, keys against the composed tree, values against ``schema``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice, product
from pathlib import Path
from typing import Any

from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob, Override, Transformer
from omegaconf import DictConfig, OmegaConf, flag_override

from .arguments import CommandLine
from .config import FOLDER, VERSION_BASE, compose_or_explain, files
from .launcher import check_launcher
from .replay import check_config, choices, refuse_hydra_of, value_of
from .schema import UserError, dotted, told, unknown
from .sweep import folder_of


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
        check_chosen_once([o for o in groups if o in (typed or line).overrides])
        check_mode(line)
        if typed is not None and typed.config_dir != line.config_dir:
            for overrides in jobs_to_check(line.overrides):
                refuse_hydra_of(line, [*search, *overrides])
        if line.multirun:
            return check_sweep(line, groups, search)
        check_single(line, groups)
        config = composed_once(line, groups, search)
        check_config(config, line)
        check_tolerances((typed or line).overrides, config)
        check_package(line, config)
        return None


def composed_once(
    line: CommandLine, groups: Sequence[Override], search: Sequence[str]
) -> DictConfig:
    """The configuration of a single run. Only where Hydra refuses it are its keys looked for."""
    try:
        config = compose_or_explain([*search, *next(jobs_to_check(line.overrides))], hydra=True)
    except UserError:
        base = compose_or_explain([*search, *next(jobs_to_check(groups))], hydra=True)
        check_launcher(line.overrides, False, base)
        check_keys(line.overrides, groups, base)
        raise
    check_launcher(line.overrides, False, config)
    with flag_override(config, ["struct", "readonly"], False):
        del config["hydra"]
    return config


def check_sweep(line: CommandLine, groups: Sequence[Override], search: Sequence[str]) -> Path:
    """Check every value of a sweep. Returns its folder."""
    base = compose_or_explain([*search, *next(jobs_to_check(groups))], hydra=True)
    check_launcher(line.overrides, True, base)
    swept = [*preset(base), *line.overrides]
    groups = [o for o in swept if is_group(o)]
    for choice in group_jobs(groups):
        check_keys(line.overrides, groups, compose_or_explain([*search, *choice], hydra=True))
    whole = compose_or_explain([*search, *next(jobs_to_check(swept))], hydra=True)
    for overrides in jobs_to_check(swept):
        check_config(compose_or_explain([*search, *overrides]), line)
    folder = whole.hydra.sweep.dir
    given = value_of(line, "hydra.sweep.dir") is not None
    return Path(folder) if given else folder_of(folder, line.overrides)


def check_chosen_once(groups: Sequence[Override]) -> None:
    """No group has two choices. Of two values the last counts, for a script that adds to others."""
    chosen: dict[str, str] = {}
    for override in groups:
        key, text = override.key_or_group, override.input_line
        other = chosen.setdefault(key, text)
        if other != text and not override.is_delete():
            raise UserError(f"{other} and {text}: {key} is chosen twice; leave one of them out")


def check_mode(line: CommandLine) -> None:
    """Whether there is one job or a sweep is said by -m alone."""
    for override in line.overrides:
        if override.key_or_group in ("hydra.mode", "hydra.sweeper._target_"):
            raise UserError(f"{override.input_line} is not for node-run: -m makes a sweep")


def check_single(line: CommandLine, groups: Sequence[Override]) -> None:
    """A single run has no sweeps."""
    for override in line.overrides:
        if override.is_sweep_override():
            raise UserError(f"{override.input_line} is a sweep: node-run -m ... runs each value")
    if any(o.key_or_group == "sweep" and o.value() for o in groups):
        raise UserError("sweep= is several jobs: node-run -m ... runs them")


def check_package(line: CommandLine, config: DictConfig) -> None:
    """The part that --cfg is to show is there."""
    package = line.package
    if package is None or package == "_global_" or line.cfg != "job":
        return
    keys = [key for key, _ in dotted(OmegaConf.to_container(config, resolve=False))]
    if package not in keys:
        raise UserError(unknown(f"--package {package}", package, keys))


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


def group_jobs(groups: Sequence[Override], most: int = 64) -> Iterator[list[str]]:
    """Every combination of choices in a sweep over groups; where there are too many of them, those
    that hold each choice once.
    """
    every = [found for found in map(values, groups) if found]
    combinations = [list(job) for job in islice(product(*every), most + 1)]
    yield from combinations if len(combinations) <= most else jobs_to_check(groups)


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


def check_keys(overrides: Sequence[Override], groups: Sequence[Override], base: DictConfig) -> None:
    """The keys of plain overrides are there. (A key added by + is checked by its constructor.)

    Args:
        base: composed of one choice of each group, with Hydra's own part.
    """
    keys = [*dict(dotted(OmegaConf.to_container(base, resolve=False))), *loader().list_groups("")]
    known = set(keys)
    for override in overrides:
        key = override.key_or_group
        added = override.is_add() or override.is_force_add() or key.startswith("hydra/")
        if added or override in groups or key in known:
            continue
        near = [k for k in keys if (k.partition(".")[0] == "hydra") == key.startswith("hydra.")]
        swept = [o.key_or_group for o in groups if o.is_sweep_override()]
        chosen = base.hydra.runtime.choices
        job = " ".join(f"{group}={chosen[group]}" for group in swept if group in chosen)
        complaint = unknown(key, key, near)
        raise UserError(f"the job with {job}: {complaint}" if job else complaint)
