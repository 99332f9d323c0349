"""What a report can be written in, one file each: ``render(report) -> str``."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules
from types import ModuleType


def names() -> list[str]:
    """The files of this folder."""
    return sorted(module.name for module in iter_modules(__path__))


def get(name: str) -> ModuleType:
    return import_module(f"{__name__}.{name}")
