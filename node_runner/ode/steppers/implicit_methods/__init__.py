"""Implicit Runge-Kutta methods, one file each: the folder is the registry."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from pkgutil import iter_modules

from ..implicit import ImplicitRungeKutta


def names() -> list[str]:
    """All methods, in alphabetical order."""
    return sorted(module.name for module in iter_modules(__path__))


@cache
def get(name: str) -> ImplicitRungeKutta:
    """The method ``name``, one of ``names()``."""
    return import_module(f"{__name__}.{name}").METHOD
