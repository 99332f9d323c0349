"""Where the configuration lies, and what it is composed with."""

from __future__ import annotations

import re
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


def compose_or_explain(overrides: list[str]) -> DictConfig:
    try:
        return compose("config", overrides)
    except (HydraException, OmegaConfBaseException) as error:
        told = first_line(error)
        unused = re.match(r"Could not override '([^']*)'. No match", told)
        if unused:
            (override,) = [o for o in overrides if o.partition("=")[0] == unused[1]][-1:] or [told]
            told = f"{override}: this task and model have no {unused[1]} to choose; leave it out"
        raise UserError(told) from error
