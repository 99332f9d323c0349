"""The command of a stored run, given again with what is typed today; and what it may not bring."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from hydra.core.override_parser.types import Override
from omegaconf import DictConfig

from . import stored, trust
from .arguments import CommandLine
from .config import compose_or_explain
from .schema import MODES, OF_A_RUN, UserError, check


def value_of(line: CommandLine, key: str) -> Any:
    """The value of an option, None if it was not typed."""
    values = [o.value() for o in line.overrides if o.key_or_group == key]
    return values[-1] if values else None


def with_stored(line: CommandLine) -> list[str]:
    """The arguments of the run that run= or resume= names, then what was typed.

    Raises:
        UserError: if it names none, or the two options do not go together with the others.
    """
    mode, run, resume = (value_of(line, key) for key in stored.CALL)
    if mode not in (None, *MODES):
        return [*line.flags, *line.texts]  # the check of all values has more to say
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
        return [*line.flags, *line.texts]
    source = stored.read(path, option)
    if option == "resume" and source.config.get("mode") != "train":
        raise UserError(f"resume={path} trained nothing; resume the run that it was made of")
    allowed = trusted_today(line)
    trust.check_stored(source.config, f"{option}={path}", allowed)
    stored.refuse_edits(source, value_of(line, "accept_edits") is True)
    again = {override.key_or_group for override in line.overrides}
    for key in ("task", "experiment"):
        if key in again:
            raise UserError(f"{option}={path} brings its {key}; leave {key}= out")
    kept = [
        override.input_line
        for override in source.replayed()
        if override.key_or_group not in again  # nor the values of a choice that is made anew
        and not any(override.key_or_group.startswith(f"{key}.") for key in again)
    ]
    folder = source.config_dir if line.config_dir is None else None
    permit = f"trust=[{','.join(allowed)}]"  # typed, it counts more than a file of that folder
    typed = [o.input_line for o in line.overrides if o.key_or_group != "trust"]
    return [*line.flags, *(("--config-dir", folder) if folder else ()), *kept, permit, *typed]


def trusted_today(line: CommandLine) -> list[str]:
    """The packages and targets that the user allows a stored run: by ``trust=``, by typing them as
    a target, and by typing the folder of configuration files that names them.

    Raises:
        UserError: if trust= holds something else than names.
    """
    typed = [{o.key_or_group: value} for o in line.overrides for value in choices(o)]
    targets = trust.outside(trust.targets(typed))
    if line.config_dir is not None:
        targets += trust.targets_of_folder(line.config_dir)
    return list(dict.fromkeys([*trust.names(value_of(line, "trust")), *targets]))


def check_config(config: DictConfig, line: CommandLine) -> None:
    """Check all values; where it is a stored run that they are of, first that it may name them."""
    trusted = trust.names(value_of(line, "trust"))
    for option in ("run", "resume"):
        path = value_of(line, option)
        if path not in (None, "auto"):
            trust.check_stored(config, f"{option}={path}", trusted)
    check(config)


def refuse_hydra_of(line: CommandLine, overrides: list[str]) -> None:
    """A folder that a stored run was started with, and that is not typed again, may add to the run,
    but to nothing of Hydra's own, nor to where is written.

    Args:
        overrides: of one job, with the folder searched.

    Raises:
        UserError: if it does.
    """
    heads = ("hydra", "launcher", "sweep", "paths")
    own = [o.input_line for o in line.overrides if _head(o.key_or_group) in heads]
    there, plain = (_of_hydra(compose_or_explain(o, hydra=True)) for o in (overrides, own))
    for key in {**plain, **there}:
        if plain.get(key) != there.get(key):
            raise UserError(
                f"{line.config_dir}, which the stored run names, sets {key}; nothing of hydra is "
                f"taken from a stored run: type --config-dir {line.config_dir} if you trust what "
                "lies there"
            )


def _head(key: str) -> str:
    return key.replace("/", ".").partition(".")[0]


def _of_hydra(config: DictConfig) -> dict[str, Any]:
    """Hydra's own part, but for what tells of the command line; and where is written."""
    told = ("hydra.overrides", "hydra.runtime", "hydra.searchpath", "hydra.job.override_dirname")
    values = {k: v for k, v in stored.leaves(config).items() if _head(k) in ("hydra", "paths")}
    return {k: v for k, v in values.items() if k != "paths.data" and not stored.within(k, told)}


def choices(override: Override) -> Iterator[object]:
    if override.is_sweep_override():
        value = override.value()
        listed = getattr(value, "list", None)
        yield from listed or ()  # a glob or a range is expanded by Hydra
    elif isinstance(override.value(), list):
        yield from override.value()
    else:
        yield override.value()
