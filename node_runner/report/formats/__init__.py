"""Formats of a report, a file each: ``render(report) -> str``."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules
from types import ModuleType

__all__ = ["get", "names"]


def names() -> list[str]:
    """Return the names of the files of this folder."""
    return sorted(module.name for module in iter_modules(__path__))


def get(name: str) -> ModuleType:
    """Import the module of a format."""
    return import_module(f"{__name__}.{name}")
