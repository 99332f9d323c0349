"""Composition of configurations by Hydra, and refusals in the words of node-run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import deepcopy
from itertools import product
from pathlib import Path
from typing import Any

from hydra import compose
from hydra.core.config_loader import ConfigLoader
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, Transformer
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, flag_override, open_dict
from omegaconf.errors import OmegaConfBaseException

from ..errors import UserError, first_line
from ..runs.store import key_of

# Raised by Hydra and OmegaConf besides their own errors for values that they do not expect.
_UNEXPECTED = (ValueError, TypeError, AttributeError, KeyError, AssertionError, RecursionError)
_FEW = 64  # jobs that are all composed, and checked, before the first starts


def config_loader() -> ConfigLoader:
    """Return Hydra's loader of configuration files."""
    return GlobalHydra.instance().config_loader()


def compose_config(overrides: list[str], hydra: bool = False) -> DictConfig:
    """Return a composed configuration.

    Args:
        overrides: Overrides as they are typed.
        hydra: Include Hydra's own part.

    Raises:
        UserError: For what Hydra refuses.
    """
    try:
        return compose("config", overrides, return_hydra_config=hydra)
    except (HydraException, OmegaConfBaseException, *_UNEXPECTED) as error:
        raise UserError(_refusal(error, overrides)) from error


def without_hydra(config: DictConfig) -> DictConfig:
    """Return a configuration without Hydra's own part."""
    config = deepcopy(config)
    with flag_override(config, ["struct", "readonly"], False):
        del config["hydra"]
    return config


def _refusal(error: BaseException, overrides: list[str]) -> str:
    """Return one line for what Hydra refuses."""
    cause = error.__cause__
    key = getattr(cause, "full_key", None)
    for typed in overrides if key else ():
        if key_of(typed) == key:
            return f"{typed}: {first_line(cause or error)}"
    for i, typed in enumerate(overrides):
        group = key_of(typed)
        if typed[0] not in "+~" and config_loader().get_group_options(group):
            others = overrides[:i] + overrides[i + 1 :]
            choices = _choices(others)
            if choices is not None and group not in choices:
                return f"{typed}: this task and model have no {group} to choose; leave it out"
    return first_line(error)


def _choices(overrides: list[str]) -> set[str] | None:
    """Return the groups of which a configuration chooses a file; None if it does not compose."""
    try:
        defaults = config_loader().compute_defaults_list("config", overrides, RunMode.RUN)
    except (HydraException, OmegaConfBaseException, *_UNEXPECTED):
        return None
    return set(defaults.overrides.known_choices)


def parse_overrides(texts: list[str]) -> list[Override]:
    """Parse overrides with Hydra's loader, which expands globs of a sweep."""
    return OverridesParser.create(config_loader=config_loader()).parse_overrides(texts)


def chosen_values(override: Override) -> Iterator[object]:
    """Yield each value of an override, of its sweep or its list."""
    value = override.value()
    if override.is_sweep_override():
        yield from getattr(value, "list", None) or ()  # a glob or a range is expanded by Hydra
    elif isinstance(value, list):
        yield from value
    else:
        yield value


def _values(override: Override) -> list[str]:
    """Return the override with each value of its sweep."""
    if not override.is_sweep_override():
        return [override.input_line or ""]
    encoded = override.sweep_iterator(transformer=Transformer.encode)
    return [f"{override.get_key_element()}={value}" for value in encoded]


def representative_jobs(overrides: Sequence[Override]) -> Iterator[list[str]]:
    """Yield command lines that hold each value of each sweep once: as many as there are values,
    not jobs.
    """
    swept = list(map(_values, overrides))
    yield [values[0] for values in swept]
    for i, values in enumerate(swept):
        for value in values[1:]:
            yield [value if i == j else other[0] for j, other in enumerate(swept)]


class Jobs:
    """Jobs of a sweep, and the loader from which a launcher of Hydra takes their configurations.
    Those that were composed to be checked are not composed again in this process.

    Args:
        overrides: Parsed overrides of the sweep.
    """

    def __init__(self, overrides: Sequence[Override]) -> None:
        self.folder: Path | None = None
        self.overrides = [list(job) for job in product(*map(_values, overrides))]
        self._loader = config_loader()
        self._composed: dict[tuple[str, ...], DictConfig] = {}
        few = len(self.overrides) <= _FEW
        self.checked = self.overrides if few else list(representative_jobs(overrides))

    def compose(self, job: list[str]) -> DictConfig:
        """Return the configuration of one job, with Hydra's own part.

        Raises:
            UserError: For what Hydra refuses.
        """
        config = compose_config(job, hydra=True)
        self._composed[tuple(job)] = config
        return config

    def as_job(self, config: DictConfig) -> DictConfig:
        """Mark a configuration, in place, as that of a job in the sweep's folder."""
        with open_dict(config.hydra):
            config.hydra.mode = RunMode.MULTIRUN
            config.hydra.sweep.dir = str(self.folder)
        return config

    def load_sweep_config(self, master: DictConfig, overrides: list[str]) -> DictConfig:
        """Return the configuration of one job, as a launcher asks for it."""
        config = self._composed.pop(tuple(overrides), None)
        if config is None:
            config = self._loader.load_configuration("config", overrides, RunMode.RUN, False)
        return self.as_job(config)

    def __getstate__(self) -> dict[str, Any]:
        """Leave the configurations behind: each worker composes that of its own job."""
        return self.__dict__ | {"_composed": {}}


def preset(name: str, folders: Sequence[Path]) -> list[str]:
    """Return the sweep of a file of conf/sweep/, as it would be typed.

    Args:
        name: Choice of the group ``sweep``.
        folders: Folders of groups.
    """
    files = [folder / "sweep" / f"{name}.yaml" for folder in folders]
    config = OmegaConf.load(next(file for file in files if file.is_file()))
    params = OmegaConf.select(config, "hydra.sweeper.params") or {}
    return [f"{key}={value}" for key, value in params.items()]
