"""Where the configuration lies, and what it is composed with."""

from __future__ import annotations

import re
from os.path import expanduser
from pathlib import Path

from hydra import compose
from hydra.core.config_store import ConfigStore
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from .schema import UserError, first_line

HERE = Path(__file__).parent
# Beside the package in a checkout, inside it in a wheel.
FOLDER = HERE / "conf" if (HERE / "conf").is_dir() else HERE.parent / "conf"

VERSION_BASE = "1.3"

# What Hydra and OmegaConf raise besides their own errors for values that they do not expect.
REFUSALS = (ValueError, TypeError, AttributeError, KeyError, AssertionError, RecursionError)


def register(own: str | None = None) -> None:
    """Resolvers, and the choices of eval_solver and eval_divergence: those of solver/ and
    divergence/, so that a new one is one file.

    Args:
        own: a folder of the user's own, beside conf/.
    """
    OmegaConf.register_new_resolver("times", times, replace=True)
    OmegaConf.register_new_resolver("either", either, replace=True)
    OmegaConf.register_new_resolver("home", home, replace=True)
    store = ConfigStore.instance()
    for name in files("solver", own):
        node = {
            "defaults": [{"/solver@_here_": name}, "_self_"],
            "rtol": "${either:${eval_tol},${tol}}",
            "atol": "${times:${either:${eval_tol},${tol}},${atol_ratio}}",
            "gradient": None,
        }
        store.store(group="eval_solver", name=name, node=node, provider="node_runner")
    for name in files("divergence", own):
        node = {"defaults": [{"/divergence@_here_": name}]}
        store.store(group="eval_divergence", name=name, node=node, provider="node_runner")


def files(group: str, own: str | None = None) -> list[str]:
    """The choices of a group that are files, in conf/ and in a folder of the user's own."""
    folders = [folder / group for folder in (FOLDER, *([Path(own)] if own else []))]
    found = {
        file.relative_to(folder).with_suffix("").as_posix()
        for folder in folders
        for file in folder.rglob("*.yaml")
    }
    return sorted(found)


def times(a: float | None, b: float | None) -> float | None:
    """The product; None if a factor is, and what is no number is left for the check to complain
    of.
    """
    if isinstance(a, (int, float)) and isinstance(b, (int, float)):
        return a * b
    return a if not isinstance(a, (int, float)) else b


def either(a: object, b: object) -> object:
    return b if a is None else a


def home(path: object) -> str:
    """The path with the home folder in place of ~."""
    return expanduser(str(path))


def compose_or_explain(overrides: list[str], hydra: bool = False) -> DictConfig:
    """The configuration, with Hydra's own part or without.

    Raises:
        UserError: for what Hydra refuses.
    """
    try:
        return compose("config", overrides, return_hydra_config=hydra)
    except (HydraException, OmegaConfBaseException, *REFUSALS) as error:
        reason = first_line(error)
        unused = re.match(r"Could not override '([^']*)'. No match", reason)
        if unused:
            group = unused[1]
            typed = next((o for o in overrides if o.partition("=")[0] == group), group)
            reason = f"{typed}: this task and model have no {group} to choose; leave it out"
        absent = re.search(r"Could not find 'hydra/launcher/([a-z]+)", reason)
        if absent:
            typed = next((o for o in overrides if o.startswith("launcher=")), "the launcher")
            needed = f"hydra-{absent[1]}-launcher"
            reason = f"{typed} needs {needed}: pip install 'node-runner[launchers]'"
        refused = reason.removeprefix("Error merging override ")
        if refused != reason:
            reason = f"{refused}: {first_line(error.__cause__ or error)}"
        raise UserError(reason) from error
