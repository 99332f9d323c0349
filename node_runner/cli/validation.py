"""Validation of what was typed, before any work starts.

By itself Hydra accepts ``tol=abc`` and ``+solver.rtoll=3``, and prints a page of text on a typo.
Here groups and choices are checked against the folders, keys against the composed tree, values
against the signatures of constructors.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf

from ..errors import UserError, as_user_error, unknown_name
from ..runs import trust
from ..runs.config import dotted, files, folders
from ..runs.schema import check
from .composition import (
    Jobs,
    chosen_values,
    compose_config,
    config_loader,
    parse_overrides,
    preset,
    without_hydra,
)
from .launchers import check_launcher
from .overrides import CommandLine
from .stored_command import check_foreign_folder
from .sweep import sweep_folder


def composed_run(line: CommandLine, typed: CommandLine) -> DictConfig:
    """Compose and check a single run.

    Args:
        line: What was typed on top of the command of a stored run, if it names one.
        typed: What was typed.

    Returns:
        Its configuration, with Hydra's own part.

    Raises:
        UserError: Naming the option, the value seen, the values possible, and the nearest name.
    """
    _check_groups(line, typed)
    for override in line.overrides:
        if override.is_sweep_override():
            raise UserError(f"{override.input_line} is a sweep: node-run -m ... runs each value")
    if line.value("sweep") is not None:
        raise UserError("sweep= is several jobs: node-run -m ... runs them")
    try:
        config = compose_config(line.texts, hydra=True)
    except UserError:  # its keys are looked for only where Hydra refuses it
        _explain_refusal(line, line.texts)
        raise
    check_launcher(line.overrides, False, config)
    plain = _checked(config, line, replayed=line is not typed)
    _check_tolerances(typed.overrides, plain)
    _check_package(line, plain)
    return config


def composed_sweep(line: CommandLine, typed: CommandLine) -> tuple[Jobs, DictConfig]:
    """Compose and check the jobs of a sweep: all of them, or each value once if they are many.

    Args:
        line, typed: As for ``composed_run``.

    Returns:
        The jobs, and the configuration of the first, with Hydra's own part.

    Raises:
        UserError: As ``composed_run``.
    """
    _check_groups(line, typed)
    name = line.value("sweep")
    presets = preset(name, folders()) if isinstance(name, str) else []
    overrides = parse_overrides([*presets, *line.texts])
    groups = {o.key_or_group for o in overrides if o.is_sweep_override() and _is_group(o)}
    jobs = Jobs(overrides)
    first = None
    for job in jobs.checked:
        try:
            config = jobs.compose(job)
        except UserError:
            _explain_refusal(line, job, groups)
            raise
        if first is None:
            first = config
            check_launcher(line.overrides, True, config)
        _checked(config, line, replayed=False)
    assert first is not None
    folder = first.hydra.sweep.dir
    given = line.value("hydra.sweep.dir") is not None
    jobs.folder = Path(folder) if given else sweep_folder(folder, line.overrides)
    return jobs, first


def _explain_refusal(line: CommandLine, job: list[str], swept: Collection[str] = ()) -> None:
    """Look for the reason why Hydra refuses a run, or one job of a sweep.

    Args:
        line: Command line.
        job: Overrides of the job.
        swept: Groups that a sweep chooses from.

    Raises:
        UserError: If the launcher does not suit, or the job lacks a key.
    """
    overrides = parse_overrides(job)
    groups = [override for override in overrides if _is_group(override)]
    base = compose_config([override.input_line or "" for override in groups], hydra=True)
    check_launcher(line.overrides, line.multirun, base)
    try:
        _check_keys(overrides, groups, base)
    except UserError as error:
        chosen = " ".join(o.input_line or "" for o in groups if o.key_or_group in swept)
        if not chosen:
            raise
        raise UserError(f"the job with {chosen}: {error}") from error


def _check_groups(line: CommandLine, typed: CommandLine) -> None:
    """Check the choices of groups, and that nothing typed is for -m alone to say."""
    groups = [override for override in line.overrides if _is_group(override)]
    for override in groups:
        _check_choice(override)
    _check_chosen_once([override for override in groups if override in typed.overrides])
    for override in line.overrides:
        if override.key_or_group in ("hydra.mode", "hydra.sweeper._target_"):
            raise UserError(f"{override.input_line} is not for node-run: -m makes a sweep")
    if typed.config_dir != line.config_dir:
        check_foreign_folder(line)


def _is_group(override: Override) -> bool:
    """Return whether the override chooses a file of conf/ rather than setting a value."""
    group = override.key_or_group
    return bool(config_loader().get_group_options(group)) or group == "experiment"


def _check_choice(override: Override) -> None:
    """Check that each choice of a group, and of a sweep over it, is a file."""
    if override.is_delete() or override.value() is None:
        return
    group = override.key_or_group
    names = sorted({*config_loader().get_group_options(group), *files(group)})
    for value in chosen_values(override):
        if value is not None and value not in names:
            raise unknown_name(f"{group}={value}", names, str(value), listed=True)
        if group == "launcher":
            _check_installed(str(value))


def _check_installed(launcher: str) -> None:
    """Check that the plugin of a launcher is installed."""
    file = next(path for f in folders() if (path := f / "launcher" / f"{launcher}.yaml").is_file())
    content: Any = OmegaConf.load(file)
    for default in content.get("defaults", []):
        plugin = (
            default.get("override /hydra/launcher") if isinstance(default, DictConfig) else None
        )
        if plugin and plugin not in config_loader().get_group_options("hydra/launcher"):
            package = f"hydra-{plugin.partition('_')[0]}-launcher"
            raise UserError(
                f"launcher={launcher} needs {package}: pip install 'node-runner[launchers]'"
            )


def _check_chosen_once(groups: Sequence[Override]) -> None:
    """Check that no group has two choices. Of two values the last counts, for a script that adds to
    others.
    """
    chosen: dict[str, str] = {}
    for override in groups:
        key, text = override.key_or_group, override.input_line or ""
        other = chosen.setdefault(key, text)
        if other != text and not override.is_delete():
            raise UserError(f"{other} and {text}: {key} is chosen twice; leave one of them out")


def _checked(config: DictConfig, line: CommandLine, replayed: bool) -> DictConfig:
    """Check all values; of a stored run, only that it may name what it names: the job checks its
    values once it has joined the stored ones. Integers written as 1e5 become integers, in place.

    Returns:
        The configuration without Hydra's own part.
    """
    plain = without_hydra(config)
    trusted = trust.names(line.value("trust"))
    for option in ("run", "resume"):
        path = line.value(option)
        if path not in (None, "auto"):
            trust.check_stored(plain, f"{option}={path}", trusted)
    if not replayed:
        for key, integer in check(plain).items():
            OmegaConf.update(config, key, integer)
    return plain


def _check_package(line: CommandLine, config: DictConfig) -> None:
    """Check that the part exists which --cfg is to show."""
    package = line.package
    if package is None or package == "_global_" or line.cfg != "job":
        return
    keys = [key for key, _ in dotted(OmegaConf.to_container(config, resolve=False))]
    if package not in keys:
        raise unknown_name(f"--package {package}", keys, package)


def _check_tolerances(overrides: Sequence[Override], config: DictConfig) -> None:
    """Check that no tolerance was typed for a solver of fixed steps, where it would do nothing."""
    from ..ode import methods  # needs torch

    for override in overrides:
        key = override.key_or_group
        solver = "eval_solver" if key == "eval_tol" else key.partition(".")[0]
        tolerances = (f"{solver}.rtol", f"{solver}.atol", "eval_tol")
        given = not override.is_delete() and override.value() is not None
        if given and key in tolerances and solver in ("solver", "eval_solver"):
            method = config[solver].method
            named = isinstance(method, str)  # an object is checked where it is made
            if named and not as_user_error(methods.get, method).adaptive:
                raise UserError(
                    f"{key} does nothing: {method} takes fixed steps; set {solver}.step_size, or "
                    f"choose an adaptive {solver}"
                )


def _check_keys(
    overrides: Sequence[Override], groups: Sequence[Override], base: DictConfig
) -> None:
    """Check that the keys of plain overrides exist. (A key added by + is checked by its
    constructor.)

    Args:
        overrides: Overrides of one job.
        groups: Those that choose from groups.
        base: Configuration composed of these, with Hydra's own part.
    """
    loader = config_loader()
    keys = [*dict(dotted(OmegaConf.to_container(base, resolve=False))), *loader.list_groups("")]
    for override in overrides:
        key = override.key_or_group
        added = override.is_add() or override.is_force_add() or key.startswith("hydra/")
        if added or override in groups or key in keys:
            continue
        of_hydra = key.startswith("hydra.")
        raise unknown_name(key, [k for k in keys if (k.partition(".")[0] == "hydra") == of_hydra])
