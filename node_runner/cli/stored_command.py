"""Command of a stored run, given again with what is typed today, and its limits."""

from __future__ import annotations

from typing import Any

from omegaconf import DictConfig

from ..errors import UserError
from ..runs import store, trust
from ..runs.config import has_prefix, leaves, top_level
from ..runs.schema import MODES, MODES_OF_EXISTING_RUN
from .composition import chosen_values, compose_config, representative_jobs
from .overrides import CommandLine, parse


def with_stored_command(line: CommandLine) -> CommandLine:
    """Return the command of the run that run= or resume= names, then what was typed.

    Raises:
        UserError: If it names none, or the two options do not go together with the others.
    """
    source = _source(line)
    if source is None:
        return line
    option, run = source
    path = line.value(option)
    if option == "resume" and run.config.get("mode") != "train":
        raise UserError(f"resume={path} trained nothing; resume the run that it was made of")
    allowed = _trusted_today(line)
    trust.check_stored(run.config, f"{option}={path}", allowed)
    run.check_edits(line.value("accept_edits") is True)
    typed = {override.key_or_group for override in line.overrides}
    for key in ("task", "experiment"):
        if key in typed:
            raise UserError(f"{option}={path} brings its {key}; leave {key}= out")
    replayed = [
        override.input_line or ""
        for override in run.replayed()
        if not has_prefix(override.key_or_group, typed)  # nor values of a choice made anew
    ]
    folder = run.config_dir if line.config_dir is None else line.config_dir
    permit = f"trust=[{','.join(allowed)}]"  # typed, it counts more than a file of that folder
    today = [o.input_line or "" for o in line.overrides if o.key_or_group != "trust"]
    flags = [*line.flags, *(("--config-dir", folder) if folder else ())]
    return parse([*flags, *replayed, permit, *today])


def _source(line: CommandLine) -> tuple[str, store.StoredRun] | None:
    """Return the option that names a stored run, and that run; None where none is named.

    Raises:
        UserError: If the options do not go together.
    """
    mode, run, resume = (line.value(key) for key in store.INVOCATION_KEYS)
    if mode not in (None, *MODES):
        return None  # the check of all values has more to say
    if (mode in MODES_OF_EXISTING_RUN) != (run is not None):
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
    return None if path in (None, "auto") else (option, store.read(path, option))


def _trusted_today(line: CommandLine) -> list[str]:
    """Return the packages and targets that the user allows a stored run: by ``trust=``, by typing
    them as a target, and by typing the folder of configuration files that names them.

    Raises:
        UserError: If trust= holds something else than names.
    """
    typed = [{o.key_or_group: value} for o in line.overrides for value in chosen_values(o)]
    targets = trust.foreign(trust.targets(typed))
    if line.config_dir is not None:
        targets += trust.targets_of_folder(line.config_dir)
    return list(dict.fromkeys([*trust.names(line.value("trust")), *targets]))


def check_foreign_folder(line: CommandLine) -> None:
    """Check that a folder which a stored run was started with, and which is not typed again, adds
    nothing to Hydra's own part of the configuration, nor to where is written.

    Raises:
        UserError: If it does.
    """
    heads = ("hydra", "launcher", "sweep", "paths")
    own = [o.input_line or "" for o in line.overrides if top_level(o.key_or_group) in heads]
    plain = _of_hydra(compose_config(own, hydra=True))
    for job in representative_jobs(line.overrides):
        there = _of_hydra(compose_config(job, hydra=True))
        for key in {**plain, **there}:
            if plain.get(key) != there.get(key):
                raise UserError(
                    f"{line.config_dir}, which the stored run names, sets {key}; nothing of hydra "
                    f"is taken from a stored run: type --config-dir {line.config_dir} if you trust "
                    "what lies there"
                )


def _of_hydra(config: DictConfig) -> dict[str, Any]:
    """Return Hydra's own part but for what describes the command line; and where is written."""
    described: tuple[str, ...] = ("hydra.overrides", "hydra.runtime", "hydra.searchpath")
    described += ("hydra.job.override_dirname",)
    values = {k: v for k, v in leaves(config).items() if top_level(k) in ("hydra", "paths")}
    return {k: v for k, v in values.items() if k != "paths.data" and not has_prefix(k, described)}
